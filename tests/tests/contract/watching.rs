//! What a connection watches: explicit watches and contacts, versions known, and what ends a watch.

use super::usual as server;
use rollcall_tests::{Client, Socket, befriend};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Two friends, the first of them online, and the socket of the second, an observer with this `watch`.
async fn pair(watch: &str) -> (Client, Client, Socket) {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut socket = bob.connect(&format!("session=false&watch={watch}")).await;
    if watch == "contacts" {
        socket.contacts_snapshot().await;
    }
    (alice, bob, socket)
}

async fn remove(user: &Client, contact: &Client) {
    let _ = user.delete(&format!("/v1/users/me/contacts/{}", contact.id)).await.must(204);
}

#[tokio::test]
async fn watching_again_with_the_version_known_brings_nothing() {
    let (alice, _, mut socket) = pair("none").await;
    socket.watch(json!([alice.id])).await;
    let known = socket.version(&alice.id);
    assert!(known > 0);
    assert_eq!(socket.watch(json!({&alice.id: known})).await, [] as [Value; 0]);
    assert_eq!(socket.watch(json!({&alice.id: known - 1})).await, [alice.sees("me").await], "one behind");
    assert_eq!(socket.watch(json!({&alice.id: 0})).await, [alice.sees("me").await], "nothing known");
    alice.set_status(json!({"status": "dnd"})).await;
    socket.until_status(&alice.id, "dnd").await; // watched once, and told once, which the socket checks
    assert!(socket.fence().await.is_empty());
}

#[tokio::test]
async fn one_who_may_not_be_seen_any_more_comes_at_0_where_more_was_known() {
    let (alice, bob, mut socket) = pair("none").await;
    socket.watch(json!([alice.id])).await;
    let known = socket.version(&alice.id);
    drop(socket);
    remove(&alice, &bob).await;
    let mut later = bob.connect("session=false&watch=none").await;
    let snapshot = later.watch(json!({&alice.id: known})).await;
    assert_eq!(snapshot, [bob.sees(&alice.id).await]);
    assert_eq!(snapshot[0]["version"], 0);
    assert_eq!(later.watch(json!({&alice.id: 0})).await, [] as [Value; 0], "0 is known to be 0");
    alice.adds(&bob).await;
    later.until_status(&alice.id, "online").await;
}

#[tokio::test]
async fn duplicates_in_a_watch_and_an_unwatch_count_once() {
    let (alice, bob, mut socket) = pair("none").await;
    let snapshot = socket.watch(json!([alice.id, bob.id, alice.id])).await;
    let users: Vec<&Value> = snapshot.iter().map(|p| &p["user"]).collect();
    assert_eq!(users.len(), 2, "{users:?}");
    socket.must(json!({"type": "unwatch", "users": [alice.id, alice.id]})).await;
    alice.set_status(json!({"status": "dnd"})).await;
    assert!(socket.fence().await.is_empty());
}

#[tokio::test]
async fn an_empty_watch_has_an_empty_snapshot() {
    let (_, _, mut socket) = pair("none").await;
    for users in [json!([]), json!({})] {
        let answer = socket.ask(json!({"type": "watch", "users": users})).await;
        assert_eq!((&answer["type"], &answer["presences"]), (&json!("snapshot"), &json!([])));
    }
    socket.must(json!({"type": "unwatch", "users": []})).await;
}

#[tokio::test]
async fn nothing_of_contacts_comes_to_one_that_watches_none() {
    let (alice, bob, mut socket) = pair("none").await;
    let [carol] = server().people(["carol"]);
    befriend(&carol, &bob).await;
    carol.open("web", "active").await;
    alice.set_status(json!({"status": "dnd"})).await;
    remove(&bob, &alice).await;
    assert!(socket.fence().await.is_empty(), "neither snapshot nor changes nor unwatched");
    // What another user does now is seen, so nothing was still under way.
    socket.watch(json!([carol.id])).await;
    carol.set_status(json!({"status": "away"})).await;
    socket.until_status(&carol.id, "away").await;
    assert_eq!(socket.held(&alice.id), None);
}

#[tokio::test]
async fn a_contact_that_is_watched_explicitly_stays_watched_without_being_one() {
    let (alice, bob, mut socket) = pair("contacts").await;
    socket.watch(json!([alice.id])).await;
    remove(&bob, &alice).await;
    alice.set_status(json!({"status": "dnd"})).await;
    socket.until_status(&alice.id, "dnd").await;
    socket.must(json!({"type": "unwatch", "users": [alice.id]})).await;
    alice.set_status(json!({"status": "away"})).await;
    assert!(socket.fence().await.is_empty());
}

#[tokio::test]
async fn every_contact_removed_at_once_is_named_as_unwatched_once() {
    let [bob] = server().people(["bob"]);
    let friends = server().people(["fay", "fin", "fox"]);
    for friend in &friends {
        befriend(friend, &bob).await;
    }
    let ids: BTreeSet<String> = friends.iter().map(|f| f.id.clone()).collect();
    let mut socket = bob.connect("session=false").await;
    assert_eq!(socket.contacts_snapshot().await.len(), 3);
    let _ = bob.post("/v1/users/me/contacts", json!({"remove": ids})).await.must(200);
    let mut named = Vec::new();
    while named.len() < 3 {
        let frame = socket.until(|f| f["type"] == "unwatched").await;
        assert_eq!(frame.as_object().map(serde_json::Map::len), Some(2), "{frame}");
        named.extend(frame["users"].as_array().expect("users").iter().filter_map(|u| u.as_str().map(String::from)));
    }
    assert_eq!(named.len(), 3, "{named:?}");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), ids);
}

#[tokio::test]
async fn a_contact_that_is_removed_and_added_again_is_watched_again() {
    let (alice, bob, mut socket) = pair("contacts").await;
    remove(&bob, &alice).await;
    socket.until(|f| f["type"] == "unwatched").await;
    let set = alice.set_status(json!({"status": "dnd"})).await;
    bob.adds(&alice).await;
    assert_eq!(socket.until_status(&alice.id, "dnd").await, set["presence"]);
    alice.set_status(json!({"status": "away"})).await;
    socket.until_status(&alice.id, "away").await;
}

#[tokio::test]
async fn an_unwatched_contact_is_watched_again_at_its_next_watch() {
    let (alice, _, mut socket) = pair("contacts").await;
    let known = socket.version(&alice.id);
    socket.must(json!({"type": "unwatch", "users": [alice.id]})).await;
    let missed = alice.set_status(json!({"status": "dnd"})).await;
    let again = socket.watch(json!({&alice.id: known})).await;
    assert_eq!(again, [missed["presence"].clone()], "what was missed");
    alice.set_status(json!({"status": "away"})).await;
    socket.until_status(&alice.id, "away").await;
}

#[tokio::test]
async fn a_new_connection_knows_nothing_of_what_another_one_unwatched() {
    let (alice, bob, mut socket) = pair("contacts").await;
    socket.must(json!({"type": "unwatch", "users": [alice.id]})).await;
    let mut other = bob.connect("session=false").await;
    assert_eq!(other.contacts_snapshot().await, [alice.sees("me").await]);
    alice.set_status(json!({"status": "dnd"})).await;
    other.until_status(&alice.id, "dnd").await;
    assert!(socket.fence().await.is_empty());
}

#[tokio::test]
async fn all_connections_of_a_user_are_told_alike() {
    let (alice, bob, mut first) = pair("contacts").await;
    let mut second = bob.connect("session=false").await;
    let mut third = bob.connect("device=bot").await;
    second.contacts_snapshot().await;
    third.contacts_snapshot().await;
    let set = alice.set_status(json!({"status": "dnd", "text": "all"})).await;
    for socket in [&mut first, &mut second, &mut third] {
        assert_eq!(socket.until_status(&alice.id, "dnd").await, set["presence"]);
    }
}

#[tokio::test]
async fn who_watches_oneself_sees_what_all_see() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none&device=web").await;
    socket.watch(json!([alice.id])).await;
    socket.must(json!({"type": "status", "status": "invisible", "text": "hush"})).await;
    let shown = socket.until_status(&alice.id, "offline").await;
    assert_eq!((&shown["text"], &shown["devices"]), (&Value::Null, &json!([])));
    let _ = alice.put("/v1/users/me/privacy", json!({"last_seen": "nobody"})).await.must(200);
    let hidden = socket.until_held(&alice.id, |p| p["last_seen"] == Value::Null).await;
    assert_eq!(hidden, alice.sees("me").await);
    assert!(hidden["version"].as_u64() > shown["version"].as_u64());
}

#[tokio::test]
async fn a_service_is_told_of_everybody_it_watches() {
    let [alice] = server().people(["alice"]);
    let service = server().service();
    let mut socket = service.connect("session=false&watch=none").await;
    assert_eq!(socket.welcome["user"], service.id.as_str(), "the user is the sub, whatever the scope");
    socket.watch(json!([alice.id])).await;
    alice.open("web", "active").await;
    socket.until_status(&alice.id, "online").await;
    let _ = alice.put_bare(&format!("/v1/users/me/blocks/{}", service.id)).await.must(204);
    alice.set_status(json!({"status": "dnd"})).await;
    socket.until_status(&alice.id, "dnd").await;
}

#[tokio::test]
async fn a_reader_that_pauses_gets_the_latest_state_and_nothing_older() {
    let (alice, _, mut socket) = pair("contacts").await;
    let mut last = Value::Null;
    for number in 0..60 {
        last = alice.set_status(json!({"status": "dnd", "text": format!("{number}")})).await["presence"].clone();
    }
    // Versions never fall on the way, which the socket checks.
    socket.until_held(&alice.id, |p| *p == last).await;
    assert!(socket.fence().await.is_empty(), "the latest was the last");
}

#[tokio::test]
async fn what_is_undone_at_once_leaves_the_last_word_with_every_watcher() {
    let (alice, bob, mut socket) = pair("contacts").await;
    for _ in 0..10 {
        alice.set_status(json!({"status": "dnd"})).await;
        let _ = alice.put_bare(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
        let _ = alice.delete(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
        let _ = alice.delete("/v1/users/me/status").await.must(200);
    }
    let last = alice.set_status(json!({"status": "away", "text": "done"})).await["presence"].clone();
    socket.until_held(&alice.id, |p| *p == last).await;
    assert!(socket.fence().await.is_empty());
}
