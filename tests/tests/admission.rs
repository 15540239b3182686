//! Admission at connect from outside: openings at once and silent connections are bounded, and those refused know when to come back.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use futures::future::join_all;
use rollcall_tests::{DEADLINE, Server, Socket};
use serde_json::json;
use std::sync::OnceLock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn narrow() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().set("limits.connects_in_flight", 1).start())
}

fn crowded() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let launch = Server::launch().set("limits.heads_in_flight", 4).set("http.header_timeout_ms", 600_000);
    SERVER.get_or_init(|| launch.start())
}

#[tokio::test]
async fn beyond_the_openings_in_flight_clients_are_told_when_their_turn_is() {
    let clients: Vec<_> = (0..40).map(|_| narrow().people(["herd"])).collect();
    let opened = join_all(clients.iter().map(async |[client]| {
        let protocols = format!("rollcall.v1, bearer.{}", client.token);
        let opened = Socket::open(&narrow().address, "watch=none", &[("sec-websocket-protocol", &protocols)]).await;
        opened.expect("an upgrade").frame().await
    }))
    .await;
    let turns: Vec<u64> =
        opened.iter().filter(|f| f["code"] == "unavailable").filter_map(|f| f["after_ms"].as_u64()).collect();
    let welcomes = opened.iter().filter(|f| f["type"] == "welcome").count();
    assert!(welcomes >= 1 && !turns.is_empty(), "{opened:?}");
    assert_eq!(welcomes + turns.len(), opened.len(), "{opened:?}");
    assert!(turns.iter().all(|ms| (1..=60_000).contains(ms)), "{turns:?}");
}

#[tokio::test]
async fn silent_connections_give_way_to_new_ones_and_served_ones_stay() {
    let [alice] = crowded().people(["alice"]);
    let mut socket = alice.connect("session=false&watch=none").await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(&crowded().address).await.expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").await.ok();
        silent.push(stream);
    }
    let mut first = silent.remove(0);
    let ended = timeout(DEADLINE, first.read(&mut [0; 64])).await.expect("the oldest is closed");
    assert!(!matches!(ended, Ok(n) if n > 0), "{ended:?}");
    let answer = socket.ask(json!({"type": "ping"})).await;
    assert_eq!(answer["type"], "pong");
    let _ = alice.get("/v1/users/me/status").await.must(200);
}
