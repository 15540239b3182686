//! One time of being a partition's home: what soft state at a home belongs to.

use bincode::{Decode, Encode};
use rollcall_presence::Holder;

/// One time of being a home, from taking it up to laying it down. Whatever a node told an earlier one, it tells again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Tenure {
    /// The node.
    pub holder: Holder,
    /// The term.
    pub term: u64,
    /// Counts how often that node took the partition up: a home may be laid down and taken up again in one term.
    pub number: u64,
}
