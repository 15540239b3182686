//! Slow readers beside quick ones: what they cost.
//!
//! `cargo run --release -p rollcall-tests --example slow_readers`. One server, a process of its own, and users who change 200 times a
//! second together, each time with over 2 KiB, before quick readers of each: first alone, and then beside [`SLOW`] sockets with tiny
//! receive buffers that watch all of them and read one byte a second, and one that reads nothing at all. Prints what the quick ones
//! saw, and the server's memory; ends with 1 when the slow ones more than double the quick ones' p99 (and add more than [`NOISE`]),
//! when one costs more than [`SLOW_MAX_KIB`], when one that reads on does not come to hold the latest state of everybody, or when the
//! one that read nothing for 30 s is not closed with `slow`.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use futures::future::join_all;
use rollcall_tests::{Audience, DEADLINE, Round, Server, Socket, resident_kib};
use serde_json::{Value, json};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpSocket},
    sync::watch,
    time::{sleep, timeout},
};

const STARS: usize = 20;
/// Quick readers of each star.
const READERS: usize = 10;
const SLOW: usize = 50;
/// Pause between two changes: 200 changes and 2,000 events a second.
const PAUSE: Duration = Duration::from_millis(5);
/// Changes of a phase, 20 s: a slow reader is full within the first, and one that takes nothing in for 30 s is closed.
const CHANGES: usize = 4_000;
/// What stands in `meta` besides, bytes.
const FILLER_BYTES: usize = 1_900;
/// Receive buffer of a slow reader, bytes: the kernel must not read ahead for it.
const TINY_BUFFER: u32 = 4 * 1_024;
/// What may come on top of the p99 without slow ones, if that is less than as much again: readers and server share the cores.
const NOISE: Duration = Duration::from_millis(20);
/// What one slow reader may cost the server, KiB: its connection, a mark for each user it watches, and the one frame that is being
/// sent, of all of them at most. What is on its way is the kernel's, 64 KiB.
const SLOW_MAX_KIB: u64 = 128;
/// How long one reads nothing: more than the 30 s of the contract, and less than the 10 s more after which its farewell is given up.
const SILENT_FOR: Duration = Duration::from_secs(36);

/// How a slow reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speed {
    Full,
    ByteASecond,
    Nothing,
}

/// A way to `server` for one connection, that takes in as much as `speed` says.
async fn way(server: String, mut speed: watch::Receiver<Speed>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.expect("the reader");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(TINY_BUFFER).expect("a small buffer");
        let far = socket.connect(server.parse().expect("an address")).await.expect("a connection");
        let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
        let sending = tokio::spawn(async move { copy(&mut from_near, &mut to_far).await });
        let mut piece = [0; 4_096];
        loop {
            let now = *speed.borrow_and_update();
            let room = if now == Speed::Full { piece.len() } else { 1 };
            let read = tokio::select! {
                read = from_far.read(&mut piece[..room]), if now != Speed::Nothing => read.unwrap_or(0),
                changed = speed.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => break,
                },
            };
            if read == 0 || to_near.write_all(&piece[..read]).await.is_err() {
                break;
            }
            if now == Speed::ByteASecond {
                let _ = timeout(Duration::from_secs(1), speed.wait_for(|s| *s != Speed::ByteASecond)).await;
            }
        }
        sending.abort();
    });
    address
}

/// A reader who watches `stars`, and will read at the speed that its tap says.
async fn reader(server: &Server, number: usize, stars: &[&str], speed: watch::Receiver<Speed>) -> Socket {
    let client = server.client(&format!("slow-{number}"), "user");
    let way = way(server.address.clone(), speed).await;
    let mut socket = Socket::connect(&way, &client.token, "session=false&watch=none").await;
    socket.watch(json!(stars)).await;
    socket
}

/// Reads on until it holds `latest`; the number of frames that it took.
async fn catch_up(socket: &mut Socket, latest: &[Value]) -> usize {
    let mut frames = 0;
    for presence in latest {
        while socket.held(presence["user"].as_str().unwrap_or("")) != Some(presence) {
            socket.frame().await;
            frames += 1;
        }
    }
    frames
}

fn tell(name: &str, audience: &Audience, server: &Server, round: &Round) -> bool {
    println!("{name}: {round}; {} KiB", resident_kib(server.process()));
    let ends = audience.ends();
    for end in &ends {
        println!("  {end}");
    }
    // A change may be superseded before it is sent, which is no loss.
    round.refused + round.late + ends.len() == 0 && round.lost * 100 < round.due
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = Server::launch().set("presence.visibility", "everyone").start();
    let mut audience = Audience::gather(&server, STARS, READERS).await;
    println!("{} quick readers of {STARS} users", STARS * READERS);
    let meta = json!({"filler": "x".repeat(FILLER_BYTES)});
    let round = audience.round(CHANGES / 4, PAUSE, &meta).await;
    tell("warming up", &audience, &server, &round);
    let without = audience.round(CHANGES, PAUSE, &meta).await;
    let mut kept = tell("without slow ones", &audience, &server, &without);
    let quiet_kib = resident_kib(server.process());

    let (speed, slow_speed) = watch::channel(Speed::Full);
    let (silence, silent_speed) = watch::channel(Speed::Full);
    let ids: Vec<String> = audience.stars().iter().map(|s| s.id.clone()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut slow = join_all((0..SLOW).map(|n| reader(&server, n, &ids, slow_speed.clone()))).await;
    let mut silent = reader(&server, SLOW, &ids, silent_speed).await;
    drop(slow_speed);
    speed.send(Speed::ByteASecond).expect("taps");
    silence.send(Speed::Nothing).expect("a tap");
    let began = Instant::now();
    let with = audience.round(CHANGES, PAUSE, &meta).await;
    let slow_kib = resident_kib(server.process());
    kept &= tell("with slow ones", &audience, &server, &with);
    let each_kib = slow_kib.saturating_sub(quiet_kib) / (SLOW as u64 + 1);
    println!("one slow reader cost {each_kib} KiB");

    let latest = join_all(audience.stars().iter().map(|star| star.sees("me"))).await;
    speed.send(Speed::Full).expect("taps");
    let frames = join_all(slow.iter_mut().map(|s| timeout(DEADLINE, catch_up(s, &latest)))).await;
    let caught_up = frames.iter().flatten().count();
    let most = frames.iter().flatten().max().copied().unwrap_or(0);
    println!(
        "{caught_up} of {SLOW} slow ones hold the latest states, after {most} frames at most, of {CHANGES} changes"
    );
    sleep(SILENT_FOR.saturating_sub(began.elapsed())).await;
    silence.send(Speed::Full).expect("a tap");
    let ended = silent.ended().await;
    println!("the one that read nothing: {ended:?}");
    let told = ended.code == Some(4004) && ended.goodbye.as_ref().is_some_and(|g| g["reason"] == "slow");

    let slowed = with.p99 > without.p99 * 2 && with.p99 > without.p99 + NOISE;
    if !kept || slowed || each_kib > SLOW_MAX_KIB || caught_up < SLOW || !told {
        println!("FAILED: kept {kept}, slowed {slowed}, {each_kib} KiB each, {caught_up} caught up, told {told}");
        return ExitCode::FAILURE;
    }
    println!(
        "kept: nobody slowed, memory bounded, the latest state for all that read on, `slow` for the one that did not"
    );
    ExitCode::SUCCESS
}
