//! Everything is bounded: capacities that an operator sets, and clients that send too slowly or too much.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use futures::future::join_all;
use rollcall_tests::{DEADLINE, Server, Socket, exchange};
use serde_json::{Value, json};
use std::sync::OnceLock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let capacities = [
            ("contacts", 3),
            ("blocks", 2),
            ("sessions", 2),
            ("connections_per_user", 2),
            ("watches", 4),
            ("history_entries", 5),
        ];
        let launch = Server::launch().set("http.header_timeout_ms", 500).set("http.body_timeout_ms", 500);
        capacities.into_iter().fold(launch, |l, (name, max)| l.set(&format!("limits.{name}"), max)).start()
    })
}

#[tokio::test]
async fn configured_capacities_of_lists_and_sessions_are_kept() {
    let [alice] = server().people(["alice"]);
    for (list, ids) in [("contacts", json!(["a", "b", "c"])), ("blocks", json!(["a", "b"]))] {
        let path = format!("/v1/users/me/{list}");
        let _ = alice.post(&path, json!({"add": ids})).await.must(200);
        alice.post(&path, json!({"add": ["z"]})).await.problem(422, "limit_exceeded");
        alice.put_bare(&format!("{path}/z")).await.problem(422, "limit_exceeded");
        let _ = alice.post(&path, json!({"add": ["z"], "remove": ["a"]})).await.must(200);
    }
    alice.open("web", "active").await;
    alice.open("web", "active").await;
    alice.post("/v1/users/me/sessions", json!({})).await.problem(422, "limit_exceeded");
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let [alice] = server().people(["alice"]);
    let first = alice.connect("session=false&watch=none").await;
    let _second = alice.connect("session=false&watch=none").await;
    let bearer = format!("Bearer {}", alice.token);
    let third = Socket::open(&server().address, "session=false&watch=none", &[("authorization", &bearer)]).await;
    let refused = third.expect_err("two are the most");
    assert_eq!((refused.status, &refused.problem["code"]), (422, &json!("limit_exceeded")));
    first.close(Some(1000)).await;
    rollcall_tests::eventually("the closed one makes room", async || {
        Socket::open(&server().address, "session=false&watch=none", &[("authorization", &bearer)]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_full_node_tells_whoever_connects_and_answers_requests_all_the_same() {
    let server = Server::launch().set("limits.connections", 2).start();
    let [alice, bob, carol] = server.people(["alice", "bob", "carol"]);
    let first = alice.connect("session=false&watch=none").await;
    let mut second = bob.connect("session=false&watch=none").await;
    let bearer = format!("Bearer {}", carol.token);
    for _ in 0..5 {
        let third = Socket::open(&server.address, "watch=none", &[("authorization", &bearer)]).await;
        let refused = third.expect_err("two are the most");
        assert_eq!((refused.status, &refused.problem["code"]), (503, &json!("unavailable")));
    }
    let stream = carol.get("/v1/events?users=x").await;
    stream.problem(503, "unavailable");
    assert!(stream.header("retry-after").is_some_and(|s| s.parse::<u64>().is_ok()), "{stream:?}");
    let offer = format!("rollcall.v1, bearer.{}", carol.token);
    let browser = Socket::open(&server.address, "watch=none", &[("sec-websocket-protocol", &offer)]).await;
    let error = browser.expect("an upgrade, to be told").frame().await;
    assert_eq!((&error["code"], error["after_ms"].is_u64()), (&json!("unavailable"), true), "{error}");
    assert_eq!(carol.get("/v1/users/me/sessions").await.must(200), json!({"sessions": []}), "nothing was opened");
    let _ = exchange(&server.address, "GET /healthz HTTP/1.1", b"").await.must(200);
    second.must(json!({"type": "status", "status": "dnd"})).await;
    first.close(Some(1000)).await;
    rollcall_tests::eventually("the closed one makes room", async || {
        Socket::open(&server.address, "watch=none", &[("authorization", &bearer)]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn beyond_the_writes_in_flight_a_write_is_refused_and_changes_nothing() {
    let server = Server::launch().set("limits.writes_in_flight", 1).set("cluster.partitions", 1).start();
    let users: Vec<_> = (0..100).map(|n| server.client(&format!("writer-{n}"), "user")).collect();
    let body = json!({"status": "dnd"});
    let answers = join_all(users.iter().map(|u| u.put("/v1/users/me/status", body.clone()))).await;
    let mut refused = 0;
    for (user, answer) in users.iter().zip(&answers) {
        let now = user.get("/v1/users/me/status").await.must(200)["setting"]["status"].clone();
        if answer.status == 200 {
            assert_eq!(now, "dnd");
        } else {
            answer.problem(503, "unavailable");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert_eq!(now, "online", "nothing of it took effect");
            refused += 1;
        }
    }
    assert!((1..users.len()).contains(&refused), "{refused} refused");
}

#[tokio::test]
async fn five_hundred_users_fit_an_event_stream_and_no_more() {
    let server = Server::launch().start(); // the other one lets a connection watch four
    let [alice] = server.people(["alice"]);
    let path = |count: usize| {
        let ids: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
        format!("GET /v1/events?users={} HTTP/1.1\nAuthorization: Bearer {}", ids.join(","), alice.token)
    };
    exchange(&server.address, &path(501), b"").await.problem(400, "invalid_request");
    let request = format!("{}\nHost: x\n\n", path(500)).replace('\n', "\r\n");
    let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("the request leaves");
    let mut head = [0; 15];
    timeout(DEADLINE, stream.read_exact(&mut head)).await.expect("an answer").expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_connection_has_so_many_explicit_watches_and_contacts_besides() {
    let [alice] = server().people(["alice"]);
    let _ = alice.post("/v1/users/me/contacts", json!({"add": ["c1", "c2"]})).await.must(200);
    let mut socket = alice.connect("session=false").await;
    assert_eq!(socket.contacts_snapshot().await.len(), 2);
    socket.watch(json!(["w1", "w2", "w3", "w4"])).await;
    let refused = socket.ask(json!({"type": "watch", "users": ["w5"]})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("limit_exceeded")), "{refused}");
}

#[tokio::test]
async fn history_keeps_the_newest_entries() {
    let [alice] = server().people(["alice"]);
    for number in 0..9 {
        alice.set_status(json!({"status": "dnd", "text": format!("{number}")})).await;
    }
    let texts: Vec<Value> = alice.history().await.iter().map(|e| e["text"].clone()).collect();
    assert_eq!(texts.len(), 5, "{texts:?}");
    assert!(alice.history().await.windows(2).all(|w| w[0]["at"].as_u64() >= w[1]["at"].as_u64()));
}

/// Sends a part of a request, and waits until the server has closed the connection; gives what it said before.
async fn given_up(part: &str) -> String {
    let mut stream = TcpStream::connect(&server().address).await.expect("a connection");
    stream.write_all(part.as_bytes()).await.expect("a part leaves");
    let mut said = Vec::new();
    let closed = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    assert!(closed.is_ok(), "still open after {DEADLINE:?}: {part:?}");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let [alice] = server().people(["alice"]);
    given_up("").await;
    given_up("GET /v1/users/me/pres").await;
    given_up("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    let head = format!(
        "PUT /v1/users/me/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{\"sta",
        alice.token
    );
    let said = given_up(&head).await;
    assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!(setting["status"], "online", "nothing of it took effect");
}

#[tokio::test]
async fn endless_headers_are_refused_and_the_node_goes_on() {
    let mut request = "GET /healthz HTTP/1.1\r\nHost: x\r\n".to_owned();
    for number in 0..20_000 {
        request.push_str(&format!("X-Header-{number}: {}\r\n", "v".repeat(100)));
    }
    let mut stream = TcpStream::connect(&server().address).await.expect("a connection");
    // The node may close before it has read it all.
    stream.write_all(request.as_bytes()).await.ok();
    let mut said = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("closed").ok();
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    let [alice] = server().people(["alice"]);
    alice.set_status(json!({"status": "dnd"})).await;
}
