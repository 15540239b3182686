//! Thousands of sockets on three nodes watch one user: what crosses the links for a change, and how long it takes until all have
//! it.
//!
//! `cargo run --release -p rollcall-tests --example watched_by_thousands -- [SOCKETS] [CHANGES]`. The nodes run in this process,
//! so that the bytes between them can be counted; each link carries one frame a change, whatever the number of sockets.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use futures::{StreamExt, stream};
use rollcall_tests::{Client, Socket, TestCluster};
use serde_json::json;
use std::{
    env,
    time::{Duration, Instant},
};

/// Sockets over all nodes. Issue: 4,000.
const SOCKETS: usize = 4_000;
/// Changes that are counted.
const CHANGES: usize = 50;
/// Connections that are opened at a time.
const OPENING: usize = 64;

async fn connect(client: Client) -> Socket {
    let mut socket = client.connect("session=false&watch=none").await;
    socket.watch(json!(["star"])).await;
    socket
}

/// Reads until the last change and says when each was seen.
async fn watch(mut socket: Socket, changes: usize) -> Vec<Instant> {
    let mut seen = Vec::with_capacity(changes);
    for number in 0..changes {
        let text = format!("change {number}");
        socket.until_held("star", |p| p["text"] == text.as_str()).await;
        seen.push(Instant::now());
    }
    seen
}

#[tokio::main]
async fn main() {
    let mut args = env::args().skip(1);
    let mut number = |default| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (sockets, changes): (usize, usize) = (number(SOCKETS), number(CHANGES));
    let most = u32::try_from(sockets).expect("a number of sockets");
    let cluster = TestCluster::plan(3).with(move |s| s.limits.connections_per_user = most).start().await;
    let star = cluster.client(0, "star", "user");
    star.open("web", "active").await;
    let sockets_open = stream::iter((0..sockets).map(|at| cluster.client(at % 3, "the-service", "service")))
        .map(connect)
        .buffer_unordered(OPENING)
        .collect::<Vec<_>>()
        .await;
    let watching: Vec<_> = sockets_open.into_iter().map(|socket| tokio::spawn(watch(socket, changes))).collect();
    let home = cluster.home_of(0, "star").await;
    let names = cluster.names();
    let others: Vec<&String> = names.iter().enumerate().filter(|(at, _)| *at != home).map(|(_, n)| n).collect();
    let sent = || others.iter().map(|name| cluster.links.bytes(&names[home], name)).sum::<u64>();
    let (before, frames_before) = (sent(), cluster.frames_sent(home).await);
    let mut made = Vec::new();
    for number in 0..changes {
        made.push(Instant::now());
        star.set_status(json!({"status": "dnd", "text": format!("change {number}")})).await;
        // The pace at which nothing is conflated: everybody has it before the next.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut delays: Vec<Duration> = Vec::new();
    for watcher in watching {
        let seen = watcher.await.expect("a watcher");
        delays.extend(seen.iter().zip(&made).map(|(seen, made)| seen.saturating_duration_since(*made)));
    }
    delays.sort();
    let bytes = sent() - before;
    let frames = cluster.frames_sent(home).await;
    let frames: Vec<u64> = frames.iter().zip(frames_before).map(|(after, before)| after - before).collect();
    println!("{sockets} sockets, {changes} changes, {} deliveries", delays.len());
    println!("frames sent by the home on {}, to each of {names:?}: {frames:?}", names[home]);
    println!(
        "from the home to the other nodes: {} bytes a change and node, log entries and heartbeats included",
        bytes / (changes as u64 * 2)
    );
    println!("to a socket: half {:.2?}, worst {:.2?}", delays[delays.len() / 2], delays[delays.len() - 1]);
    cluster.stop().await;
}
