//! Section 8: the handshake, and what follows it at once.

use crate::stage::{Setting, Socket, Stage, problem, token, until};
use reqwest::Method;
use rollcall_api::service::ServiceError;
use rollcall_config::Http;
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::handshake::client::Request};

fn offering(stage: &Stage, protocols: &str) -> Request {
    let mut request = stage.anonymous_handshake("?watch=none");
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    request
}

#[tokio::test]
async fn welcome_comes_first_and_then_the_snapshot_of_contacts() {
    let stage = Stage::new().await;
    stage.put("alice", "/v1/users/me/contacts/bob", json!({})).await;
    let mut socket = stage.connect("alice", "?device=mobile").await;
    let welcome = socket.next().await;
    assert_eq!(
        welcome,
        json!({ "type": "welcome", "user": "alice", "session": welcome["session"], "resumed": false, "node": "n1", "ping_ms": 20_000, "resume": welcome["resume"] })
    );
    assert!(welcome["session"].is_string() && welcome["resume"].is_string());
    let snapshot = socket.next().await;
    assert_eq!(
        (&snapshot["type"], &snapshot["id"], &snapshot["more"]),
        (&json!("snapshot"), &json!(null), &json!(false))
    );
    assert_eq!(snapshot["presences"].as_array().unwrap().len(), 1);
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["devices"], json!(["mobile"]));
    assert_eq!(stage.connections.open(), 1);
}

#[tokio::test]
async fn an_observer_has_no_session() {
    let stage = Stage::new().await;
    let mut socket = stage.connect("alice", "?session=false&watch=none").await;
    let welcome = socket.next().await;
    assert_eq!((&welcome["session"], &welcome["resume"]), (&json!(null), &json!(null)));
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["status"], "offline");
    let refused = socket.ask(json!({ "type": "activity", "state": "idle", "id": 1 })).await;
    assert_eq!(refused["code"], "invalid_request");
    assert_eq!(
        socket.ask(json!({ "type": "status", "status": "dnd", "id": 2 })).await,
        json!({ "type": "ok", "id": 2 })
    );
}

#[tokio::test]
async fn without_an_upgrade_it_is_400_and_without_a_token_401() {
    let stage = Stage::new().await;
    problem(stage.call(Method::GET, "/v1/connect").send().await.unwrap(), 401, "unauthenticated").await;
    problem(stage.by("alice", Method::GET, "/v1/connect").send().await.unwrap(), 400, "invalid_request").await;
    let odd = stage.by("alice", Method::GET, "/v1/connect").header("Connection", "upgrade").header("Upgrade", "h2c");
    problem(odd.send().await.unwrap(), 400, "invalid_request").await;
    assert_eq!(Socket::refused(stage.anonymous_handshake("")).await, 401);
}

#[tokio::test]
async fn the_query_is_checked() {
    let stage = Stage::new().await;
    for bad in ["?watch=all", "?session=no", "?device=Web", "?x=1", "?watch=none&watch=none", "?token=x"] {
        assert_eq!(Socket::refused(stage.handshake("alice", bad)).await, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_handshake_is_refused_as_the_service_says() {
    let stage = Stage::new().await;
    for (error, status) in [
        (ServiceError::Unavailable { why: "no quorum", after_ms: 1 }, 503),
        (ServiceError::LimitExceeded { what: "connections", max: 1 }, 422),
    ] {
        *stage.fake.refusal.lock() = Some(error);
        assert_eq!(Socket::refused(stage.handshake("alice", "")).await, status);
    }
}

#[tokio::test]
async fn a_browser_offers_its_token_as_a_subprotocol() {
    let stage = Stage::new().await;
    let request = offering(&stage, &format!("rollcall.v1, bearer.{}", token("alice")));
    let (socket, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "rollcall.v1");
    assert_eq!(Socket(socket).next().await["user"], "alice");
}

#[tokio::test]
async fn a_refused_browser_is_upgraded_and_told_why() {
    let stage = Stage::new().await;
    let mut socket = Socket::open(offering(&stage, "rollcall.v1, bearer.not-a-token")).await;
    let error = socket.next().await;
    assert_eq!(
        (&error["type"], &error["id"], &error["code"]),
        (&json!("error"), &json!(null), &json!("unauthenticated"))
    );
    assert_eq!(socket.closed().await, 4_401);
    *stage.fake.refusal.lock() = Some(ServiceError::Unavailable { why: "no quorum", after_ms: 7 });
    let mut socket = Socket::open(offering(&stage, &format!("rollcall.v1, bearer.{}", token("alice")))).await;
    assert_eq!(socket.next().await["after_ms"], 7);
    assert_eq!(socket.closed().await, 4_503);
}

#[tokio::test]
async fn offering_subprotocols_without_ours_is_400() {
    let stage = Stage::new().await;
    let mut request = stage.handshake("alice", "");
    request.headers_mut().insert("sec-websocket-protocol", "chat, soap".parse().unwrap());
    assert_eq!(Socket::refused(request).await, 400);
    assert_eq!(Socket::refused(offering(&stage, &format!("bearer.{}", token("alice")))).await, 400);
    let mut request = stage.handshake("alice", "?watch=none");
    request.headers_mut().insert("sec-websocket-protocol", "chat, rollcall.v1".parse().unwrap());
    assert_eq!(Socket::open(request).await.next().await["type"], "welcome");
}

#[tokio::test]
async fn a_foreign_origin_is_a_plain_403() {
    let http = Http { allowed_origins: vec!["https://app.example".into()], ..Http::default() };
    let stage = Stage::with(Setting { http, ..Setting::default() }).await;
    let from = |origin: &str, mut request: Request| {
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request
    };
    assert_eq!(Socket::refused(from("https://evil.example", stage.handshake("alice", ""))).await, 403);
    let browser = offering(&stage, &format!("rollcall.v1, bearer.{}", token("alice")));
    assert_eq!(Socket::refused(from("https://evil.example", browser)).await, 403);
    let forged = offering(&stage, "rollcall.v1, bearer.forged");
    assert_eq!(Socket::refused(from("https://evil.example", forged)).await, 403);
    for good in ["https://app.example".to_owned(), format!("http://{}", stage.address)] {
        Socket::open(from(&good, stage.handshake("alice", ""))).await;
    }
}

#[tokio::test]
async fn a_resume_takes_the_session_over_and_the_older_connection_is_replaced() {
    let stage = Stage::new().await;
    let mut first = stage.connect("alice", "?watch=none").await;
    let welcome = first.next().await;
    let resume = welcome["resume"].as_str().unwrap();
    let mut second = stage.connect("alice", &format!("?watch=none&resume={resume}")).await;
    let again = second.next().await;
    assert_eq!((&again["resumed"], &again["session"]), (&json!(true), &welcome["session"]));
    let goodbye = first.next().await;
    assert_eq!(goodbye, json!({ "type": "goodbye", "reason": "replaced", "reconnect": false, "after_ms": 0 }));
    assert_eq!(first.closed().await, 4_002);
}

#[tokio::test]
async fn a_late_unknown_or_foreign_resume_opens_a_new_session() {
    let stage = Stage::new().await;
    let theirs = stage.connect("bob", "?watch=none").await.next().await;
    for token in [theirs["resume"].as_str().unwrap(), "unknown", "", &"x".repeat(1_000)] {
        let welcome = stage.connect("alice", &format!("?watch=none&resume={token}")).await.next().await;
        assert_eq!(welcome["resumed"], false);
        assert_ne!(welcome["session"], theirs["session"]);
    }
}

#[tokio::test]
async fn a_connection_that_is_never_used_counts_until_it_is_gone() {
    let stage = Stage::new().await;
    let socket = stage.observe("alice", "?watch=none").await;
    assert_eq!(stage.connections.open(), 1);
    drop(socket);
    until("no connection is counted", || stage.connections.open() == 0).await;
}
