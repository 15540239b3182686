//! Token buckets from outside: what one user or address does too much of is refused, and costs nobody else anything.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Server, Socket, exchange};
use serde_json::json;
use std::sync::OnceLock;
use tokio_tungstenite::tungstenite::Message;

/// What a user may do at once here; what comes back within a test is nothing.
const REQUESTS: usize = 20;
const IDS: usize = 40;
const REFUSALS: usize = 5;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        Server::launch()
            .set("limits.user_requests_per_s", 1)
            .set("limits.user_requests_burst", REQUESTS)
            .set("limits.user_ids_per_s", 1)
            .set("limits.user_ids_burst", IDS)
            .set("limits.address_refusals_per_s", 1)
            .set("limits.address_refusals_burst", REFUSALS)
            .set("http.trusted_proxies", "127.0.0.1")
            .start()
    })
}

#[tokio::test]
async fn a_user_who_asks_too_often_is_refused_and_told_when_to_come_back() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let mut limited = None;
    for _ in 0..=REQUESTS * 2 {
        let reply = alice.get("/v1/users/me/status").await;
        if reply.status == 429 {
            limited = Some(reply);
            break;
        }
    }
    let limited = limited.expect("a refusal");
    let after = limited.headers.iter().find(|(name, _)| name.as_str() == "retry-after").map(|(_, v)| v.clone());
    assert!(after.expect("Retry-After").parse::<u64>().expect("whole seconds") >= 1);
    limited.problem(429, "rate_limited");
    let _ = bob.get("/v1/users/me/status").await.must(200);
    let service = server().service();
    for _ in 0..REQUESTS * 3 {
        let _ = service.get(&format!("/v1/users/{}/presence", alice.id)).await.must(200);
    }
}

#[tokio::test]
async fn a_query_is_charged_by_its_ids_and_syntax_comes_first() {
    let [alice] = server().people(["alice"]);
    let ids: Vec<String> = (0..IDS).map(|n| format!("u{n}")).collect();
    let _ = alice.post("/v1/presence/query", json!({"users": ids})).await.must(200);
    alice.post("/v1/presence/query", json!({"users": ids})).await.problem(429, "rate_limited");
    let _ = alice.get("/v1/users/me/status").await.must(200);
}

#[tokio::test]
async fn a_socket_that_watches_too_much_gets_an_error_frame_and_nothing_changes() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("session=false&watch=none").await;
    let ids: Vec<String> = (0..IDS - 1).map(|n| format!("u{n}")).collect();
    socket.watch(json!(ids)).await;
    let refused = socket.ask(json!({"type": "watch", "users": ["x", "y", "z"]})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("rate_limited")), "{refused}");
    assert!(refused["after_ms"].as_u64().is_some_and(|ms| ms >= 1), "{refused}");
    // The connection goes on, and what costs no ids still works.
    socket.must(json!({"type": "unwatch", "users": ["u1"]})).await;
}

#[tokio::test]
async fn a_socket_that_floods_with_pings_is_read_more_slowly_and_still_served() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("session=false&watch=none").await;
    for _ in 0..REQUESTS {
        socket.send_message(Message::Ping(Vec::new().into())).await;
    }
    for _ in 0..3 {
        socket.send(&json!({"type": "ping", "id": 1})).await;
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(socket.frame().await);
    }
    let limited = answers.iter().filter(|a| a["code"] == "rate_limited" && a["id"] == 1).count();
    let served = answers.iter().filter(|a| a["type"] == "pong").count();
    assert!(limited >= 1 && served >= 1, "{answers:?}");
}

#[tokio::test]
async fn an_address_that_is_refused_too_often_is_told_so_whoever_it_says_it_is() {
    let from = |client: &str| format!("GET /v1/users/me/status HTTP/1.1\nX-Forwarded-For: 203.0.113.250, {client}");
    let mut codes = Vec::new();
    for _ in 0..REFUSALS + 3 {
        codes.push(exchange(&server().address, &from("198.51.100.7"), b"").await.status);
    }
    assert_eq!(codes[..REFUSALS], [401; REFUSALS]);
    assert_eq!(codes.last(), Some(&429), "{codes:?}");
    assert_eq!(exchange(&server().address, &from("198.51.100.8"), b"").await.status, 401);
    let [alice] = server().people(["alice"]);
    let good = format!("{}\nAuthorization: Bearer {}", from("198.51.100.7"), alice.token);
    assert_eq!(exchange(&server().address, &good, b"").await.status, 200, "a good token is not refused for others");
}

#[tokio::test]
async fn a_browsers_refused_tokens_count_too() {
    let headers = [("sec-websocket-protocol", "rollcall.v1, bearer.nonsense"), ("x-forwarded-for", "198.51.100.99")];
    let mut refused = None;
    for _ in 0..REFUSALS + 3 {
        match Socket::open(&server().address, "", &headers).await {
            Ok(mut socket) => assert_eq!(socket.frame().await["code"], "unauthenticated"),
            Err(answer) => refused = Some(answer),
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!((refused.status, &refused.problem["code"]), (429, &json!("rate_limited")));
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_so_when_that_is_limited_and_its_health_is_not() {
    let server = Server::launch()
        .set("limits.address_requests_per_s", 1)
        .set("limits.address_requests_burst", 3)
        .set("http.trusted_proxies", "127.0.0.1")
        .start();
    let [alice] = server.people(["alice"]);
    let from = |client: &str, path: &str| {
        format!("GET {path} HTTP/1.1\nX-Forwarded-For: {client}\nAuthorization: Bearer {}", alice.token)
    };
    let mut last = None;
    for _ in 0..6 {
        last = Some(exchange(&server.address, &from("198.51.100.7", "/v1/users/me/status"), b"").await);
    }
    let last = last.expect("an answer");
    assert!(last.header("retry-after").is_some_and(|s| s.parse::<u64>().is_ok_and(|s| s >= 1)), "{last:?}");
    last.problem(429, "rate_limited");
    let other = exchange(&server.address, &from("198.51.100.8", "/v1/users/me/status"), b"").await;
    let _ = other.must(200);
    for _ in 0..6 {
        let _ = exchange(&server.address, &from("198.51.100.7", "/healthz"), b"").await.must(200);
    }
}
