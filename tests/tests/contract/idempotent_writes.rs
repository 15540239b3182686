//! Idempotency, write by write: `PUT` and `DELETE` without a key, and keys where their effect could be missed.

use super::usual as server;
use serde_json::{Value, json};

#[tokio::test]
async fn puts_and_deletes_repeated_without_a_key_change_nothing_more() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    for (method, path, body) in [
        ("PUT", "/v1/users/me/status", Some(json!({"status": "dnd", "text": "x"}))),
        ("DELETE", "/v1/users/me/status", None),
        ("PUT", "/v1/users/me/contacts/bob", None),
        ("DELETE", "/v1/users/me/contacts/bob", None),
        ("PUT", "/v1/users/me/blocks/bob", None),
        ("DELETE", "/v1/users/me/blocks/bob", None),
        ("PUT", "/v1/users/me/privacy", Some(json!({"devices": "nobody"}))),
        ("PUT", "/v1/users/me/profile", Some(json!({"name": "Alice"}))),
        ("DELETE", "/v1/users/me/profile", None),
    ] {
        let first = alice.send(method, path, &[], body.as_ref()).await;
        assert!((200..300).contains(&first.status), "{method} {path}: {first:?}");
        let before = alice.sees("me").await;
        for _ in 0..2 {
            let again = alice.send(method, path, &[], body.as_ref()).await;
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{method} {path}");
        }
        assert_eq!(alice.sees("me").await, before, "{method} {path}");
    }
}

#[tokio::test]
async fn deleting_what_is_not_there_is_204() {
    let [alice] = server().people(["alice"]);
    for path in ["sessions/never-was", "contacts/nobody", "blocks/nobody", "profile"] {
        let reply = alice.delete(&format!("/v1/users/me/{path}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{path}");
    }
    assert_eq!(alice.history().await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_removal_under_a_key_is_not_done_again() {
    for list in ["contacts", "blocks"] {
        let [alice] = server().people(["alice"]);
        let path = format!("/v1/users/me/{list}/bob");
        let _ = alice.put_bare(&path).await.must(204);
        let key = [("idempotency-key", "remove-1")];
        let _ = alice.send("DELETE", &path, &key, None).await.must(204);
        let _ = alice.put_bare(&path).await.must(204);
        let _ = alice.send("DELETE", &path, &key, None).await.must(204);
        let listed = alice.get(&format!("/v1/users/me/{list}")).await.must(200);
        assert_eq!(listed[list][0]["user"], "bob", "added again since, and kept");
    }
}

#[tokio::test]
async fn clearing_a_status_under_a_key_is_not_done_again() {
    let [alice] = server().people(["alice"]);
    let path = "/v1/users/me/status";
    alice.set_status(json!({"status": "dnd"})).await;
    let key = [("idempotency-key", "clear-1")];
    let first = alice.send("DELETE", path, &key, None).await;
    assert_eq!(first.must(200)["setting"]["status"], "online");
    alice.set_status(json!({"status": "away"})).await;
    let again = alice.send("DELETE", path, &key, None).await;
    assert_eq!((again.status, again.body), (200, first.body));
    assert_eq!(alice.get(path).await.must(200)["setting"]["status"], "away");
}

#[tokio::test]
async fn a_profile_and_a_privacy_setting_under_a_key_keep_their_first_answer() {
    let [alice] = server().people(["alice"]);
    for (path, first, later) in [
        ("/v1/users/me/profile", json!({"name": "One"}), json!({"name": "Two"})),
        ("/v1/users/me/privacy", json!({"devices": "nobody"}), json!({"last_seen": "nobody"})),
    ] {
        let key = [("idempotency-key", path)];
        let answer = alice.send("PUT", path, &key, Some(&first)).await;
        let _ = answer.must(200);
        let kept = alice.put(path, later).await.must(200);
        let again = alice.send("PUT", path, &key, Some(&first)).await;
        assert_eq!((again.status, again.body), (200, answer.body), "{path}");
        assert_eq!(alice.get(path).await.must(200), kept, "{path}");
    }
}

#[tokio::test]
async fn a_heartbeat_under_a_key_keeps_its_activity_to_itself() {
    let [alice] = server().people(["alice"]);
    let path = format!("/v1/users/me/sessions/{}", alice.open("web", "active").await);
    let key = [("idempotency-key", "beat-1")];
    let idle = json!({"activity": "idle"});
    let _ = alice.send("PUT", &path, &key, Some(&idle)).await.must(204);
    let _ = alice.put(&path, json!({"activity": "active"})).await.must(204);
    let _ = alice.send("PUT", &path, &key, Some(&idle)).await.must(204);
    assert_eq!(alice.sees("me").await["status"], "online", "the key's effect was before");
}

#[tokio::test]
async fn the_deletion_of_a_user_takes_a_key_too() {
    let [alice] = server().people(["alice"]);
    let service = server().service();
    let path = format!("/v1/users/{}", alice.id);
    let key = [("idempotency-key", "forget-1")];
    alice.open("web", "active").await;
    for _ in 0..2 {
        let reply = service.send("DELETE", &path, &key, None).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    }
    assert_eq!(alice.sees("me").await["version"], 0);
}

#[tokio::test]
async fn a_key_on_a_read_or_a_query_is_of_no_consequence() {
    let [alice] = server().people(["alice"]);
    let key = [("idempotency-key", "read-1")];
    let _ = alice.send("GET", "/v1/users/me/presence", &key, None).await.must(200);
    let query = json!({"users": ["x"]});
    let _ = alice.send("POST", "/v1/presence/query", &key, Some(&query)).await.must(200);
    let _ = alice.send("PUT", "/v1/users/me/contacts/bob", &key, None).await.must(204);
}
