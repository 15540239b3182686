//! The placement group: the one small group that commits who belongs to the cluster and who keeps what.
//!
//! A group like every other, over the same store, with a number that no partition has. Promises that the placement it shows
//! was committed, and is as applied on this node: it may lag, and never goes back while the process lives.

use crate::{
    limits::PROPOSE_DEADLINE_MS,
    proposer::{Group, ProposeError},
    raft::types::Proposal,
    replica::Replica,
};
use openraft::errors::{ClientWriteError, RaftError};
use rollcall_presence::{Applied, PartitionId, PlacementCommand, PlacementRefusal};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The number of the placement group; partitions are fewer by far.
pub(crate) const PLACEMENT: PartitionId = PartitionId(u16::MAX);

/// How a group is called in errors and logs.
#[must_use]
pub(crate) fn name_of(id: PartitionId) -> String {
    if id == PLACEMENT { "the placement".to_owned() } else { format!("partition {id}") }
}

/// The placement group as it runs here.
pub(crate) struct PlacementGroup {
    replica: Arc<Replica>,
    /// One for all values of this type: each is made for a few calls.
    admission: Arc<Semaphore>,
}

impl PlacementGroup {
    pub(crate) fn new(replica: Arc<Replica>, admission: Arc<Semaphore>) -> Self {
        Self { replica, admission }
    }

    /// The Raft group.
    pub(crate) fn group(&self) -> &Group {
        self.replica.group()
    }

    /// The term that is known here.
    pub(crate) fn term(&self) -> u64 {
        self.replica.metrics().current_term
    }

    /// Proposes `command` here, and waits until it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; each variant says what may have happened. The inner error is the placement's own: nothing changed.
    pub(crate) async fn propose(
        &self,
        command: PlacementCommand,
    ) -> Result<Result<Applied, PlacementRefusal>, ProposeError> {
        let _admitted = self.admission.try_acquire().map_err(|_| ProposeError::Busy)?;
        let written = self.group().client_write(Proposal::Placement(Arc::new(command)));
        match tokio::time::timeout(Duration::from_millis(PROPOSE_DEADLINE_MS), written).await {
            Ok(Ok(written)) => written.data.placement.ok_or(ProposeError::Unknown),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotHome { leader: forward.leader_node.map(|member| member.name) })
            }
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }
}
