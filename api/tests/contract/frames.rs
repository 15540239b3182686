//! Section 8: frames of the client and their answers, and what the server sends by itself.

use crate::stage::{Setting, Socket, Stage, token, until};
use futures::SinkExt;
use rollcall_api::service::ServiceError;
use rollcall_config::Presence;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

async fn befriend(stage: &Stage, subject: &str, viewer: &str) {
    let added = stage.put(subject, &format!("/v1/users/me/contacts/{viewer}"), json!({})).await;
    assert_eq!(added.status(), 204);
}

fn users(frame: &Value) -> Vec<&str> {
    frame["presences"].as_array().unwrap().iter().map(|p| p["user"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_watch_is_answered_with_its_snapshot_and_followed_by_changes() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let snapshot = socket.ask(json!({ "type": "watch", "id": 7, "users": ["bob", "bob"] })).await;
    assert_eq!((&snapshot["type"], &snapshot["id"], &snapshot["more"]), (&json!("snapshot"), &json!(7), &json!(false)));
    assert_eq!(users(&snapshot), ["bob"]);
    stage.open("bob").await;
    let changed = socket.next().await;
    assert_eq!(changed["type"], "presence");
    assert_eq!(
        (&changed["presences"][0]["status"], &changed["presences"][0]["stale"]),
        (&json!("online"), &json!(false))
    );
    let again = socket.ask(json!({ "type": "watch", "users": ["bob"] })).await;
    assert_eq!((&again["id"], &again["presences"]), (&json!(null), &changed["presences"]));
}

#[tokio::test]
async fn with_known_versions_the_snapshot_holds_only_what_is_newer_or_lost() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    stage.open("bob").await;
    let version = stage.get("alice", "/v1/users/bob/presence").await["version"].as_u64().unwrap();
    let mut socket = stage.observe("alice", "?watch=none").await;
    let known = socket.ask(json!({ "type": "watch", "id": 1, "users": { "bob": version, "carol": 0 } })).await;
    assert_eq!(known["presences"], json!([]));
    let older = socket.ask(json!({ "type": "watch", "id": 2, "users": { "bob": version - 1, "carol": 5 } })).await;
    assert_eq!(users(&older), ["bob", "carol"]);
    assert_eq!(older["presences"][1]["version"], 0);
}

#[tokio::test]
async fn oneself_may_be_watched() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none&device=web").await;
    let snapshot = socket.ask(json!({ "type": "watch", "id": 1, "users": ["alice"] })).await;
    assert_eq!(snapshot["presences"][0]["devices"], json!(["web"]));
}

#[tokio::test]
async fn after_unwatch_nothing_comes() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    socket.ask(json!({ "type": "watch", "id": 1, "users": ["bob"] })).await;
    assert_eq!(
        socket.ask(json!({ "type": "unwatch", "id": 2, "users": ["bob"] })).await,
        json!({ "type": "ok", "id": 2 })
    );
    stage.open("bob").await;
    assert_eq!(socket.ask(json!({ "type": "ping", "id": 3 })).await, json!({ "type": "pong", "id": 3 }));
}

#[tokio::test]
async fn contacts_are_watched_as_they_change() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    let mut socket = stage.observe("alice", "").await;
    assert_eq!(socket.next().await["presences"], json!([]));
    befriend(&stage, "alice", "bob").await;
    let come = socket.next().await;
    assert_eq!((&come["type"], users(&come)), (&json!("presence"), vec!["bob"]));
    stage.delete("alice", "/v1/users/me/contacts/bob").await;
    assert_eq!(socket.next().await, json!({ "type": "unwatched", "users": ["bob"] }));
}

#[tokio::test]
async fn a_watcher_is_told_at_once_when_permission_ends() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    stage.open("bob").await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let seen = socket.ask(json!({ "type": "watch", "id": 1, "users": ["bob"] })).await;
    assert_eq!(seen["presences"][0]["status"], "online");
    stage.put("bob", "/v1/users/me/blocks/alice", json!({})).await;
    let hidden = socket.next().await;
    assert_eq!((&hidden["presences"][0]["version"], &hidden["presences"][0]["status"]), (&json!(0), &json!("offline")));
}

#[tokio::test]
async fn status_clear_status_and_activity_do_what_the_calls_do() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none&device=web").await;
    let ok = |id: u64| json!({ "type": "ok", "id": id });
    let set =
        json!({ "type": "status", "id": 1, "status": "dnd", "text": "x", "meta": { "a": 1 }, "expires_in_s": 60 });
    assert_eq!(socket.ask(set).await, ok(1));
    let status = stage.get("alice", "/v1/users/me/status").await;
    assert_eq!((&status["setting"]["status"], &status["presence"]["text"]), (&json!("dnd"), &json!("x")));
    assert_eq!(socket.ask(json!({ "type": "clear_status", "id": 2 })).await, ok(2));
    assert_eq!(socket.ask(json!({ "type": "activity", "id": 3, "state": "idle" })).await, ok(3));
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["status"], "away");
    socket.say(json!({ "type": "activity", "state": "active" })).await;
    assert_eq!(socket.ask(json!({ "type": "ping" })).await, json!({ "type": "pong", "id": null }));
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["status"], "online");
}

#[tokio::test]
async fn a_refused_frame_changes_nothing_and_is_answered_with_its_id() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let many: Vec<String> = (0..501).map(|n| format!("u{n}")).collect();
    for bad in [
        json!({ "type": "watch", "id": 5 }),
        json!({ "type": "watch", "id": 5, "users": many }),
        json!({ "type": "watch", "id": 5, "users": ["a b"] }),
        json!({ "type": "watch", "id": 5, "users": { "bob": -1 } }),
        json!({ "type": "unwatch", "id": 5 }),
        json!({ "type": "activity", "id": 5, "state": "asleep" }),
        json!({ "type": "status", "id": 5 }),
        json!({ "type": "status", "id": 5, "status": "offline" }),
        json!({ "type": "status", "id": 5, "status": "dnd", "text": "x".repeat(513) }),
        json!({ "type": "clear_status", "id": 5, "x": 1 }),
        json!({ "type": "token", "id": 5 }),
        json!({ "type": "dance", "id": 5 }),
    ] {
        let error = socket.ask(bad.clone()).await;
        let names: Vec<_> = error.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["after_ms", "code", "detail", "id", "type"]);
        assert_eq!(
            (&error["type"], &error["id"], &error["code"]),
            (&json!("error"), &json!(5), &json!("invalid_request")),
            "{bad}"
        );
    }
    *stage.fake.refusal.lock() = Some(ServiceError::Unavailable { why: "no quorum", after_ms: 900 });
    for frame in
        [json!({ "type": "watch", "id": 6, "users": ["bob"] }), json!({ "type": "status", "id": 6, "status": "dnd" })]
    {
        let error = socket.ask(frame).await;
        assert_eq!((&error["code"], &error["after_ms"], &error["id"]), (&json!("unavailable"), &json!(900), &json!(6)));
    }
}

#[tokio::test]
async fn more_than_5000_watches_are_refused() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let batch = |n: usize| (n * 500..(n + 1) * 500).map(|u| format!("u{u}")).collect::<Vec<_>>();
    for n in 0..10 {
        let snapshot = socket.ask(json!({ "type": "watch", "id": n, "users": batch(n) })).await;
        assert_eq!(snapshot["presences"].as_array().unwrap().len(), 500);
    }
    let error = socket.ask(json!({ "type": "watch", "id": 11, "users": ["one-more"] })).await;
    assert_eq!(error["code"], "limit_exceeded");
    let again = socket.ask(json!({ "type": "watch", "id": 12, "users": ["u0"] })).await;
    assert_eq!(again["type"], "snapshot");
}

#[tokio::test]
async fn a_large_snapshot_comes_in_frames_that_say_more() {
    let stage = Stage::new().await;
    for n in 0..700 {
        stage.fake.befriend_quietly("alice", &format!("u{n:03}"));
    }
    let mut socket = stage.observe("alice", "").await;
    let first = socket.next().await;
    let last = socket.next().await;
    assert_eq!((first["presences"].as_array().unwrap().len(), &first["more"]), (500, &json!(true)));
    assert_eq!((last["presences"].as_array().unwrap().len(), &last["more"]), (200, &json!(false)));
}

#[tokio::test]
async fn a_fresh_token_of_the_same_user_is_taken_and_any_other_refused() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let fresh = json!({ "type": "token", "id": 1, "token": token("alice") });
    assert_eq!(socket.ask(fresh).await, json!({ "type": "ok", "id": 1 }));
    for (bad, code) in [(token("bob"), "forbidden"), ("forged".into(), "unauthenticated")] {
        let error = socket.ask(json!({ "type": "token", "id": 2, "token": bad })).await;
        assert_eq!((&error["id"], &error["code"]), (&json!(2), &json!(code)));
    }
    assert_eq!(socket.ask(json!({ "type": "ping", "id": 3 })).await["type"], "pong");
    let mut service = stage.observe("svc@service", "?watch=none").await;
    let lesser = service.ask(json!({ "type": "token", "id": 4, "token": token("svc") })).await;
    assert_eq!(lesser["code"], "forbidden", "what a service may see is not kept with less than its scope");
}

#[tokio::test]
async fn a_quiet_connection_is_told_at_once_and_a_busy_one_in_fewer_newer_frames() {
    let presence = Presence { flush_ms: 300, ..Presence::default() };
    let stage = Stage::with(Setting { presence, ..Setting::default() }).await;
    befriend(&stage, "bob", "alice").await;
    stage.open("bob").await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    socket.ask(json!({ "type": "watch", "id": 1, "users": ["bob"] })).await;
    stage.fake.describe_quietly("bob", 0);
    let first = socket.next().await;
    assert_eq!(users(&first), ["bob"]);
    for n in 1..=40 {
        stage.fake.describe_quietly("bob", n);
    }
    let second = socket.next().await;
    assert_eq!(users(&second), ["bob"]);
    assert_eq!(second["presences"][0]["meta"]["k"].as_str().unwrap().len(), 40, "the latest state");
    let version = |frame: &Value| frame["presences"][0]["version"].as_u64().unwrap();
    assert!(version(&second) >= version(&first) + 40);
    assert_eq!(stage.fake.deliveries(), 2);
}

#[tokio::test]
async fn any_frame_is_a_sign_of_life() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    socket.0.send(Message::Ping(Vec::new().into())).await.unwrap();
    until("the ping was heard", || stage.fake.heard() == 1).await;
    socket.ask(json!({ "type": "ping" })).await;
    assert_eq!(stage.fake.heard(), 2);
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let presence = Presence { ping_interval_ms: 50, ..Presence::default() };
    let stage = Stage::with(Setting { presence, ..Setting::default() }).await;
    let mut socket: Socket = stage.connect("alice", "?watch=none").await;
    assert_eq!(socket.next().await["ping_ms"], 50);
    tokio::select! {
        frame = socket.next() => panic!("nothing but pings comes: {frame}"),
        () = until("pongs are signs of life", || stage.fake.heard() >= 5) => {}
    }
}

#[tokio::test]
async fn a_client_that_answers_no_pings_is_lost() {
    let stage = Stage::new().await;
    let socket = stage.observe("alice", "?watch=none").await;
    // From here on time passes as fast as nothing happens; the client reads no ping and answers none.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    timeout(Duration::from_secs(120), stage.fake.endings()).await.expect("it ends");
    let silent_s = started.elapsed().as_secs();
    assert!((44..=46).contains(&silent_s), "twice the interval of 20 s and 5 s: {silent_s}");
    drop(socket);
}

#[tokio::test]
async fn changes_come_while_a_write_is_under_way() {
    let stage = Stage::new().await;
    befriend(&stage, "bob", "alice").await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    socket.ask(json!({ "type": "watch", "id": 1, "users": ["bob"] })).await;
    let held = stage.fake.hold_writes();
    socket.say(json!({ "type": "status", "id": 2, "status": "dnd" })).await;
    stage.fake.open_quietly("bob");
    assert_eq!(socket.next().await["type"], "presence");
    drop(held);
    assert_eq!(socket.next().await, json!({ "type": "ok", "id": 2 }));
}
