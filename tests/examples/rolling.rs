//! A rolling restart under load: SIGTERM, start again, the next one. Says how long any user's requests failed at most, and
//! what was lost or shown wrongly, which must be nothing.
//!
//! `cargo run --release -p rollcall-tests --example rolling -- target/release/rollcall [ROUNDS]`
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll, use_program};
use std::{env, path::Path, time::Duration};

/// Users.
const USERS: usize = 60;
/// Pause between a user's writes.
const PACE: Duration = Duration::from_millis(50);
/// History entries kept a user: every write of the run has to be found again.
const HISTORY: usize = 100_000;
/// Acknowledged writes before each restart and after it.
const BETWEEN: usize = USERS * 20;

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    use_program(Path::new(&args.next().expect("the program to measure")));
    let rounds: usize = args.next().map_or(2, |n| n.parse().expect("a number of rounds"));
    let mut cluster =
        Cluster::plan(3).set("cluster.partitions", 32).set("limits.history_entries", HISTORY).start().await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan { users: USERS, pace: PACE, ..LoadPlan::default() }).await;
    for round in 0..rounds {
        for at in 0..3 {
            load.more(BETWEEN).await;
            let begun = load.now();
            let status = cluster.terminate(at);
            let stopped = load.now();
            cluster.restart(at);
            cluster.await_formed(FORMING_MAX).await;
            println!(
                "round {}, {}: stopped ({status}) in {:.2?}, back and formed after {:.2?}",
                round + 1,
                cluster.name(at),
                stopped - begun,
                load.now() - begun
            );
        }
    }
    load.more(BETWEEN).await;
    let verdict = load.settle().await;
    println!("{}", verdict.summary());
    println!("longest failing time of any user's requests: {:.3?}", verdict.longest_failing());
    verdict.must_be_faultless();
}
