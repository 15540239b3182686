//! How connections end: by the client's word, by a lost link and its grace, by a newer connection, by the server.

use super::{PING_MS, brief as server, usual as patient};
use rollcall_tests::{Claims, Client, Socket, Stage, befriend, now_s};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// A user with a friend that watches, and the user's own connection.
async fn watched(server: &Stage, query: &str) -> (Client, Socket, Socket) {
    let [alice, bob] = server.people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    let socket = alice.connect(&format!("watch=none&{query}")).await;
    friend.until_status(&alice.id, "online").await;
    (alice, socket, friend)
}

async fn session_count(user: &Client) -> usize {
    user.get("/v1/users/me/sessions").await.must(200)["sessions"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_clean_close_ends_the_session_at_once() {
    for code in [Some(1000), None] {
        let (alice, socket, mut friend) = watched(patient(), "device=web").await;
        socket.close(code).await;
        let offline = friend.until_status(&alice.id, "offline").await;
        assert_eq!(offline["since"], offline["last_seen"]);
        assert_eq!(alice.reasons().await, ["connected", "disconnected"]);
    }
}

#[tokio::test]
async fn any_other_close_leaves_the_session_its_grace() {
    let (alice, socket, mut friend) = watched(patient(), "device=web").await;
    let resume = socket.resume();
    socket.close(Some(1001)).await;
    assert_eq!(session_count(&alice).await, 1);
    let back = alice.connect(&format!("watch=none&resume={resume}")).await;
    assert_eq!(back.welcome["resumed"], true);
    assert!(friend.fence().await.is_empty(), "no event");
}

#[tokio::test]
async fn a_resume_within_the_grace_makes_no_event() {
    let (alice, mut socket, mut friend) = watched(patient(), "device=mobile").await;
    socket.must(json!({"type": "activity", "state": "idle"})).await;
    let before = friend.until_status(&alice.id, "away").await;
    let (session, mut resume) = (socket.session().to_owned(), socket.resume());
    drop(socket);
    for _ in 0..3 {
        let mut back = alice.connect(&format!("watch=none&device=web&resume={resume}")).await;
        assert_eq!(back.welcome["resumed"], true);
        assert_eq!(back.session(), session, "the same session, with device and activity");
        back.fence().await;
        resume = back.resume();
    }
    assert_eq!(alice.sees("me").await, before);
    assert!(friend.fence().await.is_empty());
    assert_eq!(alice.reasons().await, ["connected", "idle"]);
    assert_eq!(session_count(&alice).await, 1);
}

#[tokio::test]
async fn a_lost_connection_is_shown_offline_exactly_once_after_its_grace() {
    let (alice, socket, mut friend) = watched(server(), "device=web").await;
    let resume = socket.resume();
    drop(socket);
    let offline = friend.until_status(&alice.id, "offline").await;
    let (since, seen) = (offline["since"].as_u64().unwrap_or(0), offline["last_seen"].as_u64().unwrap_or(0));
    assert!(since >= seen && seen > 0, "{offline}");
    assert_eq!(alice.reasons().await, ["connected", "expired"]);
    let late = alice.connect(&format!("watch=none&resume={resume}")).await;
    assert_eq!(late.welcome["resumed"], false, "too late: a new session");
    friend.until_status(&alice.id, "online").await;
    late.close(Some(1000)).await;
    friend.until_status(&alice.id, "offline").await;
    assert_eq!(alice.reasons().await, ["connected", "expired", "connected", "disconnected"]);
}

#[tokio::test]
async fn a_resumed_session_survives_the_grace_of_its_lost_connection() {
    let (alice, socket, mut friend) = watched(server(), "device=web").await;
    let resume = socket.resume();
    drop(socket);
    let mut back = alice.connect(&format!("watch=none&resume={resume}")).await;
    assert_eq!(back.welcome["resumed"], true);
    // Another user is lost later; once that one's grace is over, so would have been the first.
    let [carol] = server().people(["carol"]);
    carol.adds(&alice).await;
    let lost = carol.connect("watch=none").await;
    back.watch(json!([carol.id])).await;
    drop(lost);
    back.until_status(&carol.id, "offline").await;
    assert!(friend.fence().await.is_empty());
    assert_eq!(alice.reasons().await, ["connected"]);
}

#[tokio::test]
async fn the_newest_connection_holds_the_session() {
    let (alice, mut old, mut friend) = watched(patient(), "device=web").await;
    let new = alice.connect(&format!("watch=none&resume={}", old.resume())).await;
    assert_eq!(new.welcome["resumed"], true);
    old.ends_with("replaced", 4002, false).await;
    assert_eq!(session_count(&alice).await, 1);
    assert!(friend.fence().await.is_empty());
    new.close(Some(1000)).await;
    friend.until_status(&alice.id, "offline").await;
}

#[tokio::test]
async fn unknown_and_foreign_resume_tokens_open_a_new_session() {
    let (alice, socket, _) = watched(patient(), "device=web").await;
    let [mallory] = patient().people(["mallory"]);
    for token in [socket.resume(), "never-issued".into(), "%25%00".into()] {
        let opened = mallory.connect(&format!("watch=none&resume={token}")).await;
        assert_eq!(opened.welcome["resumed"], false);
        assert_ne!(opened.session(), socket.session());
    }
    assert_eq!(session_count(&alice).await, 1);
}

#[tokio::test]
async fn a_session_ended_over_http_closes_its_connection_as_revoked() {
    let (alice, mut socket, mut friend) = watched(patient(), "device=web").await;
    alice.close(socket.session()).await;
    socket.ends_with("revoked", 4003, false).await;
    friend.until_status(&alice.id, "offline").await;
    let back = alice.connect(&format!("watch=none&resume={}", socket.resume())).await;
    assert_eq!(back.welcome["resumed"], false, "an ended session is never revived");
}

#[tokio::test]
async fn a_watched_set_is_not_resumed() {
    let (alice, mut socket, _) = watched(patient(), "device=web").await;
    let [carol] = patient().people(["carol"]);
    carol.adds(&alice).await;
    carol.open("web", "active").await;
    socket.watch(json!([carol.id])).await;
    let known = socket.version(&carol.id);
    let resume = socket.resume();
    drop(socket);
    carol.set_status(json!({"status": "dnd"})).await;
    let mut back = alice.connect(&format!("watch=none&resume={resume}")).await;
    carol.set_status(json!({"status": "away"})).await;
    assert!(back.fence().await.is_empty(), "the client sends its watches, with versions known");
    let newer = back.watch(json!({carol.id.clone(): known})).await;
    assert_eq!(newer, [carol.sees("me").await]);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dead() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    // A bare handshake, after which this side never answers anything.
    let mut mute = TcpStream::connect(&server().address()).await.expect("a connection");
    let request = format!(
        "GET /v1/connect?watch=none HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server().address(),
        alice.token
    );
    mute.write_all(request.as_bytes()).await.expect("the request leaves");
    friend.until_status(&alice.id, "online").await;
    let offline = friend.until_status(&alice.id, "offline").await;
    let lived = offline["since"].as_u64().zip(offline["last_seen"].as_u64()).map(|(since, seen)| since - seen);
    assert!(
        lived >= Some(2 * PING_MS + 5_000),
        "silent for twice the ping interval and 5 s, then the grace: {lived:?}"
    );
    assert_eq!(alice.reasons().await, ["connected", "expired"]);
}

#[tokio::test]
async fn an_expired_token_closes_and_a_fresh_one_keeps_the_connection() {
    let [alice] = server().people(["alice"]);
    // The leeway is 10 s: this one is over two seconds from now.
    let brief = || Claims::of(&alice.id).with("exp", now_s() - 8).sign(server().secret());
    let mut expiring = Socket::connect(&server().address(), &brief(), "watch=none").await;
    let mut renewed = Socket::connect(&server().address(), &brief(), "watch=none").await;
    renewed.must(json!({"type": "token", "token": alice.token})).await;
    expiring.ends_with("token_expired", 4001, true).await;
    renewed.must(json!({"type": "status", "status": "dnd"})).await;
}
