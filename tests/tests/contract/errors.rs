//! Every code of the contract's section 3, in the order of its checks, with the headers that belong to it.

use super::usual as server;
use rollcall_tests::{Client, exchange};
use serde_json::{Value, json};

/// A request by hand: method and path, more headers, a body.
pub(super) async fn raw(user: Option<&Client>, line: &str, headers: &[&str], body: &str) -> rollcall_tests::Reply {
    let mut head = format!("{line} HTTP/1.1");
    if let Some(user) = user {
        head.push_str(&format!("\nAuthorization: Bearer {}", user.token));
    }
    for header in headers {
        head.push('\n');
        head.push_str(header);
    }
    if !body.is_empty() {
        head.push_str(&format!("\nContent-Length: {}", body.len()));
    }
    exchange(&server().address(), &head, body.as_bytes()).await
}

pub(super) const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn an_unknown_route_is_not_found_before_any_token_is_looked_at() {
    let [alice] = server().people(["alice"]);
    for path in ["/v1", "/v1/nothing", "/v1/users", "/v1/users/alice/shoes", "/v1/rooms", "/v1/rooms/x", "/v1/apps"] {
        raw(None, &format!("GET {path}"), &[], "").await.problem(404, "not_found");
        alice.get(path).await.problem(404, "not_found");
    }
    raw(None, "GET /nowhere", &[], "").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones_before_any_token_is_looked_at() {
    for (line, allowed) in [
        ("POST /v1/users/alice/presence", vec!["GET"]),
        ("PATCH /v1/users/alice/status", vec!["GET", "PUT", "DELETE"]),
        ("GET /v1/presence/query", vec!["POST"]),
        ("PUT /v1/users/alice/sessions", vec!["GET", "POST"]),
        ("GET /v1/users/alice/contacts/bob", vec!["PUT", "DELETE"]),
    ] {
        let reply = raw(None, line, &[], "").await;
        reply.problem(405, "method_not_allowed");
        let allow = reply.header("allow").unwrap_or_else(|| panic!("no Allow for {line}"));
        for method in allowed {
            assert!(allow.split(',').any(|a| a.trim() == method), "{line}: {allow:?} lacks {method}");
        }
    }
}

#[tokio::test]
async fn the_token_is_checked_before_scope_body_and_fields() {
    let reply = raw(None, "PUT /v1/users/alice/status", &["Content-Type: text/plain"], "{").await;
    reply.problem(401, "unauthenticated");
    let challenge = reply.header("www-authenticate").expect("WWW-Authenticate");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    let basic = raw(None, "GET /v1/users/alice/presence", &["Authorization: Basic YWxpY2U6eA=="], "").await;
    basic.problem(401, "unauthenticated");
    let empty = raw(None, "GET /v1/users/alice/presence", &["Authorization: Bearer"], "").await;
    empty.problem(401, "unauthenticated");
    raw(None, "GET /v1/users/alice/presence?token=x", &[], "").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_scope_is_checked_before_type_size_and_fields() {
    let [alice] = server().people(["alice"]);
    let large = "x".repeat(300 * 1_024);
    raw(Some(&alice), "PUT /v1/users/bob/status", &["Content-Type: text/plain"], "{").await.problem(403, "forbidden");
    raw(Some(&alice), "PUT /v1/users/bob/status", &[JSON], &large).await.problem(403, "forbidden");
    alice.get("/v1/cluster/status").await.problem(403, "forbidden");
    alice.get("/v1/cluster/locate/alice").await.problem(403, "forbidden");
    server().service().get("/v1/cluster/status").await.problem(403, "forbidden");
    let _ = server().admin().get("/v1/cluster/status").await.must(200);
}

#[tokio::test]
async fn type_and_size_are_checked_before_syntax() {
    let [alice] = server().people(["alice"]);
    let status = "PUT /v1/users/me/status";
    raw(Some(&alice), status, &["Content-Type: text/plain"], "{").await.problem(415, "unsupported_media_type");
    let mebibyte = "x".repeat(1_024 * 1_024);
    raw(Some(&alice), status, &[JSON], &mebibyte).await.problem(413, "payload_too_large");
    let just_over = format!("{}{}", r#"{"status":"dnd"}"#, " ".repeat(256 * 1_024 - 15));
    assert_eq!(just_over.len(), 256 * 1_024 + 1);
    raw(Some(&alice), status, &[JSON], &just_over).await.problem(413, "payload_too_large");
    let just_fits = &just_over[..256 * 1_024];
    let _ = raw(Some(&alice), status, &[JSON], just_fits).await.must(200);
    let charset = ["Content-Type: application/json; charset=utf-8"];
    let _ = raw(Some(&alice), status, &charset, r#"{"status":"away"}"#).await.must(200);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_too_large_whether_it_comes_or_not() {
    let [alice] = server().people(["alice"]);
    for length in [256 * 1_024 + 1, 300_000, 100_000_000] {
        let head = format!(
            "PUT /v1/users/me/status HTTP/1.1\nAuthorization: Bearer {}\n{JSON}\nContent-Length: {length}",
            alice.token
        );
        exchange(&server().address(), &head, b"").await.problem(413, "payload_too_large");
    }
}

#[tokio::test]
async fn a_chunked_body_has_the_same_bound() {
    let [alice] = server().people(["alice"]);
    let mut body = String::new();
    for _ in 0..300 {
        body.push_str(&format!("400\r\n{}\r\n", "x".repeat(1_024)));
    }
    body.push_str("0\r\n\r\n");
    let head = format!(
        "PUT /v1/users/me/status HTTP/1.1\nAuthorization: Bearer {}\n{JSON}\nTransfer-Encoding: chunked",
        alice.token
    );
    exchange(&server().address(), &head, body.as_bytes()).await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn malformed_json_and_unknown_or_repeated_fields_are_invalid() {
    let [alice] = server().people(["alice"]);
    for body in [
        "{",
        "[]",
        "\"dnd\"",
        "null",
        r#"{"status":"dnd"} x"#,
        r#"{"status":"dnd","status":"away"}"#,
        r#"{"status":"dnd","unknown":1}"#,
        "{\"status\":\"dnd\",\"text\":\"\u{0}\"}",
        r#"{'status':'dnd'}"#,
    ] {
        raw(Some(&alice), "PUT /v1/users/me/status", &[JSON], body).await.problem(400, "invalid_request");
    }
    let invalid_utf8 = b"{\"status\":\"dnd\",\"text\":\"\xff\"}";
    let head = format!(
        "PUT /v1/users/me/status HTTP/1.1\nAuthorization: Bearer {}\n{JSON}\nContent-Length: {}",
        alice.token,
        invalid_utf8.len()
    );
    exchange(&server().address(), &head, invalid_utf8).await.problem(400, "invalid_request");
    raw(Some(&alice), "PUT /v1/users/me/status", &[JSON], "").await.problem(400, "invalid_request");
    let deep = format!(r#"{{"status":"dnd","meta":{{"a":{}{}}}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    raw(Some(&alice), "PUT /v1/users/me/status", &[JSON], &deep).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn user_ids_are_checked_and_decoded_once() {
    let service = server().service();
    let long = "x".repeat(129);
    for id in ["a%20b", "%E4", "a%2Fb", "%2E", "%2E%2E", "a%25b", "%00", "a%", "%C3%A4", long.as_str()] {
        let path = format!("GET /v1/users/{id}/presence");
        raw(Some(&service), &path, &[], "").await.problem(400, "invalid_request");
    }
    let longest = "x".repeat(128);
    for (written, meant) in [
        ("%61lice", "alice"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("A.b_c~d:e@f+g-h", "A.b_c~d:e@f+g-h"),
        ("...", "..."),
        ("Me", "Me"),
        (longest.as_str(), longest.as_str()),
    ] {
        let reply = raw(Some(&service), &format!("GET /v1/users/{written}/presence"), &[], "").await;
        assert_eq!(reply.must(200)["user"], meant);
    }
    let me = service.get("/v1/users/me/presence").await.must(200);
    assert_eq!(me["user"], service.id.as_str(), "me stands for the token's sub");
    service.post("/v1/presence/query", json!({"users": ["me"]})).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn unknown_and_repeated_query_parameters_are_invalid() {
    let [alice] = server().people(["alice"]);
    for path in [
        "/v1/users/me/presence?verbose=1",
        "/v1/users/me/history?from=1&from=2",
        "/v1/users/me/history?from=abc",
        "/v1/users/me/history?limit=0",
        "/v1/users/me/history?cursor=no-cursor-of-ours",
        "/v1/users/me/sessions?limit=1",
    ] {
        alice.get(path).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn every_answer_is_marked_and_never_stored() {
    let [alice] = server().people(["alice"]);
    let replies = [
        alice.get("/v1/users/me/presence").await,
        alice.get("/v1/nothing").await,
        alice.put_bare("/v1/users/me/contacts/bob").await,
        alice.put("/v1/users/me/status", json!({"status": "?"})).await,
        raw(None, "GET /v1/users/alice/presence", &[], "").await,
        raw(None, "POST /v1/users/alice/presence", &[], "").await,
    ];
    let mut ids: Vec<&str> = Vec::new();
    for reply in &replies {
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
        ids.push(reply.header("x-request-id").expect("X-Request-Id"));
    }
    ids.sort_unstable();
    assert!(ids.windows(2).all(|w| w[0] != w[1]), "each request has an id of its own");
    let kept = alice.send("GET", "/v1/users/me/presence", &[("x-request-id", "from-the-client-7")], None).await;
    assert_eq!(kept.header("x-request-id"), Some("from-the-client-7"));
    let kept = alice.send("GET", "/v1/nothing", &[("x-request-id", "from-the-client-8")], None).await;
    kept.problem(404, "not_found");
    assert_eq!(kept.json()["request_id"], "from-the-client-8");
}

#[tokio::test]
async fn get_implies_head() {
    let [alice] = server().people(["alice"]);
    let get = alice.get("/v1/users/me/presence").await;
    let head = alice.send("HEAD", "/v1/users/me/presence", &[], None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), get.header("content-type"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(raw(None, &format!("HEAD {path}"), &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn preflights_are_answered_for_allowed_origins_only() {
    let ask = async |origin: &str| {
        let origin = format!("Origin: {origin}");
        let method = "Access-Control-Request-Method: PUT";
        let headers = "Access-Control-Request-Headers: authorization, content-type, idempotency-key";
        raw(None, "OPTIONS /v1/users/alice/status", &[&origin, method, headers], "").await
    };
    let allowed = ask("https://app.example").await;
    assert!(allowed.status < 300, "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    let methods = allowed.header("access-control-allow-methods").expect("methods");
    assert!(methods.contains("PUT") && methods.contains("DELETE") && methods.contains("POST"), "{methods}");
    let headers = allowed.header("access-control-allow-headers").expect("headers").to_ascii_lowercase();
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(headers.contains(name), "{headers} lacks {name}");
    }
    assert_eq!(ask("https://evil.example").await.header("access-control-allow-origin"), None);
    let [alice] = server().people(["alice"]);
    let origin = [("origin", "https://app.example")];
    let reply = alice.send("GET", "/v1/users/me/presence", &origin, None).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    let exposed = reply.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
    assert!(exposed.contains("retry-after") && exposed.contains("x-request-id"), "{exposed}");
}

#[tokio::test]
async fn the_state_is_looked_at_last() {
    let [alice] = server().people(["alice"]);
    let path = "/v1/users/me/sessions/never-was";
    alice.put(path, json!({"activity": "?"})).await.problem(400, "invalid_request");
    alice.put(path, json!({"activity": "idle"})).await.problem(404, "unknown_session");
    let too_long = format!("/v1/users/me/sessions/{}", "s".repeat(65));
    let status = alice.put(&too_long, json!({})).await.status;
    assert!(status == 400 || status == 404, "no session has such an id: {status}");
}

#[tokio::test]
async fn an_error_names_no_more_than_the_request_did() {
    let [alice] = server().people(["alice"]);
    let detail =
        alice.put("/v1/users/me/status", json!({"status": "dnd", "text": 7})).await.problem(400, "invalid_request");
    assert!(detail.contains("text"), "the field is named: {detail}");
    let problem = raw(None, "GET /v1/users/alice/presence", &["Authorization: Bearer secret-part"], "").await;
    assert!(!problem.body.contains("secret-part"), "{problem:?}");
    assert_eq!(problem.json().as_object().map(serde_json::Map::len), Some(6), "{problem:?}");
    assert_ne!(problem.json()["request_id"], Value::Null);
}
