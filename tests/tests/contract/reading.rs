//! Reads: presence, query, history, profile; and what is left to read of a deleted user.

use super::usual as server;
use rollcall_tests::{Client, befriend};
use serde_json::{Value, json};

async fn history(user: &Client, query: &str) -> (Vec<Value>, Option<String>) {
    let page = user.get(&format!("/v1/users/me/history{query}")).await.must(200);
    let entries = page["entries"].as_array().expect("entries").clone();
    (entries, page["next"].as_str().map(Into::into))
}

#[tokio::test]
async fn a_query_answers_in_the_order_asked_with_duplicates_kept() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let asked = json!(["nobody", alice.id, bob.id, alice.id, "nobody"]);
    let answer = bob.post("/v1/presence/query", json!({"users": asked})).await.must(200);
    let presences = answer["presences"].as_array().expect("presences");
    let order: Vec<&Value> = presences.iter().map(|p| &p["user"]).collect();
    assert_eq!(json!(order), asked);
    assert_eq!(presences[1], alice.sees("me").await);
    assert_eq!(presences[1], presences[3]);
    let empty = bob.post("/v1/presence/query", json!({"users": []})).await.must(200);
    assert_eq!(empty, json!({"presences": []}));
}

#[tokio::test]
async fn a_query_has_bounds() {
    let [alice] = server().people(["alice"]);
    let many = |n: usize| (0..n).map(|i| format!("q{i}")).collect::<Vec<_>>();
    let full = alice.post("/v1/presence/query", json!({"users": many(500)})).await.must(200);
    assert_eq!(full["presences"].as_array().map(Vec::len), Some(500));
    for bad in [
        json!({"users": many(501)}),
        json!({"users": ["bad id"]}),
        json!({"users": "alice"}),
        json!({"user": ["alice"]}),
        json!({}),
    ] {
        alice.post("/v1/presence/query", bad).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn history_comes_newest_first_in_pages_and_time_windows() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    for number in 0..25 {
        alice.set_status(json!({"status": "dnd", "text": format!("{number}")})).await;
    }
    let (all, next) = history(&alice, "").await;
    assert_eq!((all.len(), next), (26, None));
    for entry in &all {
        let mut fields: Vec<&String> = entry.as_object().expect("an entry").keys().collect();
        fields.sort();
        assert_eq!(fields, ["at", "reason", "status", "text", "version"]);
    }
    assert_eq!((&all[0]["text"], &all[25]["reason"]), (&json!("24"), &json!("connected")));
    assert!(all.windows(2).all(|w| w[0]["at"].as_u64() >= w[1]["at"].as_u64()));

    let mut paged = Vec::new();
    let mut query = "?limit=7".to_owned();
    loop {
        let (entries, next) = history(&alice, &query).await;
        assert!(entries.len() <= 7);
        paged.extend(entries);
        let Some(next) = next else { break };
        query = format!("?limit=7&cursor={next}");
    }
    assert_eq!(paged, all, "pages are the whole, once");

    let (from, to) = (all[20]["at"].as_u64().expect("at"), all[5]["at"].as_u64().expect("at"));
    let (window, _) = history(&alice, &format!("?from={from}&to={to}")).await;
    let expected: Vec<Value> =
        all.iter().filter(|e| (from..to).contains(&e["at"].as_u64().unwrap_or(0))).cloned().collect();
    assert_eq!(window, expected, "from ≤ at < to");
    assert_eq!(history(&alice, "?from=0&to=1").await.0, [] as [Value; 0]);
}

#[tokio::test]
async fn history_is_read_by_the_user_and_services_only() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.set_status(json!({"status": "invisible", "text": "hush"})).await;
    let path = format!("/v1/users/{}/history", alice.id);
    bob.get(&path).await.problem(403, "forbidden");
    let read = server().service().get(&path).await.must(200);
    assert_eq!(read, alice.get(&path).await.must(200));
    assert_eq!(read["entries"][0]["reason"], "status_set");
}

#[tokio::test]
async fn a_profile_is_kept_and_seen_by_whoever_sees_the_presence() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.adds(&bob).await;
    let path = "/v1/users/me/profile";
    let none = json!({"name": null, "meta": {}});
    assert_eq!(alice.get(path).await.must(200), none);
    let full = json!({"name": "Alice A.", "meta": {"avatar": "a.png"}});
    assert_eq!(alice.put(path, full.clone()).await.must(200), full);
    assert_eq!(alice.get(path).await.must(200), full);
    let others = format!("/v1/users/{}/profile", alice.id);
    assert_eq!(bob.get(&others).await.must(200), full);
    assert_eq!(alice.put(path, json!({"name": ""})).await.must(200), none, "replaced as a whole");
    let reply = alice.delete(path).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert_eq!(bob.get(&others).await.must(200), none);
    let meta_of = |bytes: usize| json!({"k": "m".repeat(bytes - r#"{"k":""}"#.len())});
    let _ = alice.put(path, json!({"name": "n".repeat(128), "meta": meta_of(4_096)})).await.must(200);
    for (bad, field) in [
        (json!({"name": "n".repeat(129)}), "name"),
        (json!({"meta": meta_of(4_097)}), "meta"),
        (json!({"meta": 1}), "meta"),
        (json!({"nick": "a"}), "nick"),
    ] {
        let detail = alice.put(path, bad).await.problem(400, "invalid_request");
        assert!(detail.contains(field), "{detail}");
    }
}

#[tokio::test]
async fn bad_privacy_settings_are_refused() {
    let [alice] = server().people(["alice"]);
    for bad in [json!({"last_seen": "everyone"}), json!({"devices": true}), json!({"status": "nobody"})] {
        alice.put("/v1/users/me/privacy", bad).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_deleted_user_is_never_seen_until_it_returns_at_higher_versions() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut socket = alice.connect("watch=none").await;
    alice.set_status(json!({"status": "dnd", "text": "x"})).await;
    let _ = alice.put("/v1/users/me/profile", json!({"name": "Alice"})).await.must(200);
    let mut friend = bob.connect("session=false").await;
    let before = friend.until_status(&alice.id, "dnd").await;

    let reply = server().service().delete(&format!("/v1/users/{}", alice.id)).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    friend.until_held(&alice.id, |p| p["version"] == 0).await;
    socket.ends_with("revoked", 4003, false).await;
    assert_eq!(alice.sees("me").await["version"], 0);
    for (path, empty) in [
        ("history", json!({"entries": [], "next": null})),
        ("contacts", json!({"contacts": [], "next": null})),
        ("sessions", json!({"sessions": []})),
        ("profile", json!({"name": null, "meta": {}})),
    ] {
        assert_eq!(alice.get(&format!("/v1/users/me/{path}")).await.must(200), empty, "{path}");
    }
    let list = bob.get("/v1/users/me/contacts").await.must(200);
    assert_eq!(list["contacts"][0]["user"], alice.id.as_str(), "others' lists keep the id");
    let _ = server().service().delete(&format!("/v1/users/{}", alice.id)).await.must(204);

    alice.open("web", "active").await;
    let back = alice.sees("me").await;
    assert_eq!(back["status"], "online", "afresh: the setting is gone");
    assert!(back["version"].as_u64() > before["version"].as_u64(), "{before}, then {back}");
    alice.adds(&bob).await;
    assert_eq!(friend.until_status(&alice.id, "online").await, back);
    assert_eq!(alice.reasons().await, ["connected"]);
}
