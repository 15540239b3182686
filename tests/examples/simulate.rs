//! Seeds of a simulated cluster: `--seeds N [--from N] [--plant NAME]`, or one of them again: `--seed N --verbose`.
#![allow(clippy::print_stdout, reason = "it says what it found")]

#[path = "../simulation/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "two programs are made of it")]
mod simulation;

/// Fresh seeds when no number is given.
const FRESH: u64 = 100;

fn main() -> std::process::ExitCode {
    simulation::program::program(FRESH)
}
