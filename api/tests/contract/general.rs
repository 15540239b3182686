//! Section 1: what holds for every call.

use crate::stage::{Setting, Stage, answer, problem};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_not_cached() {
    let stage = Stage::new().await;
    for path in ["/v1/users/me/presence", "/v1/nowhere"] {
        let response = stage.by("alice", Method::GET, path).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers()["x-request-id"].is_empty());
    }
    let kept = stage.by("alice", Method::GET, "/v1/nowhere").header("X-Request-Id", "mine-7").send().await.unwrap();
    assert_eq!(kept.headers()["x-request-id"], "mine-7");
    assert!(problem(kept, 404, "not_found").await.contains("path"));
}
