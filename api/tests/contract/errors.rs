//! Section 3: problems, and the order in which they are found.

use crate::stage::{Stage, problem};
use reqwest::Method;
use rollcall_api::service::ServiceError;
use serde_json::json;

#[tokio::test]
async fn an_unknown_route_is_404_and_another_method_405_before_anybody_asks_for_a_token() {
    let stage = Stage::new().await;
    for path in ["/nowhere", "/v1", "/v1/", "/v2/users/a/presence", "/v1/users", "/v1/users/a", "/v1/users/a/presence/"]
    {
        let response = stage.call(Method::GET, path).send().await.unwrap();
        if path == "/v1/users/a" {
            assert_eq!(response.headers()["allow"], "DELETE");
            problem(response, 405, "method_not_allowed").await;
        } else {
            problem(response, 404, "not_found").await;
        }
    }
    for (method, path, allow) in [
        (Method::POST, "/v1/users/a/presence", "GET,HEAD"),
        (Method::PATCH, "/v1/users/a/status", "GET,HEAD,PUT,DELETE"),
        (Method::PUT, "/v1/users/a/contacts", "GET,HEAD,POST"),
        (Method::GET, "/v1/users/a/contacts/b", "PUT,DELETE"),
        (Method::GET, "/v1/presence/query", "POST"),
        (Method::POST, "/v1/connect", "GET,HEAD"),
        (Method::POST, "/v1/cluster/status", "GET,HEAD"),
    ] {
        let response = stage.call(method, path).send().await.unwrap();
        let mut given: Vec<_> = response.headers()["allow"].to_str().unwrap().split(',').map(str::trim).collect();
        let mut wanted: Vec<_> = allow.split(',').collect();
        given.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(given, wanted, "{path}");
        problem(response, 405, "method_not_allowed").await;
    }
}

#[tokio::test]
async fn token_comes_before_scope_before_type_before_size_before_syntax() {
    let stage = Stage::new().await;
    let large = "x".repeat(256 * 1_024 + 1);
    let put = |who: Option<&str>, user: &str| {
        let path = format!("/v1/users/{user}/status?unknown=1");
        who.map_or_else(|| stage.call(Method::PUT, &path), |who| stage.by(who, Method::PUT, &path))
    };
    problem(put(None, "bob").body(large.clone()).send().await.unwrap(), 401, "unauthenticated").await;
    problem(put(Some("alice"), "bob").body(large.clone()).send().await.unwrap(), 403, "forbidden").await;
    problem(put(Some("alice"), "me").body(large.clone()).send().await.unwrap(), 415, "unsupported_media_type").await;
    let typed = put(Some("alice"), "me").header("Content-Type", "application/json");
    problem(typed.body(large).send().await.unwrap(), 413, "payload_too_large").await;
    let typed = put(Some("alice"), "me").header("Content-Type", "application/json");
    problem(typed.body("{").send().await.unwrap(), 400, "invalid_request").await;
}

#[tokio::test]
async fn a_body_is_json_in_utf_8() {
    let stage = Stage::new().await;
    let put = |of: &str| {
        stage.by("alice", Method::PUT, "/v1/users/me/status").header("Content-Type", of).body(r#"{"status":"dnd"}"#)
    };
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(put(good).send().await.unwrap().status(), 200, "{good}");
    }
    for bad in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/jsonx"]
    {
        problem(put(bad).send().await.unwrap(), 415, "unsupported_media_type").await;
    }
    let zipped = put("application/json").header("Content-Encoding", "gzip");
    problem(zipped.send().await.unwrap(), 415, "unsupported_media_type").await;
    let none = stage.by("alice", Method::PUT, "/v1/users/me/status").body(r#"{"status":"dnd"}"#);
    problem(none.send().await.unwrap(), 415, "unsupported_media_type").await;
}

#[tokio::test]
async fn a_body_may_have_256_kib_and_no_more() {
    let stage = Stage::new().await;
    let body = |bytes: usize| format!("{{\"users\":[]{}}}", " ".repeat(bytes - 12));
    let query = |bytes: usize| {
        stage
            .by("alice", Method::POST, "/v1/presence/query")
            .header("Content-Type", "application/json")
            .body(body(bytes))
    };
    assert_eq!(query(256 * 1_024).send().await.unwrap().status(), 200);
    for bytes in [256 * 1_024 + 1, 1_024 * 1_024, 2 * 1_024 * 1_024] {
        problem(query(bytes).send().await.unwrap(), 413, "payload_too_large").await;
    }
}

#[tokio::test]
async fn malformed_json_and_wrong_types_name_the_field() {
    let stage = Stage::new().await;
    let put = |body: String| {
        stage.by("alice", Method::PUT, "/v1/users/me/status").header("Content-Type", "application/json").body(body)
    };
    for bad in
        ["{", "", "[]", "7", "null", "{\"status\":\"dnd\"} x", "{'status':'dnd'}", "\u{feff}{}", "{\"status\":NaN}"]
    {
        let response = put(if bad.is_empty() { " ".into() } else { bad.into() }).send().await.unwrap();
        assert!(problem(response, 400, "invalid_request").await.starts_with("body:"), "{bad}");
    }
    let mut raw = b"{\"status\":\"".to_vec();
    raw.extend([0xff, b'"', b'}']);
    let response = put(String::new()).body(raw).send().await.unwrap();
    assert!(problem(response, 400, "invalid_request").await.contains("UTF-8"));
    for (field, bad) in [
        ("status", json!("offline")),
        ("status", json!(7)),
        ("text", json!(7)),
        ("text", json!("x".repeat(513))),
        ("text", json!("a\nb")),
        ("text", json!("a\u{7f}b")),
        ("meta", json!([])),
        ("meta", json!("{}")),
        ("meta", json!({ "k": "x".repeat(2_048) })),
        ("expires_in_s", json!(0)),
        ("expires_in_s", json!(31_536_001)),
        ("expires_in_s", json!(-1)),
        ("expires_in_s", json!(1.5)),
        ("expires_in_s", json!("60")),
    ] {
        let mut body = json!({ "status": "dnd" });
        body[field] = bad.clone();
        let response = put(body.to_string()).send().await.unwrap();
        assert!(problem(response, 400, "invalid_request").await.starts_with(&format!("{field}:")), "{field} {bad}");
    }
    let twice = put(r#"{"status":"dnd","status":"away"}"#.into()).send().await.unwrap();
    assert!(problem(twice, 400, "invalid_request").await.contains("twice"));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"status\":\"dnd\",\"meta\":{}1{}}}", open.repeat(40_000), close.repeat(40_000));
        problem(put(deep).send().await.unwrap(), 400, "invalid_request").await;
    }
}

#[tokio::test]
async fn errors_of_the_service_have_their_status_code_and_time_to_come_back() {
    let stage = Stage::new().await;
    let cases = [
        (ServiceError::UnknownSession, 404, "unknown_session", None),
        (ServiceError::KeyReused, 409, "conflict", None),
        (ServiceError::LimitExceeded { what: "contacts", max: 7 }, 422, "limit_exceeded", None),
        (ServiceError::RateLimited { after_ms: 1_500 }, 429, "rate_limited", Some("2")),
        (ServiceError::Unavailable { why: "no quorum", after_ms: 10 }, 503, "unavailable", Some("1")),
        (ServiceError::Internal, 500, "internal", None),
    ];
    for (error, status, code, after) in cases {
        *stage.fake.refusal.lock() = Some(error);
        for call in [
            stage.by("alice", Method::GET, "/v1/users/me/presence"),
            stage.by("alice", Method::PUT, "/v1/users/me/status").json(&json!({ "status": "away" })),
            stage.by("alice", Method::GET, "/v1/users/me/contacts"),
        ] {
            let response = call.send().await.unwrap();
            let given = response.headers().get("retry-after").map(|h| h.to_str().unwrap().to_owned());
            assert_eq!(given.as_deref(), after);
            problem(response, status, code).await;
        }
    }
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_service() {
    let stage = Stage::new().await;
    let before = stage.fake.calls.load(std::sync::atomic::Ordering::Relaxed);
    stage.put("alice", "/v1/users/me/status", json!({ "status": "dnd", "x": 1 })).await;
    stage.put("alice", "/v1/users/bob/status", json!({ "status": "dnd" })).await;
    stage.post("alice", "/v1/users/me/contacts", json!({ "add": ["a", "a b"] })).await;
    assert_eq!(stage.fake.calls.load(std::sync::atomic::Ordering::Relaxed), before);
}
