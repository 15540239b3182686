//! Clients that take their time: each is let go of after the time that the settings give it, and nobody else waits for it.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{DEADLINE, Server, eventually};
use std::{io::ErrorKind, sync::OnceLock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const IMPATIENCE_MS: u64 = 400;
const HEAD: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Slow: 0123456789012345678901234567890123456789\r\n";

/// A node that gives heads and bodies little time.
fn impatient() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let launch = Server::launch().set("http.header_timeout_ms", IMPATIENCE_MS);
        launch.set("http.body_timeout_ms", IMPATIENCE_MS).start()
    })
}

async fn connected() -> TcpStream {
    TcpStream::connect(&impatient().address).await.expect("a connection")
}

/// All that is answered up to the end, while somebody else is served.
async fn answer_up_to_the_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let ends = async { stream.read_to_end(&mut answer).await.ok() };
    let ends = async { timeout(DEADLINE, ends).await.expect("the connection ends") };
    tokio::join!(ends, others_are_served());
    String::from_utf8(answer).expect("text")
}

async fn others_are_served() {
    let [alice] = impatient().people(["alice"]);
    for _ in 0..5 {
        let _ = alice.get("/v1/users/me/presence").await.must(200);
    }
}

/// Sends `bytes` one at a time, and more and more of them, until the server has ended the connection; what it answered.
async fn trickles(mut stream: TcpStream, bytes: &[u8]) -> String {
    let (mut sent, mut answer, mut read) = (bytes.iter().cycle(), Vec::new(), [0; 1_024]);
    let ended = eventually("a connection that never gets to the point ends", async || {
        stream.write_all(&[*sent.next()?]).await.ok();
        match stream.try_read(&mut read) {
            Ok(0) => Some(()),
            Ok(count) => {
                answer.extend_from_slice(&read[..count]);
                None
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(()),
        }
    });
    tokio::join!(ended, others_are_served());
    String::from_utf8(answer).expect("text")
}

fn is_late(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 408 ") && answer.contains("application/problem+json")
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    assert_eq!(answer_up_to_the_end(connected().await).await, "");
}

#[tokio::test]
async fn who_rests_between_requests_for_long_is_let_go() {
    let mut stream = connected().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("a request");
    let answer = answer_up_to_the_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
}

#[tokio::test]
async fn half_a_head_is_told_that_it_is_late() {
    let mut stream = connected().await;
    stream.write_all(HEAD.as_bytes()).await.expect("half a request");
    let answer = answer_up_to_the_end(stream).await;
    assert!(is_late(&answer), "{answer}");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_told_that_it_is_late() {
    let mut stream = connected().await;
    stream.write_all(HEAD.as_bytes()).await.expect("half a request");
    let answer = trickles(stream, b"x: y\r\n").await;
    assert!(is_late(&answer), "{answer}");
}

fn put(length: usize) -> String {
    let [alice] = impatient().people(["alice"]);
    format!(
        "PUT /v1/users/me/status HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{{\"status\":",
        alice.token
    )
}

#[tokio::test]
async fn half_a_body_is_told_that_it_is_late() {
    let mut stream = connected().await;
    stream.write_all(put(50).as_bytes()).await.expect("half a request");
    let answer = answer_up_to_the_end(stream).await;
    assert!(is_late(&answer), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_told_that_it_is_late() {
    let mut stream = connected().await;
    stream.write_all(put(8_000).as_bytes()).await.expect("half a request");
    let answer = trickles(stream, b" ").await;
    assert!(is_late(&answer), "{answer}");
}
