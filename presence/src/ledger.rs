//! What a partition counts: its revision, its time, its users.

use crate::{UnixMs, limits::RESTORED_VERSION_GAP};
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

    /// Goes on beyond what was restored: versions up to `version` plus the gap count as published, and `latest` as past.
    pub(crate) fn lift(&mut self, version: u64, latest: UnixMs) -> UnixMs {
        if version > 0 {
            self.revision = self.revision.max(version.saturating_add(RESTORED_VERSION_GAP));
        }
        self.advance(latest)
    }
}
