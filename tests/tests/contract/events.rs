//! Section 9: Server-Sent Events, which say what a WebSocket says, one way.

use super::usual as server;
use rollcall_tests::{Client, Events, Told, befriend};
use serde_json::json;

/// Two friends, the first of them online, and the events of the second's contacts after their snapshot.
async fn pair() -> (Client, Client, Events, Told) {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut events = bob.events("", None).await;
    let snapshot = events.next().await;
    (alice, bob, events, snapshot)
}

#[tokio::test]
async fn a_stream_starts_with_a_snapshot_of_the_contacts() {
    let (alice, _, _, snapshot) = pair().await;
    assert_eq!(snapshot.event, "snapshot");
    assert_eq!(snapshot.data["presences"], json!([alice.sees("me").await]));
    assert!(!snapshot.id.is_empty());
}

#[tokio::test]
async fn a_change_is_an_event_presence_with_one_line_of_data() {
    let (alice, _, mut events, snapshot) = pair().await;
    let set = alice.set_status(json!({"status": "dnd", "text": "x"})).await;
    let told = events.next().await;
    assert_eq!((told.event.as_str(), &told.data), ("presence", &json!({"presences": [set["presence"]]})));
    assert_ne!(told.id, snapshot.id, "each with an id");
}

#[tokio::test]
async fn a_removed_contact_is_an_event_unwatched() {
    let (alice, bob, mut events, _) = pair().await;
    let _ = bob.delete(&format!("/v1/users/me/contacts/{}", alice.id)).await.must(204);
    let told = events.until(|t| t.event == "unwatched").await;
    assert_eq!(told.data, json!({"users": [alice.id]}));
}

#[tokio::test]
async fn named_users_are_watched_instead_of_contacts() {
    let (alice, bob, ..) = pair().await;
    let mut events = bob.events(&format!("users={},nobody-here", alice.id), None).await;
    let snapshot = events.next().await;
    assert_eq!(snapshot.data["presences"].as_array().map(Vec::len), Some(2), "{snapshot:?}");
}

#[tokio::test]
async fn five_hundred_users_may_be_named_and_no_more() {
    let [bob] = server().people(["bob"]);
    let users = |count: usize| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>().join(",");
    let snapshot = bob.events(&format!("users={}", users(500)), None).await.next().await;
    assert_eq!(snapshot.data["presences"].as_array().map(Vec::len), Some(500));
    bob.get(&format!("/v1/events?users={}", users(501))).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn contacts_and_named_users_are_not_watched_together() {
    let [bob] = server().people(["bob"]);
    bob.get("/v1/events?watch=contacts&users=alice").await.problem(400, "invalid_request");
}

#[tokio::test]
async fn a_bad_query_of_events_is_refused() {
    let [bob] = server().people(["bob"]);
    for bad in [
        "watch=none",
        "users=bad%20id",
        "users=me",
        "device=web",
        "token=x",
        "users=a&users=b",
        "users=",
        "users=a,,b",
        "users=a,",
    ] {
        bob.get(&format!("/v1/events?{bad}")).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn events_take_the_token_in_the_header_only() {
    let stranger = server().holder("stranger", "no.token.at-all".into());
    stranger.get("/v1/events").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn after_a_last_event_id_comes_only_what_is_newer() {
    let (alice, bob, events, snapshot) = pair().await;
    let [carol] = server().people(["carol"]);
    befriend(&carol, &bob).await;
    carol.open("web", "active").await;
    drop(events);
    let users = format!("users={},{}", alice.id, carol.id);
    // What was told is known to the node that told it; to another one the id does not fit.
    let bob = bob.at_one_node();
    let first = bob.events(&users, None).await.next().await;
    let set = alice.set_status(json!({"status": "away"})).await;
    let again = bob.events(&users, Some(&first.id)).await.next().await;
    assert_eq!(again.data["presences"], json!([set["presence"]]), "after {}", snapshot.id);
}

#[tokio::test]
async fn an_id_that_does_not_fit_gives_the_full_snapshot_and_never_an_error() {
    let (alice, bob, ..) = pair().await;
    for id in ["nonsense", "0", "-", "AAAA"] {
        let snapshot = bob.events("", Some(id)).await.next().await;
        assert_eq!(snapshot.event, "snapshot");
        assert_eq!(snapshot.data["presences"], json!([alice.sees("me").await]), "{id}");
    }
}

#[tokio::test]
async fn an_id_that_a_stream_did_not_give_does_not_fit() {
    let (alice, bob, ..) = pair().await;
    let bob = bob.at_one_node();
    let given = bob.events("", None).await.next().await.id;
    let (stream, number) = given.split_once('-').expect("a stream and a number");
    let number: u64 = number.parse().expect("a number");
    for id in [format!("{stream}-{}", number + 1), format!("{stream}-0{number}"), format!("0{given}")] {
        let snapshot = bob.events("", Some(&id)).await.next().await;
        assert_eq!(snapshot.data["presences"], json!([alice.sees("me").await]), "{id} after {given}");
    }
}

#[tokio::test]
async fn a_reader_of_events_is_no_session() {
    let (_, bob, ..) = pair().await;
    assert_eq!(bob.get("/v1/users/me/sessions").await.must(200), json!({"sessions": []}));
}
