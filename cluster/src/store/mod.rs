//! The store: one sled database, one thread that writes to it, and what makes it safe to believe at the next start.
//!
//! Relies on nothing of Raft but its stored forms. Promises that what was answered survives a power cut, and that a loss is
//! noticed at the next start.

pub(crate) mod checks;
pub mod disk;
pub(crate) mod envelope;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod opening;
mod paced;
mod round_clock;
mod rounds;
pub(crate) mod watermark;
pub(crate) mod work;
pub(crate) mod writer;
