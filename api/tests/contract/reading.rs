//! Sections 4 and 7: presences, queries, history, and deleting a user.

use crate::stage::{Stage, problem};
use reqwest::Method;
use serde_json::{Value, json};

fn never_seen(user: &str) -> String {
    format!(
        "{{\"user\":\"{user}\",\"status\":\"offline\",\"text\":null,\"meta\":{{}},\"since\":null,\"last_seen\":null,\"devices\":[],\"version\":0,\"stale\":false}}"
    )
}

async fn bytes(stage: &Stage, who: &str, path: &str) -> String {
    stage.by(who, Method::GET, path).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_presence_has_every_field_of_the_contract_in_its_order() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    stage
        .put("alice", "/v1/users/me/status", json!({ "status": "away", "text": "lunch", "meta": { "game": "chess" } }))
        .await;
    let text = bytes(&stage, "alice", "/v1/users/alice/presence").await;
    let presence: Value = serde_json::from_str(&text).unwrap();
    let (since, version) = (presence["since"].as_u64().unwrap(), presence["version"].as_u64().unwrap());
    assert_eq!(
        text,
        format!(
            "{{\"user\":\"alice\",\"status\":\"away\",\"text\":\"lunch\",\"meta\":{{\"game\":\"chess\"}},\"since\":{since},\"last_seen\":null,\"devices\":[\"web\"],\"version\":{version},\"stale\":false}}"
        )
    );
}

#[tokio::test]
async fn unknown_blocked_and_not_a_contact_are_the_same_bytes() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    assert_eq!(bytes(&stage, "bob", "/v1/users/nobody/presence").await, never_seen("nobody"));
    assert_eq!(bytes(&stage, "bob", "/v1/users/alice/presence").await, never_seen("alice"));
    stage.put("alice", "/v1/users/me/contacts/bob", json!({})).await;
    let own = bytes(&stage, "alice", "/v1/users/alice/presence").await;
    assert_ne!(own, never_seen("alice"));
    assert_eq!(bytes(&stage, "bob", "/v1/users/alice/presence").await, own);
    assert_eq!(bytes(&stage, "svc@service", "/v1/users/alice/presence").await, own);
    stage.put("bob", "/v1/users/me/blocks/alice", json!({})).await;
    assert_eq!(bytes(&stage, "bob", "/v1/users/alice/presence").await, never_seen("alice"));
    assert_eq!(bytes(&stage, "svc@service", "/v1/users/alice/presence").await, own);
}

#[tokio::test]
async fn with_visibility_everyone_only_blocks_hide() {
    let stage = Stage::new().await;
    stage.fake.everyone_sees_everyone();
    stage.open("alice").await;
    assert_eq!(stage.get("bob", "/v1/users/alice/presence").await["status"], "online");
    stage.put("alice", "/v1/users/me/blocks/bob", json!({})).await;
    assert_eq!(bytes(&stage, "bob", "/v1/users/alice/presence").await, never_seen("alice"));
}

#[tokio::test]
async fn what_cannot_be_confirmed_is_marked_stale() {
    let stage = Stage::new().await;
    *stage.fake.stale.lock() = true;
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["stale"], true);
    assert_eq!(stage.get("alice", "/v1/users/me/status").await["presence"]["stale"], true);
}

#[tokio::test]
async fn a_query_answers_in_the_order_asked_with_duplicates() {
    let stage = Stage::new().await;
    let query = |users: Value| stage.post("alice", "/v1/presence/query", json!({ "users": users }));
    let answer: Value = query(json!(["c", "a", "c"])).await.json().await.unwrap();
    let users: Vec<_> = answer["presences"].as_array().unwrap().iter().map(|p| p["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["c", "a", "c"]);
    let empty: Value = query(json!([])).await.json().await.unwrap();
    assert_eq!(empty, json!({ "presences": [] }));
    assert_eq!(query(json!(vec!["a"; 500])).await.status(), 200);
    assert!(problem(query(json!(vec!["a"; 501])).await, 400, "invalid_request").await.starts_with("users:"));
    for bad in [json!("a"), json!([7]), json!([["a"]]), json!({ "a": 1 }), json!(["a/b"]), json!([null])] {
        assert!(problem(query(bad).await, 400, "invalid_request").await.starts_with("users:"));
    }
}

#[tokio::test]
async fn history_has_each_change_once_newest_first() {
    let stage = Stage::new().await;
    let session = stage.open("alice").await;
    stage.put("alice", "/v1/users/me/status", json!({ "status": "invisible", "text": "t" })).await;
    stage.delete("alice", "/v1/users/me/status").await;
    stage.delete("alice", &format!("/v1/users/me/sessions/{session}")).await;
    let all = stage.get("alice", "/v1/users/me/history").await;
    let entries = all["entries"].as_array().unwrap();
    let of = |field: &str| entries.iter().map(|e| e[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("reason"), ["disconnected", "status_cleared", "status_set", "connected"]);
    assert_eq!(of("status"), ["offline", "online", "invisible", "online"]);
    let names: Vec<_> = entries[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["at", "reason", "status", "text", "version"]);
    assert_eq!(all["next"], Value::Null);
    assert_eq!(stage.get("svc@service", "/v1/users/alice/history").await, all);
    let mut paged = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = stage.get("alice", &format!("/v1/users/me/history{query}")).await;
        paged.extend(page["entries"].as_array().unwrap().clone());
        let Some(cursor) = page["next"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!(&paged, entries);
}

#[tokio::test]
async fn history_is_bounded_by_from_and_to() {
    let stage = Stage::new().await;
    stage.open("alice").await;
    let at = stage.get("alice", "/v1/users/me/history").await["entries"][0]["at"].as_u64().unwrap();
    let count = |query: String| {
        let stage = &stage;
        async move {
            stage.get("alice", &format!("/v1/users/me/history?{query}")).await["entries"].as_array().unwrap().len()
        }
    };
    assert_eq!(count(format!("from={at}&to={}", at + 1)).await, 1);
    assert_eq!(count(format!("to={at}")).await, 0);
    assert_eq!(count(format!("from={}", at + 1)).await, 0);
    for bad in ["from=-1", "to=x", "from=9007199254740992", "cursor=x", "limit=0"] {
        let response = stage.by("alice", Method::GET, &format!("/v1/users/me/history?{bad}")).send().await.unwrap();
        problem(response, 400, "invalid_request").await;
    }
}

#[tokio::test]
async fn a_deleted_user_is_never_seen() {
    let stage = Stage::new().await;
    stage.put("alice", "/v1/users/me/contacts/bob", json!({})).await;
    stage.open("alice").await;
    let before = stage.get("bob", "/v1/users/alice/presence").await["version"].as_u64().unwrap();
    assert_eq!(stage.delete("svc@service", "/v1/users/alice").await.status(), 204);
    assert_eq!(bytes(&stage, "svc@service", "/v1/users/alice/presence").await, never_seen("alice"));
    assert_eq!(stage.get("alice", "/v1/users/me/history").await["entries"], json!([]));
    stage.open("alice").await;
    assert!(stage.get("alice", "/v1/users/alice/presence").await["version"].as_u64().unwrap() > before);
}
