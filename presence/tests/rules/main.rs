//! The rules of presence under random histories: one module a promise, all against the public API.
//!
//! A history is a list of [`Deed`](deed::Deed)s, shrunk by proptest; a [`World`](world::World) stores what outcomes tell it
//! to store, as a replica does, so that an outcome which forgets to say something is found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attachments;
mod deed;
mod deletion;
mod expiry;
mod fencing;
mod golden_bytes;
mod history;
mod idempotency;
mod invisibility;
mod lists;
mod placement_balance;
mod placement_bytes;
mod placement_commands;
mod placement_histories;
mod placement_world;
mod public_presence;
mod random_bytes;
mod replicas;
mod restored_bytes;
mod restoring;
mod world;
