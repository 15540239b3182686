//! What is answered without a token beside the contract's calls: metrics, the document, the pages.

use crate::stage::{DEADLINE, Setting, Stage};
use reqwest::{Method, header};
use rollcall_config::Http;
use serde_json::Value;
use std::collections::BTreeSet;

async fn text(stage: &Stage, path: &str) -> String {
    let answer = stage.call(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

/// The value of a series, as it is written.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn the_page_about_metrics_names_exactly_what_is_answered() {
    let stage = Stage::new().await;
    let answered = text(&stage, "/metrics").await;
    let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
    for line in answered.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            told.insert((name, kind));
        }
    }
    let page = include_str!("../../../docs/metrics.md");
    let mut named = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| `rollcall_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        named.insert((cells[1].trim_matches('`'), cells[2]));
    }
    assert_eq!(told, named);
}

#[tokio::test]
async fn requests_are_counted_by_their_template_and_refusals_by_their_code() {
    let stage = Stage::new().await;
    stage.get("alice", "/v1/users/me/presence").await;
    stage.get("alice", "/v1/users/bob/presence").await;
    stage.call(Method::GET, "/v1/users/carol/presence").send().await.unwrap();
    stage.call(Method::GET, "/v1/nowhere/dave").send().await.unwrap();
    let metrics = text(&stage, "/metrics").await;
    let route = r#"route="/v1/users/{user}/presence",method="GET""#;
    assert_eq!(
        value(&metrics, &format!("rollcall_http_requests_total{{{route},class=\"2xx\"}}")),
        Some(2.0),
        "{metrics}"
    );
    assert_eq!(value(&metrics, &format!("rollcall_http_requests_total{{{route},class=\"4xx\"}}")), Some(1.0));
    assert_eq!(value(&metrics, &format!("rollcall_http_request_duration_seconds_count{{{route}}}")), Some(3.0));
    let unrouted = r#"rollcall_http_requests_total{route="unrouted",method="any",class="4xx"}"#;
    assert_eq!(value(&metrics, unrouted), Some(1.0));
    assert_eq!(value(&metrics, r#"rollcall_refusals_total{code="unauthenticated"}"#), Some(1.0));
    assert_eq!(value(&metrics, r#"rollcall_frames_sent_total{node="n1"}"#), Some(3.0));
    for user in ["alice", "bob", "carol", "dave"] {
        assert!(!metrics.contains(user), "{user} is named");
    }
}

#[tokio::test]
async fn frames_of_a_connection_are_counted_both_ways() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    assert_eq!(socket.ask(serde_json::json!({ "type": "ping", "id": 1 })).await["type"], "pong");
    let metrics = text(&stage, "/metrics").await;
    assert_eq!(value(&metrics, "rollcall_websocket_frames_received_total"), Some(1.0));
    assert_eq!(value(&metrics, "rollcall_websocket_frames_sent_total"), Some(2.0));
    assert_eq!(value(&metrics, "rollcall_connections"), Some(1.0));
}

#[tokio::test]
async fn metrics_move_with_health_and_pages_stay() {
    let http = Http { ops_listen: Some("127.0.0.1:1".into()), ..Http::default() };
    let stage = Stage::with(Setting { http, ..Setting::default() }).await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(stage.call(Method::GET, path).send().await.unwrap().status(), 404, "{path}");
    }
    text(&stage, "/docs").await;
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_needs_no_token() {
    let stage = Stage::new().await;
    let answer = stage.call(Method::GET, "/openapi.json").timeout(DEADLINE).send().await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    let document: Value = answer.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/users/{user}/status"]["put"]["requestBody"].is_object());
}

#[tokio::test]
async fn pages_name_only_files_of_this_server_and_hold_no_script_of_their_own() {
    let stage = Stage::new().await;
    for page in ["/", "/docs"] {
        let answer = stage.call(Method::GET, page).send().await.unwrap();
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
        let html = answer.text().await.unwrap();
        assert!(!html.contains("//"), "{page} names another host");
        let mut files = 0;
        for (attribute, ends) in [("src=\"", '"'), ("<link rel=\"stylesheet\" href=\"", '"')] {
            for rest in html.split(attribute).skip(1) {
                let file = rest.split(ends).next().unwrap();
                text(&stage, file).await;
                files += 1;
            }
        }
        assert!(files >= 2, "{page} loads {files} files");
        assert_eq!(html.matches("<script").count(), html.matches("<script ").count());
    }
    let missing = stage.call(Method::GET, "/docs/nothing.js").send().await.unwrap();
    assert_eq!(missing.status(), 404);
}
