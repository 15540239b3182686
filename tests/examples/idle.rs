//! What three idle nodes cost: CPU of a core and resident memory of each, over a minute.
//!
//! `cargo run --release -p rollcall-tests --example idle -- target/release/rollcall [PARTITIONS] [SECONDS]`. Linux: read from
//! `/proc`.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use rollcall_tests::{Cluster, FORMING_MAX, use_program};
use std::{env, fs, path::Path, process::Command, time::Duration};
use tokio::time::{Instant, sleep};

/// The default of a new cluster.
const PARTITIONS: usize = 32;
/// Long enough that a snapshot or a digest falls into it as often as not.
const SECONDS: usize = 60;
/// What forming left behind (log to purge, pages to write) is not idling yet.
const SETTLING: Duration = Duration::from_secs(10);

/// CPU time so far, in clock ticks. Fields 14 and 15 of `/proc/PID/stat`, user and system, counted behind the name in brackets.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a running node");
    let behind = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running node");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn ticks_per_second() -> f64 {
    let printed = Command::new("getconf").arg("CLK_TCK").output().ok();
    printed.and_then(|o| String::from_utf8_lossy(&o.stdout).trim().parse().ok()).unwrap_or(100.0)
}

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    use_program(Path::new(&args.next().expect("the program to measure")));
    let mut number = |default| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (partitions, seconds) = (number(PARTITIONS), number(SECONDS));
    let mut cluster = Cluster::plan(3).set("cluster.partitions", partitions).prepare().await;
    (0..3).for_each(|at| cluster.awake(at));
    cluster.get_ready();
    cluster.await_formed(FORMING_MAX * 5).await;
    sleep(SETTLING).await;
    let processes: Vec<u32> = cluster.running().iter().map(|at| cluster.node(*at).process()).collect();
    let before: Vec<u64> = processes.iter().map(|p| ticks(*p)).collect();
    let begun = Instant::now();
    sleep(Duration::from_secs(seconds as u64)).await;
    let per_second = ticks_per_second();
    for (at, (process, before)) in processes.iter().zip(before).enumerate() {
        let used = (ticks(*process) - before) as f64 / per_second;
        let share = 100.0 * used / begun.elapsed().as_secs_f64();
        let mib = resident_kib(*process) as f64 / 1_024.0;
        println!("{}: {partitions} partitions, {share:.2} % of a core, {mib:.1} MiB resident", cluster.name(at));
    }
}
