//! What is left of a deleted user: nothing to read, nothing to resume, higher versions when it comes back.

use super::usual as server;
use rollcall_tests::{Client, befriend};
use serde_json::{Value, json};

async fn delete(user: &Client) {
    let _ = server().service().delete(&format!("/v1/users/{}", user.id)).await.must(204);
}

#[tokio::test]
async fn nothing_that_a_user_had_set_is_left() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "text": "x", "expires_in_s": 600})).await;
    alice.adds(&bob).await;
    let _ = alice.put_bare("/v1/users/me/blocks/carol").await.must(204);
    let _ = alice.put("/v1/users/me/privacy", json!({"last_seen": "nobody", "devices": "nobody"})).await.must(200);
    let _ = alice.put("/v1/users/me/profile", json!({"name": "Alice", "meta": {"a": 1}})).await.must(200);
    delete(&alice).await;
    for (path, empty) in [
        ("contacts", json!({"contacts": [], "next": null})),
        ("blocks", json!({"blocks": [], "next": null})),
        ("privacy", json!({"last_seen": "contacts", "devices": "contacts"})),
        ("profile", json!({"name": null, "meta": {}})),
        ("sessions", json!({"sessions": []})),
        ("history", json!({"entries": [], "next": null})),
    ] {
        for reader in [&alice, &server().service()] {
            let read = reader.get(&format!("/v1/users/{}/{path}", alice.id)).await.must(200);
            assert_eq!(read, empty, "{path}, read by {}", reader.id);
        }
    }
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!(setting, json!({"status": "online", "text": null, "meta": {}, "expires_at": null}));
    for reader in [&alice, &bob, &server().service()] {
        assert_eq!(reader.sees(&alice.id).await["version"], 0, "{}", reader.id);
    }
}

#[tokio::test]
async fn sessions_of_a_deleted_user_are_over_and_not_resumed() {
    let [alice] = server().people(["alice"]);
    let http = alice.open("web", "active").await;
    let mut first = alice.connect("watch=none&device=mobile").await;
    let mut second = alice.connect("watch=none&device=bot").await;
    let lost = alice.connect("watch=none&device=tv").await;
    let token = lost.resume();
    drop(lost);
    delete(&alice).await;
    first.ends_with("revoked", 4003, false).await;
    second.ends_with("revoked", 4003, false).await;
    alice.put_bare(&format!("/v1/users/me/sessions/{http}")).await.problem(404, "unknown_session");
    for token in [first.resume(), second.resume(), token] {
        let opened = alice.connect(&format!("watch=none&resume={token}")).await;
        assert_eq!(opened.welcome["resumed"], false);
        opened.close(Some(1000)).await;
    }
}

#[tokio::test]
async fn every_kind_of_watcher_sees_the_never_seen_user() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut contacts = bob.connect("session=false").await;
    let mut explicit = bob.connect("session=false&watch=none").await;
    let mut events = bob.events("", None).await;
    let mut service = server().service().connect("session=false&watch=none").await;
    contacts.until_status(&alice.id, "online").await;
    explicit.watch(json!([alice.id])).await;
    service.watch(json!([alice.id])).await;
    events.until(|t| t.data["presences"][0]["status"] == "online").await;
    delete(&alice).await;
    let never = bob.sees(&alice.id).await;
    assert_eq!(never["version"], 0);
    for socket in [&mut contacts, &mut explicit, &mut service] {
        assert_eq!(socket.until_held(&alice.id, |p| p["version"] == 0).await, never);
    }
    let told = events.until(|t| t.data["presences"][0]["version"] == 0).await;
    assert_eq!(told.data["presences"], json!([never]));
}

#[tokio::test]
async fn others_keep_a_deleted_user_in_their_contacts_and_blocks() {
    let [alice, bob, carol] = server().people(["alice", "bob", "carol"]);
    alice.open("web", "active").await;
    bob.adds(&alice).await;
    let _ = carol.put_bare(&format!("/v1/users/me/blocks/{}", alice.id)).await.must(204);
    delete(&alice).await;
    assert_eq!(bob.get("/v1/users/me/contacts").await.must(200)["contacts"][0]["user"], alice.id.as_str());
    assert_eq!(carol.get("/v1/users/me/blocks").await.must(200)["blocks"][0]["user"], alice.id.as_str());
    befriend(&alice, &carol).await;
    alice.open("web", "active").await;
    assert_eq!(carol.sees(&alice.id).await["version"], 0, "still blocked when it returns");
    bob.open("web", "active").await;
    assert_eq!(alice.sees(&bob.id).await["status"], "online", "and still a contact");
}

#[tokio::test]
async fn versions_rise_over_every_deletion() {
    let [alice] = server().people(["alice"]);
    let mut last = 0;
    for round in 0..4 {
        alice.open("web", "active").await;
        for text in ["a", "b"] {
            let set = alice.set_status(json!({"status": "dnd", "text": text})).await;
            let version = set["presence"]["version"].as_u64().unwrap_or(0);
            assert!(version > last, "round {round}: {last}, then {version}");
            last = version;
        }
        delete(&alice).await;
        assert_eq!(alice.sees("me").await["version"], 0);
    }
}

#[tokio::test]
async fn deleting_somebody_who_never_was_makes_nobody() {
    let [alice, bob] = server().people(["alice", "bob"]);
    for _ in 0..3 {
        delete(&alice).await;
    }
    assert_eq!(alice.sees("me").await["version"], 0);
    assert_eq!(alice.history().await, [] as [Value; 0]);
    alice.adds(&bob).await;
    alice.open("web", "active").await;
    assert_eq!(bob.sees(&alice.id).await["status"], "online");
}

#[tokio::test]
async fn only_a_service_deletes_users() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    for path in ["/v1/users/me".to_owned(), format!("/v1/users/{}", alice.id)] {
        alice.delete(&path).await.problem(403, "forbidden");
    }
    bob.delete(&format!("/v1/users/{}", alice.id)).await.problem(403, "forbidden");
    assert_eq!(alice.sees("me").await["status"], "online");
    let _ = server().admin().delete(&format!("/v1/users/{}", alice.id)).await.must(204);
    assert_eq!(alice.sees("me").await["version"], 0, "admin includes service");
}
