//! The flood: a process of its own, that goes on until its standard input ends, and then says what it did.

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use rollcall_tests::Socket;
use serde_json::json;
use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tokio_tungstenite::tungstenite::Message;

/// Connections from one address.
const PER_ADDRESS: usize = 1_000;
/// When a half-open connection that was closed is opened again: so the whole number wants a place all the time, and what is
/// measured is not how many connections the kernel can open.
const REOPENED_AFTER: Duration = Duration::from_secs(5);
/// The pause after an opening that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// What was done.
#[derive(Debug, Default)]
struct Done {
    half_open: AtomicU64,
    opened: AtomicU64,
    garbage: AtomicU64,
    frames: AtomicU64,
    requests: AtomicU64,
    pings: AtomicU64,
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Floods `address` until standard input ends, with the named kinds of noise beside the half-open connections.
pub(crate) async fn run(address: SocketAddr, half_open: usize, kinds: &str, token: &str) {
    let done = Arc::new(Done::default());
    let told = done.clone();
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let Done { half_open, opened, garbage, frames, requests, pings } = &*told;
        println!("the flood: {half_open:?} half-open at its end, {opened:?} opened in all;");
        println!("  {garbage:?} connections of garbage, {frames:?} odd frames, {requests:?} requests, {pings:?} pings");
        process::exit(0);
    });
    let bearer = format!("Bearer {token}");
    let silent = join_all((0..half_open).map(|number| tokio::spawn(never_finish(address, number, done.clone()))));
    let wanted = |kind: &str| kinds.split(',').any(|k| k == kind);
    let only = |kind: &str, noise: BoxFuture<'static, ()>| {
        let wanted = wanted(kind);
        async move {
            if wanted {
                noise.await;
            }
        }
    };
    tokio::join!(
        silent,
        only("garbage", garbage(address, done.clone()).boxed()),
        only("frames", frames(address, bearer.clone(), done.clone()).boxed()),
        only("requests", requests(address, bearer.clone(), done.clone()).boxed()),
        only("pings", pings(address, bearer.clone(), done.clone()).boxed()),
    );
}

/// A connection that begins a head and says no more, again and again.
async fn never_finish(address: SocketAddr, number: usize, done: Arc<Done>) {
    let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / PER_ADDRESS).unwrap_or(0));
    loop {
        if let Ok(socket) = TcpSocket::new_v4()
            && socket.bind((from, 0).into()).is_ok()
            && let Ok(mut stream) = socket.connect(address).await
        {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.ok();
            one_more(&done.opened);
            one_more(&done.half_open);
            let _ = stream.read(&mut [0; 64]).await;
            done.half_open.fetch_sub(1, Ordering::Relaxed);
        }
        sleep(REOPENED_AFTER).await;
    }
}

/// Bytes that are no request, as many as are taken.
async fn garbage(address: SocketAddr, done: Arc<Done>) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        one_more(&done.garbage);
        while stream.write_all(&[0xA5; 16_384]).await.is_ok() {}
    }
}

/// Frames that are none of the contract's, on one connection as long as it lasts.
async fn frames(address: SocketAddr, bearer: String, done: Arc<Done>) {
    loop {
        let query = "session=false&watch=none";
        let Ok(mut socket) = Socket::open(&address.to_string(), query, &[("authorization", &bearer)]).await else {
            sleep(AGAIN_AFTER).await;
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
            one_more(&done.frames);
        }
    }
}

/// One user's requests, each as soon as the last one is answered.
async fn requests(address: SocketAddr, bearer: String, done: Arc<Done>) {
    let request = format!("GET /v1/users/me/status HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n");
    let mut answer = vec![0; 65_536];
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        while stream.write_all(request.as_bytes()).await.is_ok() {
            if stream.read(&mut answer).await.unwrap_or(0) == 0 {
                break;
            }
            one_more(&done.requests);
        }
    }
}

/// Pings with something in them, whose answers are not read.
async fn pings(address: SocketAddr, bearer: String, done: Arc<Done>) {
    loop {
        let opened = Socket::open(&address.to_string(), "session=false", &[("authorization", &bearer)]).await;
        let Ok(mut socket) = opened else {
            sleep(AGAIN_AFTER).await;
            continue;
        };
        while socket.try_send_message(Message::Ping(vec![1; 100].into())).await.is_ok() {
            one_more(&done.pings);
        }
    }
}
