//! Clients that mean no good: each is refused or cut, and nobody else notices.

use crate::stage::{DEADLINE, Setting, Stage, token};
use rollcall_config::{Http, Limits};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends raw bytes and gives what comes back until the server closes.
async fn raw(stage: &Stage, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has been cut all the same.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn hasty() -> Setting {
    let http = Http { header_timeout_ms: 200, body_timeout_ms: 200, ..Http::default() };
    Setting { http, ..Setting::default() }
}

#[tokio::test]
async fn a_slow_header_is_cut() {
    let stage = Stage::with(hasty()).await;
    for start in ["", "GET / HTT", "GET /v1/users/me/presence HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let answer = raw(&stage, start.as_bytes()).await;
        // Who has not begun is cut without a word; who has is told why.
        assert!(if start.is_empty() { answer.is_empty() } else { refused(&answer, 408) }, "{answer}");
    }
}

/// Whether the answer is one problem of this status, and the connection's end.
fn refused(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
        && answer.matches("HTTP/1.1").count() == 1
        && answer.contains("connection: close")
        && answer.contains("\"code\":\"invalid_request\"")
}

#[tokio::test]
async fn a_header_in_many_pieces_and_requests_in_one_are_both_taken() {
    let stage = Stage::new().await;
    let one = |id: u8| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: r{id}\r\n\r\n");
    let body = json!({ "users": ["bob"] }).to_string();
    let post = format!(
        "POST /v1/presence/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token("alice"),
        body.len()
    );
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let all = format!("{}{post}\r\n{}{last}", one(1), one(2));
    let whole = raw(&stage, all.as_bytes()).await;
    assert_eq!(whole.matches("HTTP/1.1 200").count(), 4, "{whole}");
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in all.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 4, "{answer}");
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_no_token() {
    let stage = Stage::new().await;
    let long = "x".repeat(1_024 * 1_024);
    let good = token("alice");
    for bearer in [long.clone(), format!("{good}{long}"), format!("{good}{}", " ".repeat(1_024 * 1_024))] {
        let request = format!(
            "GET /v1/users/me/presence HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&stage, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("unauthenticated"), "{answer}");
    }
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let stage = Stage::with(hasty()).await;
    let head = format!(
        "PUT /v1/users/me/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        token("alice")
    );
    let answer = raw(&stage, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("must be complete within 200 ms"));
}

#[tokio::test]
async fn a_header_that_is_too_large_or_broken_is_refused() {
    let stage = Stage::with(hasty()).await;
    let long =
        format!("GET /v1/users/me/presence HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1_024 * 1_024));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(200));
    for bad in [long, many] {
        let answer = raw(&stage, bad.as_bytes()).await;
        assert!(refused(&answer, 431), "{answer}");
    }
    for bad in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n"] {
        let answer = raw(&stage, bad.as_bytes()).await;
        assert!(refused(&answer, 400), "{answer}");
    }
}

#[tokio::test]
async fn two_lengths_of_one_body_smuggle_nothing() {
    let stage = Stage::with(hasty()).await;
    let with = |lengths: &str, body: &str| {
        format!(
            "PUT /v1/users/me/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{lengths}\r\n\r\n{body}",
            token("alice")
        )
    };
    let body = json!({ "status": "dnd" }).to_string();
    for second in [3, body.len()] {
        let two = with(&format!("Content-Length: {}\r\nContent-Length: {second}", body.len()), &body);
        let answer = raw(&stage, two.as_bytes()).await;
        assert!(refused(&answer, 400), "{answer}");
    }
    // What comes behind is never taken for a request.
    let behind = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n{behind}", body.len());
    for lengths in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let answer = raw(&stage, with(lengths, &chunks).as_bytes()).await;
        assert!(refused(&answer, 400), "{answer}");
    }
    let chunked = raw(&stage, with("Transfer-Encoding: chunked", &chunks).as_bytes()).await;
    assert!(chunked.starts_with("HTTP/1.1 200") && chunked.matches("HTTP/1.1").count() == 1, "{chunked}");
}

#[tokio::test]
async fn at_the_bound_of_connections_requests_are_answered_all_the_same() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let stage = Stage::with(Setting { limits, ..hasty() }).await;
    let mut first = stage.observe("alice", "?watch=none").await;
    for _ in 0..3 {
        let answer = raw(&stage, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(first.ask(json!({ "type": "ping" })).await["type"], "pong");
}
