//! Section 9 to its end: large snapshots, corrections, what was lost between two streams, and the goodbye.

use super::usual as server;
use rollcall_tests::{Claims, Client, befriend, now_s};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn friends() -> (Client, Client) {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    (alice, bob)
}

#[tokio::test]
async fn a_large_snapshot_comes_in_events_of_at_most_500() {
    let [bob] = server().people(["bob"]);
    let ids: Vec<String> = (0..1_100).map(|n| format!("many-{n:04}")).collect();
    for part in ids.chunks(1_000) {
        let _ = bob.post("/v1/users/me/contacts", json!({"add": part})).await.must(200);
    }
    let mut events = bob.events("watch=contacts", None).await;
    let mut seen = BTreeSet::new();
    while seen.len() < ids.len() {
        let told = events.next().await;
        assert_eq!(told.event, "snapshot");
        assert!(!told.id.is_empty(), "each with an id");
        let presences = told.data["presences"].as_array().expect("presences");
        assert!(!presences.is_empty() && presences.len() <= 500, "{}", presences.len());
        for presence in presences {
            assert!(seen.insert(presence["user"].as_str().unwrap_or_default().to_owned()), "twice: {presence}");
        }
    }
}

#[tokio::test]
async fn sight_that_ends_and_returns_is_told_in_events() {
    let (alice, bob) = friends().await;
    let mut events = bob.events("", None).await;
    let first = events.next().await.data["presences"][0].clone();
    assert_eq!(first["status"], "online");
    let _ = alice.put_bare(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
    let gone = events.next().await;
    assert_eq!((gone.event.as_str(), &gone.data["presences"][0]["version"]), ("presence", &json!(0)));
    assert_eq!(gone.data["presences"], json!([bob.sees(&alice.id).await]));
    alice.set_status(json!({"status": "dnd"})).await;
    let _ = alice.delete(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
    let back = events.next().await;
    assert_eq!(back.data["presences"], json!([alice.sees("me").await]), "nothing was told meanwhile");
}

#[tokio::test]
async fn a_new_contact_comes_by_itself() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.adds(&bob).await;
    alice.open("web", "active").await;
    let mut events = bob.events("", None).await;
    assert_eq!(events.next().await.data, json!({"presences": []}), "the snapshot of nobody");
    bob.adds(&alice).await;
    let told = events.until(|t| t.data["presences"][0]["status"] == "online").await;
    assert_eq!(told.data["presences"], json!([alice.sees("me").await]));
}

#[tokio::test]
async fn after_a_last_event_id_what_was_lost_comes_at_0() {
    let (alice, bob) = friends().await;
    let [carol] = server().people(["carol"]);
    befriend(&carol, &bob).await;
    carol.open("web", "active").await;
    let bob_there = bob.at_one_node();
    let users = format!("users={},{}", alice.id, carol.id);
    let first = bob_there.events(&users, None).await.next().await;
    assert_eq!(first.data["presences"].as_array().map(Vec::len), Some(2));
    let _ = alice.delete(&format!("/v1/users/me/contacts/{}", bob.id)).await.must(204);
    let again = bob_there.events(&users, Some(&first.id)).await.next().await;
    assert_eq!(again.event, "snapshot");
    assert_eq!(again.data["presences"], json!([bob.sees(&alice.id).await]), "lost, and nothing of carol");
}

#[tokio::test]
async fn a_stream_whose_token_expires_says_goodbye() {
    let (_, bob) = friends().await;
    // The leeway is 10 s: this one is over two seconds from now.
    let brief = Claims::of(&bob.id).with("exp", now_s() - 8).sign(server().secret());
    let mut events = server().holder(&bob.id, brief).events("", None).await;
    let goodbye = events.until(|t| t.event == "goodbye").await;
    assert_eq!((&goodbye.data["reason"], &goodbye.data["reconnect"]), (&json!("token_expired"), &json!(true)));
    assert!(goodbye.data.get("after_ms").is_some() && !goodbye.id.is_empty(), "{goodbye:?}");
}

#[tokio::test]
async fn a_user_named_twice_is_told_of_once() {
    let (alice, bob) = friends().await;
    let mut events = bob.events(&format!("users={0},{0},{0}", alice.id), None).await;
    assert_eq!(events.next().await.data["presences"], json!([alice.sees("me").await]));
    let set = alice.set_status(json!({"status": "dnd"})).await;
    assert_eq!(events.next().await.data["presences"], json!([set["presence"]]));
    let set = alice.set_status(json!({"status": "away"})).await;
    assert_eq!(events.next().await.data["presences"], json!([set["presence"]]), "once each");
}

#[tokio::test]
async fn one_follows_oneself_and_a_service_everybody_by_events() {
    let [alice] = server().people(["alice"]);
    let query = format!("users={}", alice.id);
    let mut own = alice.events(&query, None).await;
    let mut service = server().service().events(&query, None).await;
    for events in [&mut own, &mut service] {
        assert_eq!(events.next().await.data["presences"][0]["version"], 0);
    }
    alice.open("web", "active").await;
    let shown = alice.sees("me").await;
    for events in [&mut own, &mut service] {
        assert_eq!(events.next().await.data["presences"], json!([shown]));
    }
}

#[tokio::test]
async fn ids_of_events_are_different_and_carry_no_line() {
    let (alice, bob) = friends().await;
    let mut events = bob.events("", None).await;
    let mut ids: BTreeSet<String> = BTreeSet::from([events.next().await.id]);
    for number in 0..5 {
        alice.set_status(json!({"status": "dnd", "text": format!("line\u{2028}{number}")})).await;
        let told = events.next().await;
        assert_eq!(told.data["presences"][0]["text"], format!("line\u{2028}{number}"));
        assert!(ids.insert(told.id.clone()), "{} again", told.id);
    }
    assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_graphic())), "{ids:?}");
}

#[tokio::test]
async fn a_stream_tells_nothing_of_who_may_not_be_seen() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    let mut events = bob.events(&format!("users={},nobody-at-all", alice.id), None).await;
    let snapshot = events.next().await.data["presences"].clone();
    let strip = |p: &Value| p.to_string().replace(p["user"].as_str().unwrap_or_default(), "U");
    assert_eq!(strip(&snapshot[0]), strip(&snapshot[1]), "unknown and not a contact");
    alice.set_status(json!({"status": "dnd"})).await;
    alice.adds(&bob).await;
    let told = events.next().await;
    assert_eq!(told.data["presences"], json!([alice.sees("me").await]), "the first word is the permission's");
}
