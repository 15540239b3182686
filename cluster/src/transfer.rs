//! Handing the leadership of a group over to another of its voters.
//!
//! Promises never to ask a leader to hand over to itself: openraft would stop taking writes for good.

use crate::{limits::TRANSFER_DEADLINE_MS, proposer::Group};
use openraft::async_runtime::watch::WatchReceiver;
use std::time::Duration;
use thiserror::Error;

/// Why leadership was not handed over. But for [`Late`](Self::Late) nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TransferError {
    /// This node does not lead the group.
    #[error("this node does not lead the group")]
    NotLeader,
    /// The other one has no vote, or is this node.
    #[error("the group has no other voter of this identity")]
    NotAnotherVoter,
    /// The group has ended here.
    #[error("the group has ended")]
    Ended,
    /// The other one did not lead in time; it may still come to it.
    #[error("the other voter did not take over in time")]
    Late,
}

/// Hands the leadership of `group` over to the voter `to`, and waits until this node sees it lead.
///
/// # Errors
/// [`TransferError`].
pub(crate) async fn transfer(group: &Group, to: u64) -> Result<(), TransferError> {
    let mut metrics = group.metrics();
    {
        let now = metrics.borrow_watched();
        if now.current_leader != Some(now.id) {
            return Err(TransferError::NotLeader);
        }
        if to == now.id || !now.membership_config.voter_ids().any(|voter| voter == to) {
            return Err(TransferError::NotAnotherVoter);
        }
    }
    group.trigger().transfer_leader(to).await.map_err(|_| TransferError::Ended)?;
    let taken_over = async {
        while metrics.borrow_watched().current_leader != Some(to) {
            metrics.changed().await.map_err(|_| TransferError::Ended)?;
        }
        Ok(())
    };
    let in_time = tokio::time::timeout(Duration::from_millis(TRANSFER_DEADLINE_MS), taken_over).await;
    in_time.unwrap_or(Err(TransferError::Late))
}
