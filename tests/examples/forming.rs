//! How long three nodes take from empty directories to every partition with three replicas and even leaders, and how long a
//! fourth takes to get its share.
//!
//! `cargo run --release -p rollcall-tests --example forming -- target/release/rollcall [PARTITIONS] [TIMES]`
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use rollcall_tests::{Cluster, FORMING_MAX, use_program};
use std::{env, path::Path, time::Instant};

/// The default of a new cluster.
const PARTITIONS: usize = 32;
/// Runs: one says little.
const TIMES: usize = 5;

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    use_program(Path::new(&args.next().expect("the program to measure")));
    let mut number = |default| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (partitions, times) = (number(PARTITIONS), number(TIMES));
    for run in 1..=times {
        let mut cluster = Cluster::plan(3).set("cluster.partitions", partitions).prepare().await;
        let begun = Instant::now();
        (0..3).for_each(|at| cluster.awake(at));
        cluster.get_ready();
        let ready = begun.elapsed();
        cluster.await_formed(FORMING_MAX).await;
        let formed = begun.elapsed();
        let begun = Instant::now();
        cluster.join_another();
        cluster.await_formed(FORMING_MAX).await;
        let fourth = begun.elapsed();
        println!(
            "run {run}: {partitions} partitions, serving {ready:.2?}, formed {formed:.2?}, a fourth joined {fourth:.2?}"
        );
    }
}
