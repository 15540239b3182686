//! `Idempotency-Key`: one effect and one answer for ten minutes, on every write under a user.

use super::usual as server;
use rollcall_tests::{Client, Reply};
use serde_json::{Value, json};

async fn keyed(user: &Client, key: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
    user.send(method, path, &[("idempotency-key", key)], body.as_ref()).await
}

const SESSIONS: &str = "/v1/users/me/sessions";
const STATUS: &str = "/v1/users/me/status";

async fn session_count(user: &Client) -> usize {
    user.get(SESSIONS).await.must(200)["sessions"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_repeated_post_opens_one_session() {
    let [alice] = server().people(["alice"]);
    let body = Some(json!({"device": "web"}));
    let first = keyed(&alice, "open-1", "POST", SESSIONS, body.clone()).await;
    let _ = first.must(201);
    for _ in 0..3 {
        let again = keyed(&alice, "open-1", "POST", SESSIONS, body.clone()).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(session_count(&alice).await, 1);
    let second = keyed(&alice, "open-2", "POST", SESSIONS, body).await.must(201);
    assert_ne!(second, first.json());
    assert_eq!(session_count(&alice).await, 2);
}

#[tokio::test]
async fn a_repeated_write_has_no_effect_after_another_one() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    let set = Some(json!({"status": "dnd", "text": "first"}));
    let first = keyed(&alice, "k", "PUT", STATUS, set.clone()).await;
    let _ = first.must(200);
    let later = alice.set_status(json!({"status": "away"})).await;
    let again = keyed(&alice, "k", "PUT", STATUS, set).await;
    assert_eq!((again.status, &again.body), (200, &first.body), "the first answer");
    assert_eq!(alice.get(STATUS).await.must(200), later, "and no effect");
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_set"]);
}

#[tokio::test]
async fn another_request_under_the_key_is_a_conflict() {
    let [alice] = server().people(["alice"]);
    let set = json!({"status": "dnd"});
    let _ = keyed(&alice, "k", "PUT", STATUS, Some(set.clone())).await.must(200);
    let before = alice.get(STATUS).await.must(200);
    keyed(&alice, "k", "PUT", STATUS, Some(json!({"status": "away"}))).await.problem(409, "conflict");
    keyed(&alice, "k", "DELETE", STATUS, None).await.problem(409, "conflict");
    keyed(&alice, "k", "PUT", "/v1/users/me/contacts/bob", None).await.problem(409, "conflict");
    keyed(&alice, "k", "POST", SESSIONS, None).await.problem(409, "conflict");
    assert_eq!(alice.get(STATUS).await.must(200), before);
    assert_eq!(session_count(&alice).await, 0);
    let _ = keyed(&alice, "k", "PUT", STATUS, Some(set)).await.must(200);
}

#[tokio::test]
async fn every_write_under_a_user_takes_a_key() {
    let [alice] = server().people(["alice"]);
    let session = format!("{SESSIONS}/{}", alice.open("web", "active").await);
    let writes = [
        ("PUT", session.as_str(), Some(json!({"activity": "idle"})), 204),
        ("PUT", STATUS, Some(json!({"status": "dnd"})), 200),
        ("DELETE", STATUS, None, 200),
        ("PUT", "/v1/users/me/contacts/bob", None, 204),
        ("DELETE", "/v1/users/me/contacts/bob", None, 204),
        ("POST", "/v1/users/me/contacts", Some(json!({"add": ["carol"]})), 200),
        ("PUT", "/v1/users/me/blocks/dave", None, 204),
        ("POST", "/v1/users/me/blocks", Some(json!({"add": ["erin"]})), 200),
        ("PUT", "/v1/users/me/privacy", Some(json!({"devices": "nobody"})), 200),
        ("PUT", "/v1/users/me/profile", Some(json!({"name": "Alice"})), 200),
        ("DELETE", "/v1/users/me/profile", None, 204),
        ("DELETE", session.as_str(), None, 204),
    ];
    for (number, (method, path, body, status)) in writes.into_iter().enumerate() {
        let key = format!("write-{number}");
        let first = keyed(&alice, &key, method, path, body.clone()).await;
        assert_eq!(first.status, status, "{method} {path}: {first:?}");
        let again = keyed(&alice, &key, method, path, body).await;
        assert_eq!((again.status, again.body), (first.status, first.body), "{method} {path}");
        keyed(&alice, &key, "PUT", "/v1/users/me/contacts/other", None).await.problem(409, "conflict");
    }
}

#[tokio::test]
async fn repeated_contacts_keep_the_first_total() {
    let [alice] = server().people(["alice"]);
    let path = "/v1/users/me/contacts";
    let change = Some(json!({"add": ["a", "b"]}));
    assert_eq!(keyed(&alice, "k", "POST", path, change.clone()).await.must(200), json!({"total": 2}));
    let _ = alice.delete("/v1/users/me/contacts/a").await.must(204);
    assert_eq!(keyed(&alice, "k", "POST", path, change).await.must(200), json!({"total": 2}));
    let list = alice.get(path).await.must(200);
    assert_eq!(list["contacts"].as_array().map(Vec::len), Some(1), "a was not added again");
}

#[tokio::test]
async fn a_key_belongs_to_the_user_whoever_sends_it() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let service = server().service();
    let body = Some(json!({"device": "web"}));
    let first = keyed(&alice, "shared", "POST", SESSIONS, body.clone()).await.must(201);
    let other = keyed(&bob, "shared", "POST", SESSIONS, body.clone()).await.must(201);
    assert_ne!(first["session"], other["session"], "another user's key is another key");
    let path = format!("/v1/users/{}/status", alice.id);
    keyed(&service, "shared", "PUT", &path, Some(json!({"status": "dnd"}))).await.problem(409, "conflict");
    assert_eq!(session_count(&alice).await, 1);
}

#[tokio::test]
async fn the_latest_sixteen_keys_are_remembered() {
    let [alice] = server().people(["alice"]);
    let body = Some(json!({"device": "web"}));
    let first = keyed(&alice, "key-0", "POST", SESSIONS, body.clone()).await.must(201);
    for number in 1..16 {
        let path = format!("/v1/users/me/contacts/c{number}");
        let _ = keyed(&alice, &format!("key-{number}"), "PUT", &path, None).await.must(204);
    }
    assert_eq!(keyed(&alice, "key-0", "POST", SESSIONS, body.clone()).await.must(201), first, "one of sixteen");
    for number in 16..32 {
        let path = format!("/v1/users/me/contacts/c{number}");
        let _ = keyed(&alice, &format!("key-{number}"), "PUT", &path, None).await.must(204);
    }
    let fresh = keyed(&alice, "key-0", "POST", SESSIONS, body).await.must(201);
    assert_ne!(fresh["session"], first["session"], "sixteen later ones have pushed it out");
}

#[tokio::test]
async fn a_bad_key_is_refused() {
    let [alice] = server().people(["alice"]);
    let long = "k".repeat(65);
    for key in ["", long.as_str(), "with space", "tab\there"] {
        keyed(&alice, key, "PUT", "/v1/users/me/contacts/bob", None).await.problem(400, "invalid_request");
    }
    let longest = "!".repeat(64);
    let _ = keyed(&alice, &longest, "PUT", "/v1/users/me/contacts/bob", None).await.must(204);
}

#[tokio::test]
async fn a_malformed_request_does_not_use_up_its_key() {
    let [alice] = server().people(["alice"]);
    let bad = keyed(&alice, "k", "PUT", STATUS, Some(json!({"status": "nonsense"}))).await;
    bad.problem(400, "invalid_request");
    let _ = keyed(&alice, "k", "PUT", STATUS, Some(json!({"status": "dnd"}))).await.must(200);
}
