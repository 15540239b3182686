//! A flood beside clients that are served: what it costs them.
//!
//! `cargo run -p rollcall-tests --example flood -- [SOCKETS] [HALF_OPEN]`. One server, a process of its own; SOCKETS watch in groups
//! of ten while somebody of each group changes in turn. Then another process opens HALF_OPEN connections from addresses
//! 127.0.0.2 and up, that never finish a head, and sends garbage, malformed frames and one user's valid requests, each as fast as it
//! can. Prints what the watchers saw before and during; ends with 1 when events are lost, when p99 is more than doubled (and over
//! 20 ms above it, which is what sharing the cores with the flood's own work costs), or when memory grew by over 64 MiB.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measuring program prints, and fails by panicking")]

use futures::{StreamExt, stream};
use rollcall_tests::{Client, Server, Socket};
use serde_json::json;
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

const SOCKETS: usize = 5_000;
const HALF_OPEN: usize = 10_000;
/// Watchers of each user that changes.
const GROUP: usize = 10;
/// Connections from one address of the flood.
const PER_ADDRESS: usize = 1_000;
/// Pause between two changes: 20 changes and 200 events a second.
const PAUSE: Duration = Duration::from_millis(50);
/// Changes of each phase.
const CHANGES: usize = 400;
/// What may come on top of twice the quiet p99: the flood's own work shares the cores.
const NOISE: Duration = Duration::from_millis(20);
/// How much memory a flood may cost: 2,048 heads and the sockets' reading.
const GROWTH_MAX_KIB: u64 = 64 * 1_024;
/// How long a change may take to be seen before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// When each watcher saw a change: its number and when.
type Seen = Arc<Mutex<Vec<(usize, Instant)>>>;

async fn watcher(client: Client, star: String, seen: Seen) {
    let mut socket = client.connect("session=false&watch=none").await;
    socket.watch(json!([star])).await;
    tokio::spawn(async move {
        loop {
            let next = timeout(Duration::from_secs(3_600), socket.next_patiently()).await;
            let Ok(Some(frame)) = next else { return };
            let at = Instant::now();
            for presence in frame["presences"].as_array().into_iter().flatten() {
                if let Some(number) = presence["text"].as_str().and_then(|t| t.parse().ok()) {
                    seen.lock().expect("a lock").push((number, at));
                }
            }
        }
    });
}

/// One phase: half, p99 and the number of events that did not come.
async fn phase(stars: &[Client], first: usize, seen: &Seen) -> (Duration, Duration, usize) {
    seen.lock().expect("a lock").clear();
    let mut made = Vec::new();
    for number in 0..CHANGES {
        made.push(Instant::now());
        let star = &stars[number % stars.len()];
        star.set_status(json!({"status": "dnd", "text": (first + number).to_string()})).await;
        sleep(PAUSE).await;
    }
    let wanted = CHANGES * GROUP;
    let until = Instant::now() + LOST_AFTER;
    while seen.lock().expect("a lock").len() < wanted && Instant::now() < until {
        sleep(Duration::from_millis(20)).await;
    }
    let seen = seen.lock().expect("a lock").clone();
    let mut delays: Vec<Duration> =
        seen.iter().filter_map(|(n, at)| Some(at.saturating_duration_since(*made.get(n - first)?))).collect();
    delays.sort();
    let lost = wanted.saturating_sub(delays.len());
    (delays[delays.len() / 2], delays[delays.len() * 99 / 100], lost)
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// The other process: floods until it is killed.
async fn flood(address: SocketAddr, half_open: usize, token: &str) {
    let mut silent = Vec::new();
    for number in 0..half_open {
        let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / PER_ADDRESS).expect("few addresses"));
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address");
        let Ok(mut stream) = socket.connect(address).await else { continue };
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.ok();
        silent.push(stream);
    }
    println!("{} half-open", silent.len());
    let bearer = format!("Bearer {token}");
    let garbage = async {
        loop {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            while stream.write_all(&[0xA5; 16_384]).await.is_ok() {}
        }
    };
    let frames = async {
        loop {
            let query = "session=false&watch=none";
            let opened = Socket::open(&address.to_string(), query, &[("authorization", &bearer)]).await;
            let Ok(mut socket) = opened else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let mut odd = 0_u64;
            loop {
                odd += 1;
                // Every ninth is in order, so that the connection is not closed for ten malformed ones in a row.
                let frame = if odd.is_multiple_of(9) { json!({"type": "ping"}) } else { json!({"type": "nonsense"}) };
                if socket.try_send(&frame).await.is_err() {
                    break;
                }
            }
        }
    };
    let requests = async {
        let request = format!("GET /v1/users/me/status HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n");
        let mut answer = vec![0; 65_536];
        loop {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            while stream.write_all(request.as_bytes()).await.is_ok() {
                if stream.read(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    };
    let pings = async {
        let opened = Socket::open(&address.to_string(), "session=false", &[("authorization", &bearer)]).await;
        let Ok(mut socket) = opened else { return };
        loop {
            socket.send_message(Message::Ping(vec![1; 100].into())).await;
        }
    };
    let _ = tokio::join!(garbage, frames, requests, async { timeout(Duration::from_secs(600), pings).await.ok() });
}

fn flooder(server: &Server, half_open: usize) -> Child {
    let mallory = server.client("mallory", "user");
    Command::new(env::current_exe().expect("this program"))
        .args(["--flood", &server.address, &half_open.to_string(), &mallory.token])
        .stdout(Stdio::inherit())
        .spawn()
        .expect("a second process")
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, address, half_open, token] = &args[..]
        && flag == "--flood"
    {
        flood(address.parse().expect("an address"), half_open.parse().expect("a number"), token).await;
        return ExitCode::SUCCESS;
    }
    let number = |at: usize, default| args.get(at).map_or(default, |n| n.parse().expect("a number"));
    let (sockets, half_open): (usize, usize) = (number(0, SOCKETS), number(1, HALF_OPEN));
    let server = Server::launch().set("presence.visibility", "everyone").start();
    let stars: Vec<Client> = (0..sockets / GROUP).map(|n| server.client(&format!("star-{n}"), "user")).collect();
    for star in &stars {
        star.open("web", "active").await;
    }
    let seen = Seen::default();
    stream::iter(0..sockets)
        .map(|n| watcher(server.client(&format!("watcher-{n}"), "user"), stars[n / GROUP].id.clone(), seen.clone()))
        .buffer_unordered(64)
        .collect::<Vec<()>>()
        .await;
    println!("{sockets} sockets in groups of {GROUP}");
    let _ = phase(&stars, 1_000_000, &seen).await; // warms up
    let memory = [resident_kib(server.process())];
    let (half, p99, lost) = phase(&stars, 2_000_000, &seen).await;
    println!("before: half {half:.1?}, p99 {p99:.1?}, lost {lost}; {} KiB", memory[0]);
    let mut flooder = flooder(&server, half_open);
    sleep(Duration::from_secs(3)).await;
    let started = resident_kib(server.process());
    let (half_during, p99_during, lost_during) = phase(&stars, 3_000_000, &seen).await;
    let during = resident_kib(server.process());
    println!("during: half {half_during:.1?}, p99 {p99_during:.1?}, lost {lost_during}; {started} to {during} KiB");
    flooder.kill().expect("a running flood");
    flooder.wait().expect("its end");
    sleep(Duration::from_secs(3)).await;
    let (half_after, p99_after, lost_after) = phase(&stars, 4_000_000, &seen).await;
    let after = resident_kib(server.process());
    println!("after: half {half_after:.1?}, p99 {p99_after:.1?}, lost {lost_after}; {after} KiB");
    let slow = p99_during > p99 * 2 && p99_during > p99 + NOISE;
    let grew = during.max(started) > memory[0] + GROWTH_MAX_KIB;
    if lost + lost_during + lost_after > 0 || slow || grew {
        println!("FAILED: lost {}, slow {slow}, grew {grew}", lost + lost_during + lost_after);
        return ExitCode::FAILURE;
    }
    println!("kept: nothing lost, p99 at most doubled, memory flat");
    ExitCode::SUCCESS
}
