//! A whole cluster in one process, on one thread, under simulated time, links and disks: one seed, one run.
//!
//! Everything of the crate `cluster` is real: log, state machine, proposer, leases, placement, opening of the store. Each run has a process of its own
//! and draws everything from its seed. `docs/reliability.md` says what is simulated, and how a seed is replayed.

mod batch;
mod chance;
mod clients;
mod disk;
mod faults;
mod history;
mod judge;
mod net;
mod run;
mod world;

use batch::{batch, folder, kept, run_apart, seed_base, usage};
use run::run_here;

pub mod program;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, also after a panic: a panic is a failed run anyhow.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
