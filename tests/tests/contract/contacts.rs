//! Contacts and blocks: lists with pages, bulk changes that are all or nothing, and watchers who are told at once.

use super::usual as server;
use rollcall_tests::{Client, befriend, now_ms};
use serde_json::{Value, json};

const LISTS: [&str; 2] = ["contacts", "blocks"];

fn path(list: &str) -> String {
    format!("/v1/users/me/{list}")
}

/// All ids of a list, page by page.
async fn ids(user: &Client, list: &str, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut query = format!("?limit={limit}");
    loop {
        let page = user.get(&format!("{}{query}", path(list))).await.must(200);
        let items = page[list].as_array().expect("a list");
        assert!(items.len() <= limit);
        ids.extend(items.iter().map(|c| c["user"].as_str().expect("a user").to_owned()));
        match page["next"].as_str() {
            Some(cursor) => query = format!("?limit={limit}&cursor={cursor}"),
            None => return ids,
        }
    }
}

fn users(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("u{n:05}")).collect()
}

#[tokio::test]
async fn adding_and_removing_one_is_idempotent() {
    for list in LISTS {
        let [alice] = server().people(["alice"]);
        let one = format!("{}/bob", path(list));
        let begun = now_ms();
        let reply = alice.put_bare(&one).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""));
        let first = alice.get(&path(list)).await.must(200);
        let added = first[list][0]["added"].as_u64().expect("added");
        assert_eq!(first, json!({list: [{"user": "bob", "added": added}], "next": null}));
        assert!((begun..=now_ms()).contains(&added));
        let _ = alice.put_bare(&one).await.must(204);
        assert_eq!(alice.get(&path(list)).await.must(200), first, "added once");
        let _ = alice.delete(&one).await.must(204);
        let _ = alice.delete(&one).await.must(204);
        assert_eq!(alice.get(&path(list)).await.must(200), json!({list: [], "next": null}));
    }
}

#[tokio::test]
async fn lists_come_in_byte_order_and_in_pages() {
    let [alice] = server().people(["alice"]);
    let mut given = vec!["b", "a", "B", "~", "+1", "a.b", "a-b", "@x", "a:b", "10", "9", "_"];
    let total = alice.post(&path("contacts"), json!({"add": given})).await.must(200);
    assert_eq!(total, json!({"total": given.len()}));
    given.sort_unstable();
    for limit in [1, 5, 12, 1_000] {
        assert_eq!(ids(&alice, "contacts", limit).await, given, "limit {limit}");
    }
    let all = alice.get(&path("contacts")).await.must(200);
    assert_eq!(all["next"], Value::Null, "null at the end");
}

#[tokio::test]
async fn a_page_has_a_hundred_unless_asked_and_a_thousand_at_most() {
    let [alice] = server().people(["alice"]);
    let _ = alice.post(&path("contacts"), json!({"add": users(0..1_000)})).await.must(200);
    let _ = alice.post(&path("contacts"), json!({"add": users(1_000..1_050)})).await.must(200);
    let page = alice.get(&path("contacts")).await.must(200);
    assert_eq!(page["contacts"].as_array().map(Vec::len), Some(100));
    assert!(page["next"].is_string());
    assert_eq!(ids(&alice, "contacts", 1_000).await, users(0..1_050));
    for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "cursor=%21%21", "page=2", "limit=1&limit=2"] {
        alice.get(&format!("{}?{bad}", path("contacts"))).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_bulk_change_adds_removes_and_counts() {
    for list in LISTS {
        let [alice] = server().people(["alice"]);
        let change = async |body: Value| alice.post(&path(list), body).await.must(200)["total"].clone();
        assert_eq!(change(json!({"add": ["a", "b", "c", "a"]})).await, 3, "duplicates count once");
        assert_eq!(change(json!({"add": ["c", "d"], "remove": ["a", "x"]})).await, 3);
        assert_eq!(change(json!({"remove": ["b", "b"]})).await, 2);
        assert_eq!(change(json!({"add": [], "remove": []})).await, 2, "empty lists are valid");
        assert_eq!(change(json!({})).await, 2);
        assert_eq!(change(json!({"add": null})).await, 2);
        assert_eq!(ids(&alice, list, 100).await, ["c", "d"]);
    }
}

#[tokio::test]
async fn a_bad_bulk_change_changes_nothing() {
    for list in LISTS {
        let [alice] = server().people(["alice"]);
        let _ = alice.post(&path(list), json!({"add": ["a", "b"]})).await.must(200);
        let long = "x".repeat(129);
        for bad in [
            json!({"add": ["c"], "remove": ["c"]}),
            json!({"add": ["c", alice.id]}),
            json!({"remove": ["a", alice.id]}),
            json!({"add": ["c", "me"]}),
            json!({"add": ["c", "no spaces"]}),
            json!({"add": ["c", ""]}),
            json!({"add": ["c", long]}),
            json!({"add": ["c", 5]}),
            json!({"add": "c"}),
            json!({"add": ["c"], "drop": ["a"]}),
            json!({"add": users(0..1_001)}),
            json!({"add": users(0..501), "remove": users(600..1_100)}),
        ] {
            alice.post(&path(list), bad).await.problem(400, "invalid_request");
        }
        assert_eq!(ids(&alice, list, 100).await, ["a", "b"]);
        alice.put_bare(&format!("{}/{}", path(list), alice.id)).await.problem(400, "invalid_request");
        alice.put_bare(&format!("{}/me", path(list))).await.problem(400, "invalid_request");
        alice.put_bare(&format!("{}/{long}", path(list))).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn the_capacity_refuses_a_whole_bulk_change() {
    for list in LISTS {
        let [alice] = server().people(["alice"]);
        for thousand in 0..4 {
            let add = users(thousand * 1_000..(thousand + 1) * 1_000);
            let _ = alice.post(&path(list), json!({"add": add})).await.must(200);
        }
        let _ = alice.post(&path(list), json!({"add": users(4_000..4_990)})).await.must(200);
        let eleven = json!({"add": users(4_990..5_001)});
        alice.post(&path(list), eleven.clone()).await.problem(422, "limit_exceeded");
        assert_eq!(ids(&alice, list, 1_000).await, users(0..4_990), "all or nothing");
        let mut swap = eleven;
        swap["remove"] = json!(["u00000"]);
        assert_eq!(alice.post(&path(list), swap).await.must(200), json!({"total": 5_000}), "it fits after the removal");
        alice.put_bare(&format!("{}/one-more", path(list))).await.problem(422, "limit_exceeded");
        let _ = alice.put_bare(&format!("{}/u00001", path(list))).await.must(204);
    }
}

#[tokio::test]
async fn a_new_contact_is_watched_and_may_see() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    bob.open("web", "idle").await;
    let mut of_bob = bob.connect("session=false").await;
    assert_eq!(of_bob.contacts_snapshot().await, [] as [Value; 0]);
    bob.adds(&alice).await; // bob watches alice now, but may not see her
    of_bob.watch(json!([alice.id])).await;
    assert_eq!(of_bob.version(&alice.id), 0);
    alice.adds(&bob).await; // granted, live
    let granted = of_bob.until_status(&alice.id, "online").await;
    assert_eq!(granted, alice.sees("me").await);
    let mut of_alice = alice.connect("session=false").await;
    of_alice.until_status(&bob.id, "away").await;
}

#[tokio::test]
async fn a_contact_added_while_connected_comes_by_itself() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    alice.adds(&bob).await;
    let mut of_bob = bob.connect("session=false").await;
    of_bob.contacts_snapshot().await;
    let _ = bob.post(&path("contacts"), json!({"add": [alice.id]})).await.must(200);
    of_bob.until_status(&alice.id, "online").await;
    alice.set_status(json!({"status": "dnd"})).await;
    of_bob.until_status(&alice.id, "dnd").await;
    let _ = bob.delete(&format!("/v1/users/me/contacts/{}", alice.id)).await.must(204);
    let unwatched = of_bob.until(|f| f["type"] == "unwatched").await;
    assert_eq!(unwatched, json!({"type": "unwatched", "users": [alice.id]}));
    alice.set_status(json!({"status": "away"})).await;
    assert!(of_bob.fence().await.is_empty(), "nothing about her any more");
}

#[tokio::test]
async fn a_removed_contact_sees_the_never_seen_user_at_once() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut friend = bob.connect("").await;
    let held = friend.until_status(&alice.id, "online").await;
    let _ = alice.delete(&format!("/v1/users/me/contacts/{}", bob.id)).await.must(204);
    let revoked = friend.until_held(&alice.id, |p| p["version"] == 0).await;
    assert_eq!(revoked, bob.sees(&alice.id).await);
    assert_eq!((&revoked["status"], &revoked["since"]), (&json!("offline"), &Value::Null));
    alice.set_status(json!({"status": "dnd"})).await;
    assert!(friend.fence().await.is_empty(), "no change gets through");
    alice.adds(&bob).await;
    let again = friend.until_status(&alice.id, "dnd").await;
    assert!(again["version"].as_u64() > held["version"].as_u64());
}

#[tokio::test]
async fn a_block_ends_sight_both_ways_and_lifting_it_restores_both() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    bob.open("web", "active").await;
    let mut of_alice = alice.connect("session=false").await;
    let mut of_bob = bob.connect("session=false").await;
    of_alice.until_status(&bob.id, "online").await;
    of_bob.until_status(&alice.id, "online").await;

    let _ = alice.put_bare(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
    of_alice.until_held(&bob.id, |p| p["version"] == 0).await;
    of_bob.until_held(&alice.id, |p| p["version"] == 0).await;
    assert_eq!(alice.sees(&bob.id).await["version"], 0);
    assert_eq!(bob.sees(&alice.id).await["version"], 0);
    assert_eq!(ids(&alice, "contacts", 10).await, [bob.id.as_str()], "a block removes no contact");

    let _ = alice.delete(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
    of_alice.until_status(&bob.id, "online").await;
    of_bob.until_status(&alice.id, "online").await;
    assert_eq!(bob.sees(&alice.id).await["status"], "online");
}
