//! Telling the placement leader that this node lives, and what follows from its answer.
//!
//! One message every half second, whatever the number of partitions.

use super::{
    ClusterStanding, Confirmed, Control,
    message::{Answer, JoinRefusal, Lease, Leased, Question},
};
use crate::limits::{LEASE_ANSWER_MS, LEASE_SEND_MS, STANDING_MS};
use futures::{StreamExt, stream::FuturesUnordered};
use rollcall_presence::Placement;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

impl Control {
    /// Never ends by itself.
    pub(super) async fn pulse(self: Arc<Self>) {
        let mut role = self.base.hosting.placement_role_watch();
        loop {
            let begun = Instant::now();
            self.pulse_once().await;
            self.fade();
            let rest = Duration::from_millis(LEASE_SEND_MS).saturating_sub(begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                // A new leader hears of everybody at once.
                _ = role.changed() => {}
                () = self.pulse_now.notified() => {}
            }
        }
    }

    async fn pulse_once(&self) {
        let placement = self.placement_now();
        if !placement.members.contains_key(self.me()) {
            return;
        }
        let mut asked_at = Instant::now();
        let lease = Lease {
            generation: self.base.about.generation,
            unix_ms: (self.base.wall_clock)(),
            epoch: placement.epoch,
            leads: self.led().into_iter().map(|partition| partition.0).collect(),
        };
        let patience = Duration::from_millis(LEASE_ANSWER_MS);
        let question = Question::Lease(lease.clone());
        let mut answer = timeout(patience, self.ask_leader(&question, patience)).await.ok().and_then(Result::ok);
        if answer.is_none() && placement.members.len() > 2 {
            asked_at = Instant::now();
            answer = self.pulse_around(&placement, lease).await;
        }
        match answer {
            Some(Answer::Leased(leased)) => self.confirm(asked_at, leased),
            // It may never hear of its own end through the group: that leaves it out by then.
            Some(Answer::NotWelcome(JoinRefusal::Removed)) => {
                self.removed.send_replace(true);
            }
            _ => {}
        }
    }

    /// The way to the placement leader may be cut while both live: each of the others is asked at once to pass it on, and the
    /// first that does is enough.
    async fn pulse_around(&self, placement: &Placement, lease: Lease) -> Option<Answer> {
        let (name, raft_id) = (self.me().clone(), self.base.about.raft_id);
        let question = Question::Relayed { name, raft_id, lease }.sealed();
        let patience = Duration::from_millis(LEASE_ANSWER_MS);
        let others = placement.members.keys().filter(|other| *other != self.me());
        let mut asked: FuturesUnordered<_> =
            others.map(|other| self.base.link.control(other, question.clone(), patience)).collect();
        while let Some(answer) = asked.next().await {
            let answer = answer.ok().and_then(|answer| Answer::opened(&answer));
            if let Some(answer @ (Answer::Leased(_) | Answer::NotWelcome(JoinRefusal::Removed))) = answer {
                return Some(answer);
            }
        }
        None
    }

    fn confirm(&self, asked_at: Instant, leased: Leased) {
        let ahead = i128::from((self.base.wall_clock)()) - i128::from(leased.median_unix_ms);
        let clock_ahead_ms = i64::try_from(ahead).unwrap_or(i64::MAX);
        if self.is_removed() {
            return;
        }
        let now = ClusterStanding { confirmed: true, last_confirmed: Some(asked_at), clock_ahead_ms };
        let confirmed = Confirmed { asked_at, epoch: leased.epoch };
        self.carrier.fence.lock().confirmed(confirmed);
        self.confirmed.send_replace(Some(confirmed));
        self.say(now);
    }

    /// What was confirmed too long ago is not confirmed any more.
    fn fade(&self) {
        let now = *self.standing.borrow();
        let is_fresh = now.last_confirmed.is_some_and(|at| at.elapsed() < Duration::from_millis(STANDING_MS));
        if now.confirmed && !is_fresh {
            self.say(ClusterStanding { confirmed: false, ..now });
        }
    }

    /// Nobody confirms this node any more.
    pub(super) fn stand_alone(&self) {
        let now = *self.standing.borrow();
        self.say(ClusterStanding { confirmed: false, ..now });
    }

    /// Those who wait are woken when it is another verdict, not each time that it is repeated.
    fn say(&self, now: ClusterStanding) {
        self.standing.send_if_modified(|known| {
            let differs = known.confirmed != now.confirmed;
            *known = now;
            differs
        });
    }
}
