//! Section 8: how connections end, and what becomes of their sessions.

use crate::{
    fake::now,
    stage::{DEADLINE, SECRET, Setting, Stage},
};
use futures::{SinkExt, StreamExt};
use rollcall_api::{
    mint,
    service::{Ending, GoodbyeReason, ServiceError},
};
use rollcall_config::{Auth, Presence, Scope};
use rollcall_presence::UserId;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

async fn ended(stage: &Stage) -> Ending {
    timeout(DEADLINE, stage.fake.endings()).await.expect("the connection has ended")[0]
}

fn lost(ending: Ending) -> bool {
    matches!(ending, Ending::Lost { heard_at } if heard_at <= now() && heard_at + 60_000 > now())
}

#[tokio::test]
async fn a_close_with_1000_or_without_a_code_ends_the_session_now() {
    for close in [None, Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })] {
        let stage = Stage::new().await;
        let mut socket = stage.observe("alice", "?watch=none").await;
        socket.0.send(Message::Close(close)).await.unwrap();
        assert_eq!(ended(&stage).await, Ending::Closed);
        assert_eq!(stage.get("alice", "/v1/users/me/sessions").await, json!({ "sessions": [] }));
        let answered = tokio::time::timeout(DEADLINE, socket.0.next()).await.unwrap();
        assert!(matches!(answered, Some(Ok(Message::Close(_)))));
    }
}

#[tokio::test]
async fn any_other_end_leaves_the_session_its_grace() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let away = CloseFrame { code: CloseCode::Away, reason: "".into() };
    socket.0.send(Message::Close(Some(away))).await.unwrap();
    assert!(lost(ended(&stage).await));
    let stage = Stage::new().await;
    drop(stage.observe("alice", "?watch=none").await);
    assert!(lost(ended(&stage).await));
    assert_eq!(stage.get("alice", "/v1/users/me/sessions").await["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn each_goodbye_has_its_reason_and_close_code() {
    for (reason, name, code, reconnect) in [
        (GoodbyeReason::Drain, "drain", 4_000, true),
        (GoodbyeReason::TokenExpired, "token_expired", 4_001, true),
        (GoodbyeReason::Replaced, "replaced", 4_002, false),
        (GoodbyeReason::Revoked, "revoked", 4_003, false),
        (GoodbyeReason::Slow, "slow", 4_004, true),
        (GoodbyeReason::Shutdown, "shutdown", 4_005, true),
        (GoodbyeReason::Isolated, "isolated", 4_006, true),
    ] {
        let stage = Stage::new().await;
        let mut socket = stage.observe("alice", "?watch=none").await;
        stage.fake.goodbye(reason, 1_200);
        let goodbye = socket.next().await;
        assert_eq!(goodbye, json!({ "type": "goodbye", "reason": name, "reconnect": reconnect, "after_ms": 1_200 }));
        assert_eq!(socket.closed().await, code);
        let ending = ended(&stage).await;
        assert_eq!(ending == Ending::Closed, reason == GoodbyeReason::Revoked, "{name}");
    }
}

#[tokio::test]
async fn ending_a_websocket_session_over_http_closes_its_connection() {
    let stage = Stage::new().await;
    let mut socket = stage.connect("alice", "?watch=none").await;
    let session = socket.next().await["session"].as_str().unwrap().to_owned();
    assert_eq!(stage.delete("alice", &format!("/v1/users/me/sessions/{session}")).await.status(), 204);
    assert_eq!(socket.next().await["reason"], "revoked");
    assert_eq!(socket.closed().await, 4_003);
}

#[tokio::test]
async fn a_token_that_expires_closes_with_4001() {
    let stage = Stage::new().await;
    // Nine of the ten seconds of leeway are over.
    let past = now() - 9_000;
    let token = mint(SECRET, &UserId::new("alice").unwrap(), &[Scope::User], past, Duration::ZERO).unwrap();
    let mut request = stage.anonymous_handshake("?watch=none");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut socket = crate::stage::Socket::open(request).await;
    assert_eq!(socket.next().await["type"], "welcome");
    assert_eq!(socket.next().await["reason"], "token_expired");
    assert_eq!(socket.closed().await, 4_001);
    assert!(lost(ended(&stage).await));
}

#[tokio::test]
async fn a_connection_whose_key_was_removed_is_closed_with_4001() {
    let presence = Presence { ping_interval_ms: 50, ..Presence::default() };
    let stage = Stage::with(Setting { presence, ..Setting::default() }).await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other");
    std::fs::write(&file, [1; 32]).unwrap();
    let other = rollcall_config::AuthKey {
        kid: "other".into(),
        algorithm: rollcall_config::Algorithm::HS256,
        file,
        scopes: vec![Scope::User],
        default: true,
    };
    stage.keys.reload(&Auth { keys: vec![other], ..Auth::default() }, None).unwrap();
    assert_eq!(socket.next().await["reason"], "token_expired");
    assert_eq!(socket.closed().await, 4_001);
}

#[tokio::test]
async fn ten_malformed_frames_in_a_row_close_with_1008() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let bad = ["{", "[]", "null", "{}", "{\"type\":\"dance\"}", "{\"type\":7}", "x", "", "7"];
    for _ in 0..2 {
        for text in bad {
            socket.text(text).await;
            assert_eq!(socket.next().await["code"], "invalid_request");
        }
        assert_eq!(socket.ask(json!({ "type": "ping" })).await["type"], "pong", "nine are forgiven");
    }
    for _ in 0..10 {
        socket.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        let error = socket.next().await;
        assert_eq!((&error["code"], &error["id"]), (&json!("invalid_request"), &json!(null)));
    }
    assert_eq!(socket.closed().await, 1_008);
    assert!(lost(ended(&stage).await));
}

#[tokio::test]
async fn a_frame_over_128_kib_closes_with_1009() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let padded = |bytes: usize| format!("{{\"type\":\"ping\"{}}}", " ".repeat(bytes - 15));
    socket.text(&padded(128 * 1_024)).await;
    assert_eq!(socket.next().await["type"], "pong");
    for bytes in [128 * 1_024 + 1, 1_024 * 1_024] {
        let mut socket = stage.observe("alice", "?watch=none").await;
        // The server may close before all of it is sent.
        let _ = socket.0.send(Message::text(padded(bytes))).await;
        assert_eq!(socket.closed().await, 1_009);
    }
}

#[tokio::test]
async fn contacts_that_cannot_be_read_end_the_connection_with_an_error() {
    let stage = Stage::new().await;
    stage.fake.fail_contacts(ServiceError::Unavailable { why: "no quorum", after_ms: 5 });
    let mut socket = stage.observe("alice", "").await;
    assert_eq!(socket.next().await["code"], "unavailable");
    assert_eq!(socket.closed().await, 1_013);
}

#[tokio::test]
async fn stopping_waits_for_goodbyes_and_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    let fake = stage.fake.clone();
    let connections = stage.connections.clone();
    let stopping = tokio::spawn(stage.stop());
    fake.goodbye(GoodbyeReason::Shutdown, 0);
    assert_eq!(socket.closed().await, 4_005);
    drop(socket);
    stopping.await.unwrap();
    assert_eq!(connections.open(), 0);
}
