//! Whether this node reaches a placement leader that has a quorum.
//!
//! Promises that what is confirmed was confirmed by a quorum within the last two seconds.

use tokio::time::Instant;

/// How this node stands to the rest of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterStanding {
    /// Whether a placement leader that has a quorum has answered within the last two seconds.
    pub confirmed: bool,
    /// When it was asked what it answered last.
    pub last_confirmed: Option<Instant>,
    /// The clock of this node less the middle one of all, ms, as of then.
    pub clock_ahead_ms: i64,
}

/// What the placement leader confirmed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    /// When it was asked.
    pub asked_at: Instant,
    /// The placement's epoch there: a placement of this epoch or later is not older than the question.
    pub epoch: u64,
}
