//! HTTP sessions: alive by heartbeats, ended by silence or by word, and never revived.
//!
//! The TTL is small here. Time is told by other sessions that expire, never by a clock of the test.

use super::{HEARTBEAT_MS, TTL_MS, brief as server, usual as patient};
use rollcall_tests::{Client, befriend, eventually, now_ms};
use serde_json::{Value, json};

fn path(session: &str) -> String {
    format!("/v1/users/me/sessions/{session}")
}

async fn live(user: &Client) -> Vec<Value> {
    let list = user.get("/v1/users/me/sessions").await.must(200);
    list["sessions"].as_array().expect("sessions").clone()
}

#[tokio::test]
async fn opening_a_session_tells_how_to_keep_it() {
    let [alice] = server().people(["alice"]);
    let reply = alice.post("/v1/users/me/sessions", json!({"device": "web", "activity": "active"})).await;
    let opened = reply.must(201);
    let session = opened["session"].as_str().expect("a session");
    assert_eq!(opened, json!({"session": session, "heartbeat_ms": HEARTBEAT_MS, "ttl_ms": TTL_MS}));
    assert!(!session.is_empty() && session.len() <= 64);
    assert!(session.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)), "URL-safe: {session}");
    let location = reply.header("location").expect("Location");
    assert!(location.ends_with(&format!("/sessions/{session}")), "{location}");
}

#[tokio::test]
async fn a_body_is_optional_and_so_is_each_field() {
    let [alice] = patient().people(["alice"]);
    let _ = alice.send("POST", "/v1/users/me/sessions", &[], None).await.must(201);
    let _ = alice.post("/v1/users/me/sessions", json!({})).await.must(201);
    let _ = alice.post("/v1/users/me/sessions", json!({"device": null, "activity": null})).await.must(201);
    let sessions = live(&alice).await;
    assert_eq!(sessions.len(), 3, "without a key every POST makes a session");
    for session in sessions {
        assert_eq!(session["device"], "unknown");
        assert_eq!(session["activity"], "active");
    }
}

#[tokio::test]
async fn the_list_has_every_live_session() {
    let [alice] = patient().people(["alice"]);
    let begun = now_ms();
    let http = alice.open("web", "idle").await;
    let socket = alice.connect("device=mobile&watch=none").await;
    let sessions = live(&alice).await;
    assert_eq!(sessions.len(), 2);
    let find = |id: &str| sessions.iter().find(|s| s["session"] == id).unwrap_or_else(|| panic!("{id}"));
    let web = find(&http);
    assert_eq!((&web["device"], &web["activity"], &web["kind"]), (&json!("web"), &json!("idle"), &json!("http")));
    let mobile = find(socket.session());
    assert_eq!(mobile["device"], "mobile");
    assert_eq!(mobile["kind"], "websocket");
    for session in &sessions {
        assert_eq!(session.as_object().map(serde_json::Map::len), Some(6), "{session}");
        for time in ["opened", "last_heartbeat"] {
            let at = session[time].as_u64().unwrap_or(0);
            assert!((begun..=now_ms()).contains(&at), "{time} in {session}");
        }
    }
}

#[tokio::test]
async fn heartbeats_keep_a_session_alive_while_silent_ones_end() {
    let [kept, silent] = server().people(["kept", "silent"]);
    let session = kept.open("web", "active").await;
    for _ in 0..2 {
        silent.open("web", "active").await;
        eventually("a silent session expires", async || {
            let _ = kept.put_bare(&path(&session)).await.must(204);
            live(&silent).await.is_empty().then_some(())
        })
        .await;
    }
    assert_eq!(live(&kept).await.len(), 1, "it has outlived its TTL twice");
    assert_eq!(kept.reasons().await, ["connected"]);
}

#[tokio::test]
async fn a_silent_session_is_shown_offline_exactly_once() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("").await;
    let begun = now_ms();
    let session = alice.open("web", "active").await;
    let opened = now_ms();
    friend.until_status(&alice.id, "online").await;
    let offline = friend.until_status(&alice.id, "offline").await;
    let seen = offline["last_seen"].as_u64().expect("last_seen");
    assert!((begun..=opened).contains(&seen), "the opening was the last evidence of life: {offline}");
    let since = offline["since"].as_u64().expect("since");
    assert!(since >= begun + TTL_MS, "not before its TTL: {offline}");
    assert_eq!(alice.reasons().await, ["connected", "expired"]);
    alice.put_bare(&path(&session)).await.problem(404, "unknown_session");
    assert_eq!(alice.sees("me").await, offline, "an ended session is never revived");
    // A second user's whole life passes; had there been another event about the first, it would have come before.
    let [carol] = server().people(["carol"]);
    befriend(&carol, &bob).await;
    carol.open("web", "active").await;
    friend.until_status(&carol.id, "online").await;
    friend.until_status(&carol.id, "offline").await;
    assert_eq!(friend.held(&alice.id), Some(&offline));
}

#[tokio::test]
async fn a_heartbeat_makes_no_event_and_no_history() {
    let [alice, bob] = patient().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let session = alice.open("web", "active").await;
    let mut friend = bob.connect("").await;
    let before = friend.until_status(&alice.id, "online").await;
    for body in [json!({}), json!({"activity": null}), json!({"activity": "active"})] {
        let _ = alice.put(&path(&session), body).await.must(204);
    }
    let heard = live(&alice).await[0]["last_heartbeat"].as_u64();
    assert!(heard >= live(&alice).await[0]["opened"].as_u64());
    assert!(friend.fence().await.is_empty());
    assert_eq!(alice.sees("me").await, before);
    assert_eq!(alice.reasons().await, ["connected"]);
}

#[tokio::test]
async fn ending_a_session_is_idempotent() {
    let [alice] = patient().people(["alice"]);
    let session = alice.open("web", "active").await;
    for _ in 0..2 {
        let reply = alice.delete(&path(&session)).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    }
    let _ = alice.delete(&path("never-was")).await.must(204);
    alice.put(&path(&session), json!({"activity": "active"})).await.problem(404, "unknown_session");
    assert_eq!(alice.reasons().await, ["connected", "disconnected"]);
}

#[tokio::test]
async fn sessions_of_another_user_are_out_of_reach() {
    let [alice, bob] = patient().people(["alice", "bob"]);
    let session = alice.open("web", "active").await;
    bob.put_bare(&path(&session)).await.problem(404, "unknown_session");
    let _ = bob.delete(&path(&session)).await.must(204);
    assert_eq!(live(&alice).await.len(), 1);
}

#[tokio::test]
async fn history_tells_what_the_sessions_did_together() {
    let [alice] = patient().people(["alice"]);
    let web = alice.open("web", "active").await;
    let _ = alice.put(&path(&web), json!({"activity": "idle"})).await.must(204);
    let _ = alice.put(&path(&web), json!({"activity": "active"})).await.must(204);
    let mobile = alice.open("mobile", "idle").await;
    let second_web = alice.open("web", "active").await;
    alice.close(&mobile).await;
    alice.close(&second_web).await;
    alice.close(&web).await;
    let expected = ["connected", "idle", "active", "device_changed", "device_changed", "disconnected"];
    assert_eq!(alice.reasons().await, expected, "a second web session changes nothing");
    let statuses: Vec<Value> = alice.history().await.into_iter().rev().map(|e| e["status"].clone()).collect();
    assert_eq!(json!(statuses), json!(["online", "away", "online", "online", "online", "offline"]));
}

#[tokio::test]
async fn the_thirty_third_session_is_refused_and_changes_nothing() {
    let [alice] = patient().people(["alice"]);
    let first = alice.open("web", "active").await;
    for _ in 1..32 {
        alice.open("web", "active").await;
    }
    let before = alice.sees("me").await;
    alice.post("/v1/users/me/sessions", json!({"device": "bot"})).await.problem(422, "limit_exceeded");
    assert_eq!(alice.sees("me").await, before);
    assert_eq!(live(&alice).await.len(), 32);
    alice.close(&first).await;
    alice.open("bot", "active").await;
}

#[tokio::test]
async fn a_heartbeat_does_not_prolong_the_session_of_a_websocket() {
    let [alice] = server().people(["alice"]);
    let socket = alice.connect("watch=none").await;
    let session = socket.session().to_owned();
    let _ = alice.put(&path(&session), json!({"activity": "idle"})).await.must(204);
    assert_eq!(alice.sees("me").await["status"], "away", "but its activity is taken");
    drop(socket);
    eventually("the session ends in spite of heartbeats", async || {
        let reply = alice.put_bare(&path(&session)).await;
        (reply.status == 404).then_some(())
    })
    .await;
    assert_eq!(alice.sees("me").await["status"], "offline");
}

#[tokio::test]
async fn bad_sessions_are_refused_by_name() {
    let [alice] = patient().people(["alice"]);
    for (body, field) in [
        (json!({"device": "Web"}), "device"),
        (json!({"device": ""}), "device"),
        (json!({"device": "d".repeat(33)}), "device"),
        (json!({"device": 7}), "device"),
        (json!({"activity": "sleeping"}), "activity"),
        (json!({"gadget": "web"}), "gadget"),
    ] {
        let detail = alice.post("/v1/users/me/sessions", body.clone()).await.problem(400, "invalid_request");
        assert!(detail.contains(field), "{body}: {detail:?} does not name {field}");
    }
    alice.post("/v1/users/me/sessions", json!([])).await.problem(400, "invalid_request");
    assert_eq!(live(&alice).await.len(), 0);
    let longest = "d".repeat(32);
    alice.open(&longest, "active").await;
}
