//! What an operator asks of the cluster, through any node: drain, remove; and a node's own leaving.

use super::{
    Control,
    asking::NoAnswer,
    message::{Answer, Question},
};
use crate::{
    limits::{ASK_LEADER_MS, SWEEP_MS},
    placement_group::PLACEMENT,
};
use openraft::async_runtime::watch::WatchReceiver;
use rollcall_presence::{NodeName, PartitionId, PlacementCommand, PlacementRefusal};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// Why an operator's wish was not taken. Unless it says otherwise, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdminError {
    /// No member has this name.
    #[error("no member has this name")]
    Unknown,
    /// The node keeps the last replica of something, or is the only one that can hand it over.
    #[error("the node keeps the last replica of something")]
    LastReplica,
    /// It makes no sense as things are.
    #[error("{0}")]
    Refused(String),
    /// No placement leader was reached.
    #[error("the cluster has no leader that this node reaches")]
    NoLeader,
    /// It may have been taken, or still be.
    #[error("it is not known whether it was taken; look at the status, and ask again")]
    Unsure,
}

impl Control {
    pub(crate) async fn drain(&self, node: &NodeName) -> Result<(), AdminError> {
        self.wish_for(PlacementCommand::Drain { name: node.clone() }).await
    }

    pub(crate) async fn remove(&self, node: &NodeName) -> Result<(), AdminError> {
        self.wish_for(PlacementCommand::Remove { name: node.clone() }).await
    }

    async fn wish_for(&self, command: PlacementCommand) -> Result<(), AdminError> {
        let question = Question::Propose(command);
        match self.ask_leader(&question, Duration::from_millis(ASK_LEADER_MS)).await {
            Ok(Answer::Done(Ok(_))) => Ok(()),
            Ok(Answer::Done(Err(PlacementRefusal::UnknownMember(_)))) => Err(AdminError::Unknown),
            Ok(Answer::Done(Err(PlacementRefusal::LastReplica(_)))) => Err(AdminError::LastReplica),
            Ok(Answer::Done(Err(refusal))) => Err(AdminError::Refused(refusal.to_string())),
            Ok(_) | Err(NoAnswer::Unsure) => Err(AdminError::Unsure),
            Err(NoAnswer::NoLeader) => Err(AdminError::NoLeader),
        }
    }

    /// Drains this node and waits until it leads nothing that another one could lead, the placement included, for `patience`
    /// at most. Answers whether that came about.
    pub(crate) async fn leave(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        if self.placement_now().members.len() <= 1 {
            return true;
        }
        if let Err(error) = self.drain(&self.me().clone()).await {
            tracing::warn!(%error, "this node could not be drained");
        }
        let mut placement = self.placement();
        loop {
            placement.borrow_and_update();
            if self.leads_nothing_of_use() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // What is led is no event of the placement: it is looked at in between.
            let next = deadline.min(Instant::now() + Duration::from_millis(SWEEP_MS / 20));
            let _ = timeout_at(next, placement.changed()).await;
        }
    }

    fn leads_nothing_of_use(&self) -> bool {
        let led = self.led().into_iter().chain(self.leads_placement().then_some(PLACEMENT));
        led.into_iter().all(|id| !self.has_heir(id))
    }

    /// Whether another living member could lead the group. One that follows a partition without a vote gets it while this node
    /// drains; in the placement group votes stay where they are.
    fn has_heir(&self, id: PartitionId) -> bool {
        let placement = self.placement_now();
        let Some(group) = self.base.hosting.group(id) else { return false };
        let metrics = group.metrics();
        let metrics = metrics.borrow_watched();
        let all: Vec<u64> = match id {
            PLACEMENT => metrics.membership_config.voter_ids().collect(),
            _ => metrics.membership_config.nodes().map(|(id, _)| *id).collect(),
        };
        let takes = |name: &NodeName, raft_id: u64| name != self.me() && all.contains(&raft_id);
        placement.members.iter().any(|(name, member)| member.takes() && takes(name, member.raft_id))
    }
}
