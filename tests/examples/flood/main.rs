//! A flood beside clients that are served: what it costs them.
//!
//! `cargo run --release -p rollcall-tests --example flood -- [SOCKETS] [HALF_OPEN] [KINDS]`. One server, a process of its own; SOCKETS watch in
//! groups of ten while somebody of each group changes in turn. Then another process floods ([`flood`]): HALF_OPEN connections that
//! never finish a head, garbage, malformed frames and one user's valid requests, each as fast as it can. Prints what the watchers
//! saw before, during and after, and every socket that was closed; ends with 1 when an event was lost or a socket closed, when p99
//! is more than doubled and [`NOISE`] above it, or when memory is not flat: when the flood costs more than [`GROWTH_MAX_KIB`], or
//! the second half of it more than the first by [`CREEP_MAX_KIB`].
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

mod flood;

use rollcall_tests::{Audience, Round, Server, resident_kib};
use serde_json::json;
use std::{
    env,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};
use tokio::time::sleep;

const SOCKETS: usize = 5_000;
const HALF_OPEN: usize = 10_000;
/// Watchers of each user that changes.
const GROUP: usize = 10;
/// Pause between two changes: 20 changes and 200 events a second.
const PAUSE: Duration = Duration::from_millis(50);
/// Changes of each phase, which takes 20 s.
const CHANGES: usize = 400;
/// What may come on top of the quiet p99, if that is less than as much again: the flood's own work and the watchers' share the
/// cores with the server, and wait their turn behind it.
const NOISE: Duration = Duration::from_millis(20);
/// How long the flood has to get going, and the server to get over it.
const SETTLING: Duration = Duration::from_secs(5);
/// How much memory a flood may cost: 2,048 heads of some 20 KiB, and what requests in flight take.
const GROWTH_MAX_KIB: u64 = 64 * 1_024;
/// How much it may grow while the flood goes on: what the allocator keeps varies by some MiB.
const CREEP_MAX_KIB: u64 = 8 * 1_024;
/// How the flood is scheduled: it takes what nobody else wants. An attacker brings processors of its own, and must not take the
/// server's by being a neighbour; what the server does for it is the server's time.
const FLOOD_SCHEDULED: [&str; 2] = ["--idle", "0"];

/// What is sent beside half-open connections, if nobody says.
const KINDS: &str = "garbage,frames,requests,pings";

fn start_flood(server: &Server, half_open: usize, kinds: &str) -> Child {
    let mallory = server.client("mallory", "user");
    Command::new("chrt")
        .args(FLOOD_SCHEDULED)
        .arg(env::current_exe().expect("this program"))
        .args(["--flood", &server.address, &half_open.to_string(), kinds, &mallory.token])
        .stdin(Stdio::piped())
        .stdout(Stdio::inherit())
        .spawn()
        .expect("a second process")
}

/// Prints a phase; gives its round, its memory, and whether nothing was missed in it.
fn tell(name: &str, audience: &Audience, server: &Server, round: Round) -> (Round, u64, bool) {
    let memory = resident_kib(server.process());
    println!("{name}: {round}; {memory} KiB");
    let ends = audience.ends();
    for end in &ends {
        println!("  {end}");
    }
    (round, memory, round.lost + round.late + round.refused + ends.len() == 0)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, address, half_open, kinds, token] = &args[..]
        && flag == "--flood"
    {
        flood::run(address.parse().expect("an address"), half_open.parse().expect("a number"), kinds, token).await;
        return ExitCode::SUCCESS;
    }
    let number = |at: usize, default| args.get(at).map_or(default, |n| n.parse().expect("a number"));
    let (sockets, half_open): (usize, usize) = (number(0, SOCKETS), number(1, HALF_OPEN));
    let kinds = args.get(2).map_or(KINDS, String::as_str);
    let server = Server::launch().set("presence.visibility", "everyone").start();
    let mut audience = Audience::gather(&server, sockets / GROUP, GROUP).await;
    println!("{sockets} sockets in groups of {GROUP}");
    let none = json!({});
    let round = audience.round(CHANGES, PAUSE, &none).await;
    let _ = tell("warming up", &audience, &server, round);
    let round = audience.round(CHANGES, PAUSE, &none).await;
    let before = tell("before", &audience, &server, round);
    let mut flooding = start_flood(&server, half_open, kinds);
    sleep(SETTLING).await;
    let round = audience.round(CHANGES, PAUSE, &none).await;
    let during = tell("during", &audience, &server, round);
    let round = audience.round(CHANGES, PAUSE, &none).await;
    let still = tell("still during", &audience, &server, round);
    // It ends when nobody talks to it any more, and says what it did.
    drop(flooding.stdin.take());
    flooding.wait().expect("its end");
    sleep(SETTLING).await;
    let round = audience.round(CHANGES, PAUSE, &none).await;
    let after = tell("after", &audience, &server, round);

    let p99 = during.0.p99.max(still.0.p99).max(after.0.p99);
    let slow = p99 > before.0.p99 * 2 && p99 > before.0.p99 + NOISE;
    let grew = during.1.max(still.1).saturating_sub(before.1);
    let crept = still.1.saturating_sub(during.1);
    let missed = !(before.2 && during.2 && still.2 && after.2);
    println!("memory: {grew} KiB for the flood, {crept} KiB while it went on");
    if missed || slow || grew > GROWTH_MAX_KIB || crept > CREEP_MAX_KIB {
        println!("FAILED: missed {missed}, slow {slow}, grew {grew} KiB, crept {crept} KiB");
        return ExitCode::FAILURE;
    }
    println!("kept: nothing lost, nobody closed, p99 at most doubled, memory flat");
    ExitCode::SUCCESS
}
