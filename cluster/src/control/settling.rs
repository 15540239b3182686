//! This start of the node becomes known to the cluster: founded, or announced until the placement says so.
//!
//! Goes on in the background: the groups of this node run meanwhile, so that a whole cluster that starts at once waits for
//! nobody.

use super::{
    Control,
    message::{Answer, JoinRefusal, Question, Welcome},
};
use crate::limits::{ASK_LEADER_MS, JOIN_PAUSE_MS, LOST_MS};
use futures::{StreamExt, stream::FuturesUnordered};
use rollcall_presence::PlacementCommand;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

impl Control {
    /// Ends only when the node was removed.
    pub(super) async fn settle(self: Arc<Self>) {
        let mut placement = self.placement();
        let mut pause_ms = JOIN_PAUSE_MS.0;
        let mut met = Instant::now();
        loop {
            let now = placement.borrow_and_update().clone();
            if self.base.founder && !now.is_founded() {
                self.found().await;
            } else if !self.is_settled(&now) || met.elapsed() > Duration::from_millis(LOST_MS) {
                if self.announce(pause_ms > JOIN_PAUSE_MS.0).await {
                    return;
                }
            } else {
                pause_ms = JOIN_PAUSE_MS.0;
                // Settled: it is looked at again when the placement changes, or when nobody answers for too long.
                let _ = timeout(Duration::from_millis(LOST_MS / 2), placement.changed()).await;
                if self.standing.borrow().confirmed {
                    met = Instant::now();
                }
                continue;
            }
            let _ = timeout(Duration::from_millis(pause_ms), placement.changed()).await;
            pause_ms = (pause_ms * 2).min(JOIN_PAUSE_MS.1);
        }
    }

    async fn found(&self) {
        if !self.leads_placement() {
            let mut role = self.base.hosting.placement_role_watch();
            let _ = timeout(Duration::from_millis(JOIN_PAUSE_MS.1), role.changed()).await;
        }
        if !self.leads_placement() {
            return;
        }
        let command = PlacementCommand::Found {
            cluster_id: self.base.cluster_id.clone(),
            partitions: self.base.partitions,
            replication: self.base.replication,
            first: self.base.about.clone(),
        };
        match self.commit(command).await {
            Answer::Done(Ok(_)) => tracing::info!(cluster = self.base.cluster_id, "a cluster was founded"),
            answer => tracing::warn!(?answer, "the cluster is not founded yet"),
        }
    }

    /// Answers whether the node was told that it is no member any more.
    async fn announce(&self, by_address: bool) -> bool {
        let question =
            Question::Announce { cluster_id: self.base.cluster_id.clone(), newcomer: self.base.about.clone() };
        let patience = Duration::from_millis(if by_address { ASK_LEADER_MS / 5 } else { ASK_LEADER_MS / 2 });
        let mut answer = self.ask_leader(&question, patience).await.ok();
        if answer.is_none() {
            answer = self.ask_by_address(&question).await;
        }
        match answer {
            Some(Answer::Welcome(welcome)) => self.be_welcome(&welcome),
            Some(Answer::NotWelcome(JoinRefusal::Removed)) => {
                self.removed.send_replace(true);
                return true;
            }
            Some(Answer::NotWelcome(refusal)) => {
                tracing::error!(
                    ?refusal,
                    "the cluster does not take this node back; its groups run, and are given nothing"
                );
            }
            answer => tracing::debug!(?answer, "nobody takes note of this start yet"),
        }
        false
    }

    /// Asks every address that is known, all at once; any member leads the question to the placement leader, or takes note where
    /// this node lives if there is none.
    async fn ask_by_address(&self, question: &Question) -> Option<Answer> {
        let placement = self.placement_now();
        let others = placement.members.iter().filter(|(name, _)| *name != self.me());
        let known = others.map(|(_, member)| member.peer.as_str());
        let addresses: BTreeSet<&str> = known.chain(self.base.join.iter().map(String::as_str)).collect();
        let ask = |address| async move {
            let asked = self.base.link.join(address, question.sealed());
            (address, timeout(Duration::from_millis(ASK_LEADER_MS), asked).await)
        };
        let mut answers: FuturesUnordered<_> = addresses.into_iter().map(ask).collect();
        while let Some((address, answer)) = answers.next().await {
            match answer {
                Ok(Ok(bytes)) => match Answer::opened(&bytes) {
                    Some(answer @ (Answer::Welcome(_) | Answer::NotWelcome(_))) => return Some(answer),
                    answer => tracing::debug!(address, ?answer, "no answer from the placement leader"),
                },
                Ok(Err(error)) => tracing::debug!(%error, "no answer by address"),
                Err(_) => {}
            }
        }
        None
    }

    fn be_welcome(&self, welcome: &Welcome) {
        let placement = self.placement_now();
        for member in welcome.members.iter().filter(|member| member.name != *self.me()) {
            self.base.side.has_moved(&placement, member);
        }
        self.base.side.introduce(&welcome.members);
        self.know_members();
    }
}
