//! Section 6: status, privacy and profile.

use crate::{
    fake::now,
    stage::{Stage, problem},
};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn put_status_replaces_the_whole_setting_and_answers_with_the_presence() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    let body = r#"{"status":"dnd","text":"lunch","meta":{ "z": 1, "a": [true] },"expires_in_s":3600}"#;
    let put = stage.by("alice", Method::PUT, "/v1/users/me/status").header("Content-Type", "application/json");
    let response = put.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""meta":{"z":1,"a":[true]}"#), "members keep their order: {text}");
    let set: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&set["setting"]["status"], &set["setting"]["text"]), (&json!("dnd"), &json!("lunch")));
    let left = set["setting"]["expires_at"].as_u64().unwrap() - now();
    assert!((3_590_000..=3_600_000).contains(&left));
    assert_eq!((&set["presence"]["status"], &set["presence"]["text"]), (&json!("dnd"), &json!("lunch")));
    assert_eq!(stage.get("alice", "/v1/users/me/status").await, set);
    let plain: Value =
        stage.put("alice", "/v1/users/me/status", json!({ "status": "away" })).await.json().await.unwrap();
    assert_eq!(plain["setting"], json!({ "status": "away", "text": null, "meta": {}, "expires_at": null }));
}

#[tokio::test]
async fn delete_status_returns_to_automatic() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    stage.put("alice", "/v1/users/me/status", json!({ "status": "dnd", "text": "x", "meta": { "a": 1 } })).await;
    let response = stage.delete("alice", "/v1/users/me/status").await;
    assert_eq!(response.status(), 200);
    let cleared: Value = response.json().await.unwrap();
    assert_eq!(cleared["setting"], json!({ "status": "online", "text": null, "meta": {}, "expires_at": null }));
    assert_eq!((&cleared["presence"]["status"], &cleared["presence"]["meta"]), (&json!("online"), &json!({})));
}

#[tokio::test]
async fn text_and_meta_keep_their_bounds_to_the_byte() {
    let stage = Stage::new().await;
    let put = |body: Value| stage.put("alice", "/v1/users/me/status", body);
    assert_eq!(put(json!({ "status": "dnd", "text": "ü".repeat(256) })).await.status(), 200);
    problem(put(json!({ "status": "dnd", "text": "ü".repeat(257) })).await, 400, "invalid_request").await;
    let empty: Value = put(json!({ "status": "dnd", "text": "" })).await.json().await.unwrap();
    assert_eq!(empty["setting"]["text"], Value::Null);
    // {"k":"…"} is eight bytes around the value.
    assert_eq!(put(json!({ "status": "dnd", "meta": { "k": "x".repeat(2_040) } })).await.status(), 200);
    problem(put(json!({ "status": "dnd", "meta": { "k": "x".repeat(2_041) } })).await, 400, "invalid_request").await;
    for s in [1, 31_536_000] {
        assert_eq!(put(json!({ "status": "dnd", "expires_in_s": s })).await.status(), 200);
    }
}

#[tokio::test]
async fn invisible_looks_offline_and_the_setting_says_so_to_the_user() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    let set: Value =
        stage.put("alice", "/v1/users/me/status", json!({ "status": "invisible" })).await.json().await.unwrap();
    assert_eq!((&set["setting"]["status"], &set["presence"]["status"]), (&json!("invisible"), &json!("offline")));
    assert_eq!(set["presence"]["since"], set["presence"]["last_seen"]);
}

#[tokio::test]
async fn privacy_is_read_and_replaced() {
    let stage = Stage::new().await;
    let default = json!({ "last_seen": "contacts", "devices": "contacts" });
    assert_eq!(stage.get("alice", "/v1/users/me/privacy").await, default);
    let hidden = json!({ "last_seen": "nobody", "devices": "nobody" });
    let answer: Value = stage.put("alice", "/v1/users/me/privacy", hidden.clone()).await.json().await.unwrap();
    assert_eq!(answer, hidden);
    assert_eq!(stage.get("alice", "/v1/users/me/privacy").await, hidden);
    stage.open("alice").await;
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["devices"], json!([]));
    let partly: Value =
        stage.put("alice", "/v1/users/me/privacy", json!({ "devices": "nobody" })).await.json().await.unwrap();
    assert_eq!(partly, json!({ "last_seen": "contacts", "devices": "nobody" }));
    let bad = stage.put("alice", "/v1/users/me/privacy", json!({ "last_seen": "friends" })).await;
    assert!(problem(bad, 400, "invalid_request").await.starts_with("last_seen:"));
}

#[tokio::test]
async fn a_profile_is_read_by_whoever_may_see_the_presence() {
    let stage = Stage::new().await;
    let empty = json!({ "name": null, "meta": {} });
    assert_eq!(stage.get("alice", "/v1/users/me/profile").await, empty);
    let profile = json!({ "name": "Alice A.", "meta": { "k": "v" } });
    let put: Value = stage.put("alice", "/v1/users/me/profile", profile.clone()).await.json().await.unwrap();
    assert_eq!(put, profile);
    assert_eq!(stage.get("bob", "/v1/users/alice/profile").await, empty);
    stage.put("alice", "/v1/users/me/contacts/bob", json!({})).await;
    assert_eq!(stage.get("bob", "/v1/users/alice/profile").await, profile);
    let bounds = json!({ "name": "n".repeat(128), "meta": { "k": "x".repeat(4_088) } });
    assert_eq!(stage.put("alice", "/v1/users/me/profile", bounds).await.status(), 200);
    for (field, bad) in
        [("name", json!("n".repeat(129))), ("meta", json!({ "k": "x".repeat(4_089) })), ("name", json!(7))]
    {
        let response = stage.put("alice", "/v1/users/me/profile", json!({ field: bad })).await;
        assert!(problem(response, 400, "invalid_request").await.starts_with(field));
    }
    assert_eq!(stage.delete("alice", "/v1/users/me/profile").await.status(), 204);
    assert_eq!(stage.get("alice", "/v1/users/me/profile").await, empty);
}
