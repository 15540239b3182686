//! All sockets cut at once, and back within a second: what it costs, and whether anybody was shown offline.
//!
//! `cargo run --release -p rollcall-tests --example herd -- [SOCKETS] [NODES]`. A cluster, a process a node; SOCKETS people are connected,
//! each with a session and over all nodes, and watched; beside them somebody changes and is seen to ([`Audience`]). Then every
//! socket of the people is reset in the same moment, and each comes back at a moment of the next second, and when it is told to if it
//! is refused. Prints when they were back, how they were refused, what watchers and the audience saw, and the nodes' memory;
//! ends with 1 when somebody was shown offline, when somebody was not back or events not as quick as before after [`NORMAL_AFTER`],
//! when an event was lost, or when memory grew by more than [`GROWTH_MAX_KIB`] a node.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

mod people;

use people::{Herd, Return};
use rollcall_tests::{Audience, Cluster, Round, resident_kib};
use serde_json::json;
use std::{
    env, fmt,
    process::{self, Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

const SOCKETS: usize = 15_000;
const NODES: usize = 3;
/// Users who change beside, and readers of each.
const STARS: usize = 50;
const READERS: usize = 10;
/// Pause between two changes: 20 changes and 200 events a second.
const PAUSE: Duration = Duration::from_millis(50);
/// Changes of a round, 10 s.
const CHANGES: usize = 200;
/// By when all is to be as it was.
const NORMAL_AFTER: Duration = Duration::from_secs(30);
/// What may come on top of the quiet p99, if that is less than as much again: people and readers share the cores with the nodes.
const NOISE: Duration = Duration::from_millis(20);
/// How much more memory a node may have afterwards: what allocators keep, and what history the openings wrote.
const GROWTH_MAX_KIB: u64 = 128 * 1_024;
/// Between two looks at the nodes' memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Descriptors beside those of the people: the audience's sockets, files, and what is being opened.
const FILES_BESIDE: u64 = 6_000;

/// The most memory that any node had since it was last asked, KiB.
#[derive(Debug, Default)]
struct Peak(AtomicU64);

impl Peak {
    async fn look(self: Arc<Self>, processes: Vec<u32>, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            self.0.fetch_max(largest(&processes), Ordering::Relaxed);
            sleep(LOOK_EVERY).await;
        }
    }
}

fn largest(processes: &[u32]) -> u64 {
    processes.iter().map(|process| resident_kib(*process)).max().unwrap_or(0)
}

/// Lets this process, and those that it starts, have so many files open; says so where that is not allowed.
fn allow_files(wanted: u64) {
    let limit = format!("--nofile={wanted}:{wanted}");
    let set = Command::new("prlimit").args(["--pid", &process::id().to_string(), &limit]).status();
    if !set.is_ok_and(|status| status.success()) {
        println!("not allowed to have {wanted} files open");
    }
}

/// Durations, sorted, at half, 99 of 100 and the end.
struct Spread(Vec<Duration>);

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1)));
        let [half, most, last] = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or_default());
        write!(f, "half {half:.1?}, 99 % {most:.1?}, last {last:.1?}")
    }
}

fn spread(durations: impl Iterator<Item = Duration>) -> Spread {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort();
    Spread(sorted)
}

/// Prints how everybody came back; whether everybody did in time.
fn tell_returns(returns: &[Return], sockets: usize) -> bool {
    println!("back: {} of {sockets}; since the cut: {}", returns.len(), spread(returns.iter().map(|r| r.after)));
    let refused: Vec<&Return> = returns.iter().filter(|r| r.refused > 0).collect();
    let again = returns.iter().filter(|r| r.refused > 1).count();
    println!("refused with a time to come back: {}; more than once: {again}", refused.len());
    println!("  told to come back in: {}", spread(refused.iter().map(|r| r.told)));
    println!("  admitted after the time they were told: {}", spread(refused.iter().map(|r| r.late)));
    let broken: u32 = returns.iter().map(|r| r.broken).sum();
    let resumed = returns.iter().filter(|r| r.resumed).count();
    println!("  broken off: {broken} tries; {resumed} went on with the session they had");
    returns.len() == sockets && returns.iter().all(|r| r.after <= NORMAL_AFTER)
}

fn is_well(round: &Round, before: &Round) -> bool {
    let slow = round.p99 > before.p99 * 2 && round.p99 > before.p99 + NOISE;
    !slow && round.lost + round.late + round.refused == 0
}

#[tokio::main]
async fn main() -> ExitCode {
    let number = |at: usize, default| env::args().nth(at).map_or(default, |n| n.parse().expect("a number"));
    let (sockets, nodes): (usize, usize) = (number(1, SOCKETS), number(2, NODES));
    allow_files(sockets as u64 + FILES_BESIDE);
    let cluster = Cluster::plan(nodes).set("presence.visibility", "everyone").start().await;
    let processes: Vec<u32> = (0..cluster.len()).map(|at| cluster.node(at).process()).collect();
    let mut audience = Audience::gather(cluster.node(0), STARS, READERS).await;
    let herd = Herd::gather(&cluster, sockets).await;
    println!("{sockets} people on {nodes} nodes, all connected; {} frames of watchers", herd.sightings());
    let none = json!({});
    println!("warming up: {}", audience.round(CHANGES, PAUSE, &none).await);
    let before = audience.round(CHANGES, PAUSE, &none).await;
    let memory = largest(&processes);
    println!("before: {before}; {memory} KiB a node at most");

    let (peak, over) = (Arc::<Peak>::default(), Arc::new(AtomicBool::new(false)));
    let looking = tokio::spawn(peak.clone().look(processes.clone(), over.clone()));
    let cut_at = Instant::now();
    herd.cut();
    let during = audience.round(CHANGES, PAUSE, &none).await;
    println!("from the cut on: {during}");
    sleep_until(cut_at + NORMAL_AFTER).await;
    let returns = herd.returns();
    let all_back = tell_returns(&returns, sockets);
    let after = audience.round(CHANGES, PAUSE, &none).await;
    over.store(true, Ordering::Relaxed);
    looking.await.expect("a look");
    let (peak, now) = (peak.0.load(Ordering::Relaxed), largest(&processes));
    println!("after {NORMAL_AFTER:.0?}: {after}; {now} KiB a node at most, {peak} KiB at the peak");

    let (offline, ends) = (herd.shown_offline(), audience.ends());
    for line in offline.iter().take(10).chain(ends.iter().take(10)) {
        println!("  {line}");
    }
    println!("shown offline: {}; sockets of the audience that ended: {}", offline.len(), ends.len());
    let lost = during.lost + during.refused;
    let grew = now.saturating_sub(memory);
    if !all_back
        || !offline.is_empty()
        || !ends.is_empty()
        || lost > 0
        || !is_well(&after, &before)
        || grew > GROWTH_MAX_KIB
    {
        println!("FAILED: all back {all_back}, lost {lost}, grew {grew} KiB");
        return ExitCode::FAILURE;
    }
    println!("kept: nobody was shown offline, nothing lost, all as before after {NORMAL_AFTER:.0?}");
    ExitCode::SUCCESS
}
