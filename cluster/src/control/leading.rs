//! The placement leader's work: it declares who lives, plans the next moves, and has them committed.
//!
//! Holds nothing but leases: whoever leads next computes the same from the committed placement. Wakes when something changes
//! or a lease may have run out, and plans at most every 100 ms.

use super::{Control, leases::LeaseTable, message::Answer};
use crate::{
    limits::{AWAKE_EVERY_MS, PLAN_EVERY_MS, SWEEP_MS},
    placement_group::PLACEMENT,
    role::Role,
};
use rollcall_presence::{Placement, PlacementCommand, View, apply_placement, plan_moves};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

impl Control {
    /// Never ends by itself.
    pub(super) async fn lead(self: Arc<Self>) {
        let mut role = self.base.hosting.placement_role_watch();
        let mut placement = self.placement();
        loop {
            role.borrow_and_update();
            let Some(term) = self.leads_in(PLACEMENT) else {
                if role.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // Whoever led before knew who lives; this one has to hear it first. The same when it was another one in between.
            *self.leases.lock() = LeaseTable::default();
            self.pulse_now.notify_one();
            tracing::info!(node = %self.me(), term, "this node leads the placement");
            tokio::select! {
                () = self.lead_in(term, &mut role, &mut placement) => {}
                () = self.stay_awake() => {}
            }
        }
    }

    async fn lead_in(
        &self,
        term: u64,
        role: &mut watch::Receiver<Role>,
        placement: &mut watch::Receiver<Arc<Placement>>,
    ) {
        while self.leads_in(PLACEMENT) == Some(term) {
            let begun = Instant::now();
            let now = placement.borrow_and_update().clone();
            let due = self.lead_once(term, now).await;
            sleep_until(begun + Duration::from_millis(PLAN_EVERY_MS)).await;
            let changed = async {
                tokio::select! {
                    _ = placement.changed() => {}
                    _ = role.changed() => {}
                    () = self.lease_news.notified() => {}
                }
            };
            let _ = timeout(due, changed).await;
        }
    }

    /// Never ends by itself. Whatever waits meanwhile: that the process stood still is noticed.
    async fn stay_awake(&self) {
        let mut tick = interval(Duration::from_millis(AWAKE_EVERY_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.leases.lock().awake(self.now_ms());
        }
    }

    fn verdicts(&self, placement: &Placement) -> Vec<PlacementCommand> {
        let (mut leases, now_ms) = (self.leases.lock(), self.now_ms());
        leases.look_at(placement, now_ms);
        leases.verdicts(placement, now_ms, self.base.replace_after_ms)
    }

    /// One look; answers after what time to look again though nothing happened.
    async fn lead_once(&self, term: u64, mut placement: Arc<Placement>) -> Duration {
        if !placement.is_founded() {
            return Duration::from_millis(SWEEP_MS);
        }
        for verdict in self.verdicts(&placement) {
            // The commit before took its time: somebody may be heard by now, or another one have led.
            if self.leads_in(PLACEMENT) != Some(term) || !self.verdicts(&placement).contains(&verdict) {
                return Duration::from_millis(PLAN_EVERY_MS);
            }
            if !self.commit_if_it_changes(&mut placement, verdict).await {
                return Duration::from_millis(PLAN_EVERY_MS);
            }
        }
        let moves = {
            let (leases, now_ms) = (self.leases.lock(), self.now_ms());
            let (live, leading) = (leases.trusted(&placement, now_ms), leases.leading(&placement));
            plan_moves(&placement, View { live: &live, leading: &leading })
        };
        for step in moves {
            if !self.commit_if_it_changes(&mut placement, step.into()).await {
                return Duration::from_millis(PLAN_EVERY_MS);
            }
        }
        let (leases, now_ms) = (self.leases.lock(), self.now_ms());
        let due = leases.next_due_ms(&placement, self.base.replace_after_ms).unwrap_or(u64::MAX);
        // What was due and did not come about is no reason to hurry.
        let rest_ms = if due <= now_ms { SWEEP_MS } else { due - now_ms };
        Duration::from_millis(rest_ms.clamp(PLAN_EVERY_MS, 60 * SWEEP_MS))
    }

    /// Tried on a copy first: what would be refused or change nothing is not worth a log entry. `false` when nothing more
    /// should be asked for now.
    async fn commit_if_it_changes(&self, placement: &mut Arc<Placement>, command: PlacementCommand) -> bool {
        let mut copy = Placement::clone(placement);
        match apply_placement(&mut copy, &command) {
            Ok(rollcall_presence::Applied::Changed) => {}
            Ok(rollcall_presence::Applied::Unchanged) => return true,
            Err(refusal) => {
                tracing::debug!(?command, %refusal, "not asked for");
                return true;
            }
        }
        let answer = self.commit(command.clone()).await;
        *placement = self.placement_now();
        match answer {
            Answer::Done(Ok(_)) => {
                tracing::debug!(?command, epoch = placement.epoch, "the placement changed");
                true
            }
            answer => {
                tracing::info!(?command, ?answer, "the placement did not change");
                matches!(answer, Answer::Done(_))
            }
        }
    }
}
