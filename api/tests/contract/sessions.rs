//! Section 5: sessions over HTTP.

use crate::stage::{Setting, Stage, problem};
use rollcall_config::Presence;
use serde_json::{Value, json};

#[tokio::test]
async fn opening_a_session_gives_its_id_its_paces_and_its_place() {
    let presence = Presence { heartbeat_ms: 1_234, session_ttl_ms: 5_678, ..Presence::default() };
    let stage = Stage::with(Setting { presence, ..Setting::default() }).await;
    let response =
        stage.post("alice", "/v1/users/alice/sessions", json!({ "device": "web", "activity": "idle" })).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    let session = body["session"].as_str().unwrap();
    assert_eq!(body, json!({ "session": session, "heartbeat_ms": 1_234, "ttl_ms": 5_678 }));
    assert_eq!(location, format!("/v1/users/alice/sessions/{session}"));
    assert!(session.len() <= 64 && session.len() >= 22);
    assert!(session.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    let presence = stage.get("alice", "/v1/users/me/presence").await;
    assert_eq!((&presence["status"], &presence["devices"]), (&json!("away"), &json!(["web"])));
}

#[tokio::test]
async fn a_heartbeat_may_change_the_activity() {
    let stage = Stage::new().await;
    let session = stage.open("alice").await;
    let path = format!("/v1/users/me/sessions/{session}");
    for (body, status) in [
        (json!({}), "online"),
        (json!({ "activity": "idle" }), "away"),
        (json!({ "activity": null }), "away"),
        (json!({ "activity": "active" }), "online"),
    ] {
        let response = stage.put("alice", &path, body).await;
        assert_eq!((response.status().as_u16(), response.bytes().await.unwrap().len()), (204, 0));
        assert_eq!(stage.get("alice", "/v1/users/me/presence").await["status"], status);
    }
    let bad = stage.put("alice", &path, json!({ "activity": "asleep" })).await;
    assert!(problem(bad, 400, "invalid_request").await.starts_with("activity:"));
}

#[tokio::test]
async fn a_heartbeat_of_an_ended_or_unknown_session_is_404() {
    let stage = Stage::new().await;
    let session = stage.open("alice").await;
    let path = format!("/v1/users/me/sessions/{session}");
    assert_eq!(stage.delete("alice", &path).await.status(), 204);
    problem(stage.put("alice", &path, json!({})).await, 404, "unknown_session").await;
    problem(stage.put("alice", "/v1/users/me/sessions/a.b~c", json!({})).await, 404, "unknown_session").await;
    assert_eq!(stage.delete("alice", &path).await.status(), 204);
    let long = format!("/v1/users/me/sessions/{}", "s".repeat(65));
    assert!(problem(stage.put("alice", &long, json!({})).await, 400, "invalid_request").await.starts_with("session:"));
    let theirs = stage.open("bob").await;
    problem(stage.put("alice", &format!("/v1/users/me/sessions/{theirs}"), json!({})).await, 404, "unknown_session")
        .await;
}

#[tokio::test]
async fn the_list_shows_each_live_session() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("alice", "/v1/users/me/sessions").await, json!({ "sessions": [] }));
    let session = stage.open("alice").await;
    let _socket = stage.observe("alice", "?device=mobile&watch=none").await;
    let listed = stage.get("alice", "/v1/users/me/sessions").await;
    let (http, socket) = (&listed["sessions"][0], &listed["sessions"][1]);
    let names: Vec<_> = http.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["activity", "device", "kind", "last_heartbeat", "opened", "session"]);
    assert_eq!(
        (&http["session"], &http["kind"], &http["device"], &http["activity"]),
        (&json!(session), &json!("http"), &json!("web"), &json!("active"))
    );
    assert_eq!((&socket["kind"], &socket["device"]), (&json!("websocket"), &json!("mobile")));
    assert!(http["opened"].is_u64() && http["last_heartbeat"].is_u64());
}

#[tokio::test]
async fn more_sessions_than_the_capacity_are_refused() {
    let stage = Stage::new().await;
    stage.fake.capacities(5, 5, 1);
    stage.open("alice").await;
    let detail = problem(stage.post("alice", "/v1/users/me/sessions", json!({})).await, 422, "limit_exceeded").await;
    assert_eq!(detail, "at most 1 sessions");
}
