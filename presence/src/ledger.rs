//! What a partition counts: its revision, its time, its users.

use crate::UnixMs;
use bincode::{Decode, Encode};

/// The header of a partition's state. Invariant: revision and time never fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Ledger {
    /// Rises with every command that had an effect; versions are taken from it.
    pub revision: u64,
    /// The latest time that a command was applied at.
    pub now: UnixMs,
    /// Users of whom anything is stored.
    pub users: u64,
    /// Users with a live session.
    pub online: u64,
    /// Live sessions.
    pub sessions: u64,
}

impl Ledger {
    /// Takes a command's time, which never makes time fall.
    pub(crate) fn advance(&mut self, at: UnixMs) -> UnixMs {
        self.now = self.now.max(at);
        self.now
    }
}
