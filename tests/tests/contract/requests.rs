//! Section 1, request by request: every route's methods, parameters and fields, what is reserved, how ids are written.

use super::{
    errors::{JSON, raw},
    usual as server,
};
use rollcall_tests::befriend;
use serde_json::{Value, json};

/// Every route under `/v1` that a user's token opens, with the methods it has.
const ROUTES: [(&str, &[&str]); 17] = [
    ("/v1/users/me", &["DELETE"]),
    ("/v1/users/me/presence", &["GET"]),
    ("/v1/users/me/history", &["GET"]),
    ("/v1/users/me/sessions", &["GET", "POST"]),
    ("/v1/users/me/sessions/some-session", &["PUT", "DELETE"]),
    ("/v1/users/me/status", &["GET", "PUT", "DELETE"]),
    ("/v1/users/me/contacts", &["GET", "POST"]),
    ("/v1/users/me/contacts/somebody", &["PUT", "DELETE"]),
    ("/v1/users/me/blocks", &["GET", "POST"]),
    ("/v1/users/me/blocks/somebody", &["PUT", "DELETE"]),
    ("/v1/users/me/privacy", &["GET", "PUT"]),
    ("/v1/users/me/profile", &["GET", "PUT", "DELETE"]),
    ("/v1/presence/query", &["POST"]),
    ("/v1/connect", &["GET"]),
    ("/v1/events", &["GET"]),
    ("/v1/cluster/status", &["GET"]),
    ("/v1/cluster/locate/somebody", &["GET"]),
];

#[tokio::test]
async fn every_route_refuses_every_other_method_and_names_exactly_its_own() {
    for (path, methods) in ROUTES {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            if methods.contains(&method) {
                continue;
            }
            let reply = raw(None, &format!("{method} {path}"), &[], "").await;
            reply.problem(405, "method_not_allowed");
            let allow = reply.header("allow").unwrap_or_else(|| panic!("no Allow for {method} {path}"));
            let mut allowed: Vec<&str> =
                allow.split(',').map(str::trim).filter(|m| !matches!(*m, "HEAD" | "OPTIONS")).collect();
            allowed.sort_unstable();
            let mut expected = methods.to_vec();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_on_every_route() {
    let admin = server().admin();
    for (path, methods) in ROUTES {
        for method in methods {
            let body = match (*method, path) {
                ("PUT", "/v1/users/me/status") => Some(json!({"status": "dnd"})),
                ("POST", "/v1/presence/query") => Some(json!({"users": []})),
                _ => None,
            };
            let asked = format!("{path}?surprise=1");
            let reply = admin.send(method, &asked, &[], body.as_ref()).await;
            let detail = reply.problem(400, "invalid_request");
            assert!(path == "/v1/connect" || detail.contains("surprise"), "{method} {path}: {detail}");
        }
    }
    assert_eq!(admin.get("/v1/users/me/status").await.must(200)["setting"]["status"], "online", "nothing took effect");
}

#[tokio::test]
async fn a_get_of_every_route_implies_a_head() {
    let admin = server().admin();
    for path in [
        "/v1/users/me/presence",
        "/v1/users/me/history",
        "/v1/users/me/sessions",
        "/v1/users/me/status",
        "/v1/users/me/contacts",
        "/v1/users/me/blocks",
        "/v1/users/me/privacy",
        "/v1/users/me/profile",
        "/v1/cluster/status",
        "/v1/cluster/locate/me",
    ] {
        let get = admin.get(path).await;
        let head = admin.send("HEAD", path, &[], None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for name in ["content-type", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
        let refused = raw(None, &format!("HEAD {path}"), &[], "").await;
        assert_eq!((refused.status, refused.body.as_str()), (401, ""), "{path}");
    }
}

#[tokio::test]
async fn unknown_and_repeated_fields_are_refused_in_every_body() {
    let [alice] = server().people(["alice"]);
    let session = format!("/v1/users/me/sessions/{}", alice.open("web", "active").await);
    for (method, path, field, value) in [
        ("POST", "/v1/users/me/sessions", "device", r#""web""#),
        ("PUT", session.as_str(), "activity", r#""idle""#),
        ("PUT", "/v1/users/me/status", "status", r#""dnd""#),
        ("POST", "/v1/users/me/contacts", "add", r#"["x"]"#),
        ("POST", "/v1/users/me/blocks", "add", r#"["x"]"#),
        ("PUT", "/v1/users/me/privacy", "devices", r#""nobody""#),
        ("PUT", "/v1/users/me/profile", "name", r#""x""#),
        ("POST", "/v1/presence/query", "users", r#"["x"]"#),
    ] {
        let line = format!("{method} {path}");
        for body in [
            format!(r#"{{"{field}":{value},"surprise":1}}"#),
            format!(r#"{{"{field}":{value},"surprise":null}}"#),
            format!(r#"{{"{field}":{value},"{field}":{value}}}"#),
            format!(r#"{{"{field}":{value}"#),
            format!(r#"[{value}]"#),
        ] {
            raw(Some(&alice), &line, &[JSON], &body).await.problem(400, "invalid_request");
        }
    }
    for (path, untouched) in [
        ("contacts", json!({"contacts": [], "next": null})),
        ("blocks", json!({"blocks": [], "next": null})),
        ("privacy", json!({"last_seen": "contacts", "devices": "contacts"})),
        ("profile", json!({"name": null, "meta": {}})),
    ] {
        assert_eq!(alice.get(&format!("/v1/users/me/{path}")).await.must(200), untouched);
    }
    assert_eq!(alice.reasons().await, ["connected"]);
}

#[tokio::test]
async fn a_body_with_only_optional_fields_may_be_absent() {
    let [alice] = server().people(["alice"]);
    for list in ["contacts", "blocks"] {
        let changed = alice.send("POST", &format!("/v1/users/me/{list}"), &[], None).await;
        assert_eq!(changed.must(200), json!({"total": 0}));
    }
    let _ = alice.put("/v1/users/me/profile", json!({"name": "Alice"})).await.must(200);
    assert_eq!(alice.put_bare("/v1/users/me/profile").await.must(200), json!({"name": null, "meta": {}}));
    let session = alice.open("web", "active").await;
    let _ = alice.put_bare(&format!("/v1/users/me/sessions/{session}")).await.must(204);
    // These require a field.
    alice.put_bare("/v1/users/me/status").await.problem(400, "invalid_request");
    alice.send("POST", "/v1/presence/query", &[], None).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn an_absent_or_null_field_takes_its_default() {
    let [alice] = server().people(["alice"]);
    let path = "/v1/users/me/privacy";
    let hidden = json!({"last_seen": "nobody", "devices": "nobody"});
    let shown = json!({"last_seen": "contacts", "devices": "contacts"});
    for (body, expected) in [
        (json!({}), shown.clone()),
        (json!({"last_seen": null, "devices": null}), shown.clone()),
        (json!({"last_seen": "nobody"}), json!({"last_seen": "nobody", "devices": "contacts"})),
        (json!({"devices": "nobody", "last_seen": null}), json!({"last_seen": "contacts", "devices": "nobody"})),
    ] {
        let _ = alice.put(path, hidden.clone()).await.must(200);
        assert_eq!(alice.put(path, body.clone()).await.must(200), expected, "{body}");
        assert_eq!(alice.get(path).await.must(200), expected, "{body}");
    }
    let profile = json!({"name": null, "meta": null});
    assert_eq!(alice.put("/v1/users/me/profile", profile).await.must(200), json!({"name": null, "meta": {}}));
}

#[tokio::test]
async fn reserved_paths_answer_404_to_every_method_with_and_without_a_token() {
    let admin = server().admin();
    for path in ["/v1/rooms", "/v1/rooms/lobby/users", "/v1/apps", "/v1/apps/main"] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            raw(None, &format!("{method} {path}"), &[], "").await.problem(404, "not_found");
            admin.send(method, path, &[], None).await.problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_user_of_every_allowed_character_lives_a_whole_life() {
    let [bob] = server().people(["bob"]);
    let id = format!("Z.y_x~w:v@u+t-{}", bob.id);
    let odd = server().client(&id, "user");
    befriend(&odd, &bob).await;
    let mut friend = bob.connect("").await;
    odd.open("web", "active").await;
    friend.until_status(&id, "online").await;
    let set = odd.set_status(json!({"status": "dnd", "text": "x"})).await;
    assert_eq!(bob.sees(&id).await, set["presence"]);
    let encoded: String = id.bytes().map(|b| format!("%{b:02X}")).collect();
    assert_eq!(bob.sees(&encoded).await, set["presence"], "decoded once");
    let encoded = encoded.to_lowercase();
    let told = bob.events(&format!("users={encoded}"), None).await.next().await;
    assert_eq!(told.data["presences"], json!([set["presence"]]));
    let queried = bob.post("/v1/presence/query", json!({"users": [id]})).await.must(200);
    assert_eq!(queried["presences"], json!([set["presence"]]));
    assert_eq!(server().admin().get(&format!("/v1/cluster/locate/{encoded}")).await.must(200)["user"], id);
}

#[tokio::test]
async fn a_plus_in_a_query_is_a_space_and_in_a_path_itself() {
    let [bob] = server().people(["bob"]);
    bob.get("/v1/events?users=a+b").await.problem(400, "invalid_request");
    let told = bob.events("users=a%2Bb", None).await.next().await;
    assert_eq!(told.data["presences"][0]["user"], "a+b");
    assert_eq!(bob.sees("a+b").await["user"], "a+b");
    // Decoded once: what is encoded twice names another character that no id has.
    bob.get("/v1/events?users=a%252Bb").await.problem(400, "invalid_request");
}

#[tokio::test]
async fn ids_are_told_apart_byte_by_byte() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let upper = server().client(&alice.id.to_uppercase(), "user");
    upper.adds(&bob).await;
    upper.open("web", "active").await;
    assert_eq!(alice.sees("me").await["version"], 0);
    assert_eq!(bob.sees(&upper.id).await["status"], "online");
    assert_eq!(bob.sees(&alice.id).await["version"], 0);
}

#[tokio::test]
async fn me_stands_for_the_tokens_user_in_a_path_and_nowhere_else() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    for path in ["presence", "status", "sessions", "history", "contacts", "privacy", "profile"] {
        let (mine, named) = (format!("/v1/users/me/{path}"), format!("/v1/users/{}/{path}", alice.id));
        assert_eq!(alice.get(&mine).await.must(200), alice.get(&named).await.must(200), "{path}");
    }
    for list in ["contacts", "blocks"] {
        alice.put_bare(&format!("/v1/users/me/{list}/me")).await.problem(400, "invalid_request");
        let body = json!({"remove": ["me"]});
        alice.post(&format!("/v1/users/me/{list}"), body).await.problem(400, "invalid_request");
    }
    let admin = server().admin();
    assert_eq!(admin.get("/v1/cluster/locate/me").await.must(200)["user"], admin.id.as_str());
}

#[tokio::test]
async fn a_new_session_is_where_its_location_says() {
    let [alice] = server().people(["alice"]);
    for user in ["me", alice.id.as_str()] {
        let opened = alice.post(&format!("/v1/users/{user}/sessions"), json!({})).await;
        let _ = opened.must(201);
        let location = opened.header("location").expect("Location").to_owned();
        assert!(location.starts_with("/v1/users/"), "{location}");
        let _ = alice.put(&location, json!({"activity": "idle"})).await.must(204);
        let _ = alice.delete(&location).await.must(204);
        alice.put_bare(&location).await.problem(404, "unknown_session");
    }
}

#[tokio::test]
async fn a_body_is_json_by_its_type_and_nothing_else() {
    let [alice] = server().people(["alice"]);
    let body = r#"{"status":"dnd"}"#;
    let line = "PUT /v1/users/me/status";
    for kind in ["text/json", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"] {
        let header = format!("Content-Type: {kind}");
        let reply = raw(Some(&alice), line, &[&header], body).await;
        reply.problem(415, "unsupported_media_type");
    }
    raw(Some(&alice), line, &[], body).await.problem(415, "unsupported_media_type");
    let zipped = [JSON, "Content-Encoding: gzip"];
    raw(Some(&alice), line, &zipped, body).await.problem(415, "unsupported_media_type");
    assert_eq!(alice.get("/v1/users/me/status").await.must(200)["setting"]["status"], "online");
    let _ = raw(Some(&alice), line, &["Content-Type: Application/JSON"], body).await.must(200);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_read_refusals_too() {
    let [alice] = server().people(["alice"]);
    let origin = "Origin: https://app.example";
    for (user, line, status) in [
        (None, "GET /v1/users/alice/presence", 401),
        (Some(&alice), "GET /v1/users/alice/status", 403),
        (Some(&alice), "GET /v1/nothing", 404),
        (Some(&alice), "PATCH /v1/users/me/status", 405),
        (Some(&alice), "GET /v1/users/me/history?limit=0", 400),
    ] {
        let reply = raw(user, line, &[origin], "").await;
        assert_eq!(reply.status, status, "{line}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"), "{line}");
        let foreign = raw(user, line, &["Origin: https://evil.example"], "").await;
        assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (status, None), "{line}");
    }
}

#[tokio::test]
async fn a_preflight_needs_no_token_on_any_route() {
    for (path, methods) in ROUTES {
        for method in methods {
            let asked = format!("Access-Control-Request-Method: {method}");
            let headers = ["Origin: https://app.example", &asked, "Access-Control-Request-Headers: authorization"];
            let reply = raw(None, &format!("OPTIONS {path}"), &headers, "").await;
            assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
            let allowed = reply.header("access-control-allow-methods").unwrap_or_default();
            assert!(allowed.contains(method), "{method} {path}: {allowed}");
            assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_request_id_of_the_client_is_in_every_problem() {
    let [alice] = server().people(["alice"]);
    for (user, line, status) in [
        (None, "GET /v1/users/alice/presence", 401),
        (Some(&alice), "GET /v1/users/alice/status", 403),
        (Some(&alice), "GET /nowhere", 404),
        (Some(&alice), "PATCH /v1/users/me/status", 405),
    ] {
        let reply = raw(user, line, &["X-Request-Id: traced-1234"], "").await;
        assert_eq!((reply.status, reply.header("x-request-id")), (status, Some("traced-1234")), "{line}");
        assert_eq!(reply.json()["request_id"], Value::from("traced-1234"), "{line}");
    }
}
