//! Section 1: what holds for every call.

use crate::stage::{Setting, Stage, answer, problem, token};
use reqwest::{Method, StatusCode};
use rollcall_config::Http;
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
    problem(kept, 404, "not_found").await;
}

#[tokio::test]
async fn get_implies_head() {
    let stage = Stage::new().await;
    let response = stage.by("alice", Method::HEAD, "/v1/users/me/presence").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers()["content-length"], "0");
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    let refused = stage.call(Method::HEAD, "/v1/users/me/presence").send().await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn me_in_a_path_is_the_sub_of_the_token_and_nowhere_else() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["user"], "alice");
    assert_eq!(stage.get("alice", "/v1/users/%6De/presence").await["user"], "alice");
    let other = stage.by("alice", Method::PUT, "/v1/users/me/contacts/me").send().await.unwrap();
    assert!(problem(other, 400, "invalid_request").await.starts_with("other:"));
    let body = stage.post("alice", "/v1/presence/query", json!({ "users": ["me"] })).await;
    assert!(problem(body, 400, "invalid_request").await.starts_with("users:"));
}

#[tokio::test]
async fn paths_are_percent_decoded_once() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("svc@service", "/v1/users/a%40b%3Ac/presence").await["user"], "a@b:c");
    let id = format!("/v1/users/{}/presence", "%61".repeat(128));
    assert_eq!(stage.get("svc@service", &id).await["user"], "a".repeat(128));
    for bad in ["%2561", "a%2Fb", "%FF", "%C3%A4", "a%20b", "%2E%2E", "."] {
        let response = stage.by("svc@service", Method::GET, &format!("/v1/users/{bad}/presence")).send().await.unwrap();
        let status = response.status();
        // A client may itself resolve `.` and `..` before it sends.
        assert!([400, 404, 405].contains(&status.as_u16()), "{bad}: {status}");
    }
}

#[tokio::test]
async fn unknown_and_repeated_query_parameters_are_refused() {
    let stage = Stage::new().await;
    for bad in ["presence?x=1", "contacts?limit=1&limit=2", "contacts?Limit=1", "status?x", "history?until=3"] {
        let response = stage.by("alice", Method::GET, &format!("/v1/users/me/{bad}")).send().await.unwrap();
        problem(response, 400, "invalid_request").await;
    }
    let write = stage.put("alice", "/v1/users/me/privacy?x=1", json!({})).await;
    assert!(problem(write, 400, "invalid_request").await.starts_with("x:"));
}

#[tokio::test]
async fn limit_is_1_to_1000_in_digits() {
    let stage = Stage::new().await;
    for bad in ["0", "1001", "-1", "1.5", "x", "", "%2B5", "99999999999999999999"] {
        let response =
            stage.by("alice", Method::GET, &format!("/v1/users/me/contacts?limit={bad}")).send().await.unwrap();
        assert!(problem(response, 400, "invalid_request").await.starts_with("limit:"), "{bad}");
    }
    for good in ["1", "1000"] {
        stage.get("alice", &format!("/v1/users/me/contacts?limit={good}")).await;
    }
}

#[tokio::test]
async fn unknown_fields_of_a_body_are_refused_and_named() {
    let stage = Stage::new().await;
    let calls = [
        (Method::POST, "/v1/users/me/sessions", json!({ "device": "web", "extra": 1 })),
        (Method::PUT, "/v1/users/me/status", json!({ "status": "dnd", "extra": 1 })),
        (Method::POST, "/v1/users/me/contacts", json!({ "extra": [] })),
        (Method::POST, "/v1/users/me/blocks", json!({ "extra": [] })),
        (Method::PUT, "/v1/users/me/privacy", json!({ "extra": null })),
        (Method::PUT, "/v1/users/me/profile", json!({ "extra": {} })),
        (Method::POST, "/v1/presence/query", json!({ "users": [], "extra": 1 })),
        (Method::PUT, "/v1/users/me/contacts/bob", json!({ "extra": 1 })),
        (Method::DELETE, "/v1/users/me/status", json!({ "extra": 1 })),
    ];
    for (method, path, body) in calls {
        let response = stage.by("alice", method, path).json(&body).send().await.unwrap();
        assert!(problem(response, 400, "invalid_request").await.starts_with("extra:"), "{path}");
    }
}

#[tokio::test]
async fn a_body_with_only_optional_fields_may_be_absent_or_null() {
    let stage = Stage::new().await;
    let opened = answer(stage.by("alice", Method::POST, "/v1/users/me/sessions"), StatusCode::CREATED).await;
    assert!(opened["session"].is_string());
    assert_eq!(stage.get("alice", "/v1/users/me/sessions").await["sessions"][0]["device"], "unknown");
    let nulls = json!({ "device": null, "activity": null });
    assert_eq!(stage.post("alice", "/v1/users/me/sessions", nulls).await.status(), 201);
    let privacy = answer(stage.by("alice", Method::PUT, "/v1/users/me/privacy"), StatusCode::OK).await;
    assert_eq!(privacy, json!({ "last_seen": "contacts", "devices": "contacts" }));
    for (method, path) in [(Method::PUT, "/v1/users/me/status"), (Method::POST, "/v1/presence/query")] {
        let response = stage.by("alice", method, path).send().await.unwrap();
        assert!(problem(response, 400, "invalid_request").await.contains("required"), "{path}");
    }
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again_and_refuses_another_request() {
    let stage = Stage::new().await;
    let open = |body: Value| {
        stage.by("alice", Method::POST, "/v1/users/me/sessions").header("Idempotency-Key", "k1").json(&body)
    };
    let first = answer(open(json!({ "device": "web" })), StatusCode::CREATED).await;
    let again = answer(open(json!({ "device": "web" })), StatusCode::CREATED).await;
    assert_eq!(first, again);
    assert_eq!(stage.get("alice", "/v1/users/me/sessions").await["sessions"].as_array().unwrap().len(), 1);
    problem(open(json!({ "device": "mobile" })).send().await.unwrap(), 409, "conflict").await;
    let elsewhere = stage.by("alice", Method::PUT, "/v1/users/me/privacy").header("Idempotency-Key", "k1");
    problem(elsewhere.send().await.unwrap(), 409, "conflict").await;
    let bob = stage.by("bob", Method::PUT, "/v1/users/me/privacy").header("Idempotency-Key", "k1");
    assert_eq!(bob.send().await.unwrap().status(), 200);
    stage.open("alice").await;
    assert_eq!(stage.get("alice", "/v1/users/me/sessions").await["sessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_idempotency_key_is_1_to_64_visible_ascii_characters() {
    let stage = Stage::new().await;
    for bad in ["", "a b", &"k".repeat(65)] {
        let call = stage.by("alice", Method::PUT, "/v1/users/me/privacy").header("Idempotency-Key", bad);
        assert!(problem(call.send().await.unwrap(), 400, "invalid_request").await.starts_with("Idempotency-Key:"));
    }
    let longest = stage.by("alice", Method::PUT, "/v1/users/me/privacy").header("Idempotency-Key", "~".repeat(64));
    assert_eq!(longest.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn delete_of_what_is_not_there_is_204() {
    let stage = Stage::new().await;
    for path in ["sessions/never", "contacts/bob", "blocks/bob", "profile"] {
        assert_eq!(stage.delete("alice", &format!("/v1/users/me/{path}")).await.status(), 204, "{path}");
    }
}

#[tokio::test]
async fn preflights_of_allowed_origins_permit_what_is_used_here() {
    let http = Http { allowed_origins: vec!["https://app.example".into()], ..Http::default() };
    let stage = Stage::with(Setting { http, ..Setting::default() }).await;
    let preflight = |origin: &str| {
        let call = stage.call(Method::OPTIONS, "/v1/users/alice/status").header("Origin", origin);
        call.header("Access-Control-Request-Method", "PUT").send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(allowed.status(), 204);
    let of = |name: &str| allowed.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(of("access-control-allow-origin"), "https://app.example");
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert!(of("access-control-allow-methods").contains(method));
    }
    for header in ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"] {
        assert!(of("access-control-allow-headers").contains(header));
    }
    let foreign = preflight("https://evil.example").await.unwrap();
    assert_eq!(foreign.status(), 405);
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
    let call = stage.by("alice", Method::GET, "/v1/users/me/presence").header("Origin", "https://app.example");
    let answered = call.send().await.unwrap();
    assert_eq!(answered.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(answered.headers()["access-control-expose-headers"], "Retry-After, X-Request-Id");
    assert_eq!(answered.headers()["vary"], "Origin");
}

#[tokio::test]
async fn user_ids_and_devices_keep_their_bounds() {
    let stage = Stage::new().await;
    let (good, bad) = ("a".repeat(128), "a".repeat(129));
    assert_eq!(stage.get("svc@service", &format!("/v1/users/{good}/presence")).await["user"], good);
    let response = stage.by("svc@service", Method::GET, &format!("/v1/users/{bad}/presence")).send().await.unwrap();
    assert!(problem(response, 400, "invalid_request").await.starts_with("user:"));
    for device in ["", "Web", "a b", &"d".repeat(33)] {
        let response = stage.post("alice", "/v1/users/me/sessions", json!({ "device": device })).await;
        assert!(problem(response, 400, "invalid_request").await.starts_with("device:"), "{device}");
    }
    let longest = stage.post("alice", "/v1/users/me/sessions", json!({ "device": "d".repeat(32) })).await;
    assert_eq!(longest.status(), 201);
}

#[tokio::test]
async fn rooms_and_apps_are_reserved() {
    let stage = Stage::new().await;
    for path in ["/v1/rooms", "/v1/apps", "/v1/rooms/1"] {
        problem(stage.by("alice", Method::GET, path).send().await.unwrap(), 404, "not_found").await;
    }
    let mut socket = stage.observe("alice", "?watch=none").await;
    let error = socket.ask(json!({ "type": "ping", "id": 1, "room": "r" })).await;
    assert_eq!((&error["code"], &error["id"]), (&json!("invalid_request"), &json!(1)));
}

#[tokio::test]
async fn a_scheme_is_read_in_any_case() {
    let stage = Stage::new().await;
    let call =
        stage.call(Method::GET, "/v1/users/me/presence").header("Authorization", format!("bEARER {}", token("alice")));
    assert_eq!(call.send().await.unwrap().status(), 200);
}
