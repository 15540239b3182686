//! Kills a node of three with -9 under load, again and again, at default timers, and says how long each affected user waited
//! for its first acknowledged write.
//!
//! `cargo run --release -p rollcall-tests --example kills -- target/release/rollcall [KILLS]`: prints a line a kill, and at the
//! end when half, all, and the last of all were served. Affected is whoever's home was the killed node, and whoever was its
//! client. Exits 1 when an acknowledged write was lost or somebody alive was shown offline.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll, use_program};
use std::{collections::BTreeSet, env, path::Path, time::Duration};

/// Kills, unless said otherwise. Issue: 20.
const KILLS: usize = 20;
/// Users: enough that every node is home of many.
const USERS: usize = 60;
/// Pause between a user's writes: how fine the times are.
const PACE: Duration = Duration::from_millis(100);
/// History entries kept a user: every write of the run has to be found again.
const HISTORY: usize = 100_000;
/// Acknowledged writes between a healed cluster and the next kill.
const SETTLING: usize = USERS * 10;

struct Kill {
    at: Duration,
    home_of: BTreeSet<String>,
}

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    use_program(Path::new(&args.next().expect("the program to measure")));
    let kills = args.next().map_or(KILLS, |n| n.parse().expect("a number of kills"));
    let mut cluster =
        Cluster::plan(3).set("cluster.partitions", 32).set("limits.history_entries", HISTORY).start().await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan { users: USERS, pace: PACE, ..LoadPlan::default() }).await;
    let mut done = Vec::new();
    for number in 0..kills {
        load.more(SETTLING).await;
        let victim = number % 3;
        let mut home_of = BTreeSet::new();
        for user in load.users() {
            if cluster.home_of((victim + 1) % 3, user).await == victim {
                home_of.insert(user.clone());
            }
        }
        let at = load.now();
        cluster.kill9(victim);
        done.push(Kill { at, home_of });
        load.more(SETTLING).await;
        cluster.restart(victim);
        cluster.await_formed(FORMING_MAX).await;
    }
    load.more(SETTLING).await;
    let verdict = load.settle().await;
    let mut all = Vec::new();
    for (number, kill) in done.iter().enumerate() {
        let waits = verdict.first_sent_after(kill.at);
        let mut of: Vec<Duration> = kill.home_of.iter().filter_map(|user| waits.get(user)).copied().collect();
        of.sort();
        let (half, worst) = (of.get(of.len() / 2).copied().unwrap_or_default(), of.last().copied().unwrap_or_default());
        println!("kill {:2}: {} users' home, half wait {half:.2?}, all {worst:.2?}", number + 1, of.len());
        all.extend(of);
    }
    all.sort();
    let part = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied();
    println!(
        "{} kills, {} waits: half {:.2?}, 90 % {:.2?}, worst {:.2?}",
        done.len(),
        all.len(),
        part(50).unwrap_or_default(),
        part(90).unwrap_or_default(),
        part(100).unwrap_or_default()
    );
    println!("{}", verdict.summary());
    verdict.must_be_faultless();
}
