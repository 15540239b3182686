//! Who is told of what was applied.

use rollcall_presence::{Outcome, PartitionId};
use std::sync::Arc;

/// Told of every applied entry.
pub trait Observer: Send + Sync + 'static {
    /// Called once per applied entry, in log order per partition, after its rows are readable and before any proposer is
    /// answered; with no outcomes for entries of Raft's own. Entries that a restart applies again are told again.
    /// Must never block.
    fn applied(&self, partition: PartitionId, term: u64, outcomes: &[Arc<Outcome>]);
}
