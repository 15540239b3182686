//! Real processes under faults, judged: starts a cluster of the given program, breaks things on a schedule while clients write
//! and watch, heals, and judges what they saw.
//!
//! `cargo run --release -p rollcall-tests --example chaos -- target/release/rollcall --seconds 120 --seed 7 --faults all`
//! Ends with 0 if all holds, 1 if something was violated, 2 if the run proves nothing. `--help` lists the faults.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

mod options;

use clap::Parser as _;
use options::Options;
use rollcall_tests::{
    chaos::{Report, run},
    invariants::Finding,
    use_program,
};
use std::{path::PathBuf, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    use_program(&options.program);
    let plan = options.plan();
    println!("{} nodes, seed {}, {} kinds of faults", plan.nodes, plan.seed, plan.kinds.len());
    let report = run(&plan).await;
    println!("\n{report}");
    keep(&report, options.keep);
    report.exit_code()
}

/// Keeps the history where it was asked for, or where something is wrong with it.
fn keep(report: &Report, wanted: Option<PathBuf>) {
    let unasked = || {
        (report.finding() != Finding::Holds)
            .then(|| std::env::temp_dir().join(format!("rollcall-chaos-history-{}.jsonl", std::process::id())))
    };
    if let Some(path) = wanted.or_else(unasked) {
        match report.history.keep(&path) {
            Ok(()) => println!("the history is in {}", path.display()),
            Err(why) => eprintln!("{}: {why}", path.display()),
        }
    }
}
