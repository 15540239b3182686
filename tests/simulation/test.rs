//! The kept seeds and a hundred fresh ones: a cluster in one process, and everything that may go wrong.
#![allow(clippy::print_stdout, reason = "it says which seeds it ran")]

#[path = "mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "two programs are made of it")]
mod simulation;

/// Fresh seeds of a test run.
const FRESH: u64 = 100;

fn main() -> std::process::ExitCode {
    simulation::program::test(FRESH)
}
