//! Handing the leadership of a group over to another of its voters.
//!
//! Promises never to ask a leader to hand over to itself: openraft would stop taking writes for good.

use crate::{
    limits::{PROBE_DEADLINE_MS, TRANSFER_DEADLINE_MS},
    proposer::Group,
};
use openraft::async_runtime::{Instant as _, watch::WatchReceiver};
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

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
    /// The other one does not answer: its group may not run yet, and writes would stop until the next election.
    #[error("the other voter does not answer")]
    Silent,
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
    answers_now(group, to).await?;
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

/// Makes sure that the voter `to` answers this leader now: what was heard of it may be from before it was restarted.
async fn answers_now(group: &Group, to: u64) -> Result<(), TransferError> {
    let mut metrics = group.metrics();
    let asked = Instant::now();
    group.trigger().heartbeat().await.map_err(|_| TransferError::Ended)?;
    let answered = async {
        loop {
            {
                let now = metrics.borrow_watched();
                let heard = now.heartbeat.as_ref().and_then(|heard| heard.get(&to)).and_then(Option::as_ref);
                if heard.is_some_and(|heard| heard.elapsed() <= asked.elapsed()) {
                    return Ok(());
                }
            }
            metrics.changed().await.map_err(|_| TransferError::Ended)?;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_millis(PROBE_DEADLINE_MS), answered).await;
    in_time.unwrap_or(Err(TransferError::Silent))
}
