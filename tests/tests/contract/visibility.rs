//! Who may see whom: unknown, blocked and not a contact cannot be told apart by any byte.

use super::{open as open_server, usual as server};
use rollcall_tests::{Client, Reply, befriend};
use serde_json::{Value, json};

/// The answer with the asked-for user replaced, and without the headers that differ by nature.
fn anonymous(reply: &Reply, user: &str) -> (u16, Vec<(String, String)>, String) {
    let kept = reply.headers.iter().filter(|(n, _)| n != "date" && n != "x-request-id").cloned();
    let mut headers: Vec<_> = kept.collect();
    headers.sort();
    (reply.status, headers, reply.body.replace(user, "USER"))
}

/// Users whom `bob` may not see, each for another reason, all with a rich presence; ids are of one length.
async fn unseen(bob: &Client) -> Vec<Client> {
    let people = server().people(["hid-a", "hid-b", "hid-c", "hid-d"]);
    let [no_contact, blocking, blocked, unknown] = &people;
    for user in [no_contact, blocking, blocked] {
        user.open("web", "active").await;
        user.set_status(json!({"status": "dnd", "text": "private", "meta": {"k": "v"}})).await;
        let _ = user.put("/v1/users/me/profile", json!({"name": "Private", "meta": {"k": "v"}})).await.must(200);
        bob.adds(user).await;
    }
    befriend(blocking, bob).await;
    befriend(blocked, bob).await;
    let _ = blocking.put_bare(&format!("/v1/users/me/blocks/{}", bob.id)).await.must(204);
    let _ = bob.put_bare(&format!("/v1/users/me/blocks/{}", blocked.id)).await.must(204);
    assert_eq!(unknown.id.len(), no_contact.id.len(), "or the answers' lengths would differ");
    people.to_vec()
}

#[tokio::test]
async fn unknown_blocked_and_not_a_contact_are_the_same_bytes() {
    let [bob] = server().people(["bob"]);
    let unseen = unseen(&bob).await;
    for read in ["presence", "profile"] {
        let mut answers = Vec::new();
        for user in &unseen {
            let reply = bob.get(&format!("/v1/users/{}/{read}", user.id)).await;
            assert_eq!(reply.status, 200);
            answers.push(anonymous(&reply, &user.id));
        }
        assert!(answers.windows(2).all(|w| w[0] == w[1]), "{read}: {answers:#?}");
    }
    let presence = bob.get(&format!("/v1/users/{}/presence", unseen[0].id)).await;
    let expected = format!(
        concat!(
            r#"{{"user":"{}","status":"offline","text":null,"meta":{{}},"since":null,"last_seen":null,"#,
            r#""devices":[],"version":0,"stale":false}}"#
        ),
        unseen[0].id
    );
    assert_eq!(presence.body, expected);
    let profile = bob.get(&format!("/v1/users/{}/profile", unseen[0].id)).await;
    assert_eq!(profile.body, r#"{"name":null,"meta":{}}"#);
}

#[tokio::test]
async fn a_query_and_a_watch_tell_no_more() {
    let [bob] = server().people(["bob"]);
    let unseen = unseen(&bob).await;
    let ids: Vec<&str> = unseen.iter().map(|u| u.id.as_str()).collect();
    let never = |user: &str| {
        json!({"user": user, "status": "offline", "text": null, "meta": {}, "since": null, "last_seen": null,
            "devices": [], "version": 0, "stale": false})
    };
    let expected: Vec<Value> = ids.iter().map(|id| never(id)).collect();
    let answer = bob.post("/v1/presence/query", json!({"users": ids})).await.must(200);
    assert_eq!(answer, json!({"presences": expected}));
    let mut socket = bob.connect("session=false&watch=none").await;
    socket.watch(json!(ids)).await;
    for id in &ids {
        assert_eq!(socket.held(id), Some(&never(id)));
    }
    for user in &unseen[..3] {
        user.set_status(json!({"status": "away"})).await;
    }
    assert!(socket.fence().await.is_empty(), "no frame betrays a change");
    let mut contacts = bob.connect("session=false").await;
    for presence in contacts.contacts_snapshot().await {
        assert_eq!(presence["version"], 0, "{presence}");
    }
}

#[tokio::test]
async fn the_user_a_friend_and_a_service_get_the_same_bytes() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "text": "x", "meta": {"b": 1, "a": 2}})).await;
    let path = format!("/v1/users/{}/presence", alice.id);
    let own = alice.get("/v1/users/me/presence").await.body;
    assert_eq!(alice.get(&path).await.body, own);
    assert_eq!(bob.get(&path).await.body, own);
    assert_eq!(server().service().get(&path).await.body, own);
    let query = bob.post("/v1/presence/query", json!({"users": [alice.id]})).await.body;
    assert_eq!(query, format!(r#"{{"presences":[{own}]}}"#));
}

#[tokio::test]
async fn adding_somebody_lets_them_see_and_not_the_other_way_round() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    bob.open("web", "active").await;
    alice.adds(&bob).await;
    assert_eq!(bob.sees(&alice.id).await["status"], "online");
    assert_eq!(alice.sees(&bob.id).await["version"], 0);
    bob.adds(&alice).await;
    assert_eq!(alice.sees(&bob.id).await["status"], "online");
}

#[tokio::test]
async fn a_service_sees_everybody_blocks_or_not() {
    let [alice] = server().people(["alice"]);
    let service = server().service();
    alice.open("web", "active").await;
    let _ = alice.put_bare(&format!("/v1/users/me/blocks/{}", service.id)).await.must(204);
    assert_eq!(service.sees(&alice.id).await["status"], "online");
    let mut socket = service.connect("session=false&watch=none").await;
    socket.watch(json!([alice.id])).await;
    socket.until_status(&alice.id, "online").await;
    let admin = server().admin();
    assert_eq!(admin.sees(&alice.id).await["status"], "online", "admin includes service");
}

#[tokio::test]
async fn private_reads_are_forbidden_whether_or_not_the_user_exists() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    for user in [alice.id.as_str(), "nobody-of-that-name"] {
        let path = |rest: &str| format!("/v1/users/{user}/{rest}");
        for read in ["status", "contacts", "blocks", "privacy", "sessions", "history"] {
            bob.get(&path(read)).await.problem(403, "forbidden");
        }
        bob.put(&path("status"), json!({"status": "dnd"})).await.problem(403, "forbidden");
        bob.delete(&path("status")).await.problem(403, "forbidden");
        bob.post(&path("sessions"), json!({})).await.problem(403, "forbidden");
        bob.put(&path("profile"), json!({"name": "x"})).await.problem(403, "forbidden");
        bob.put_bare(&path("contacts/carol")).await.problem(403, "forbidden");
        bob.delete(&path("sessions/x")).await.problem(403, "forbidden");
        bob.delete(&format!("/v1/users/{user}")).await.problem(403, "forbidden");
    }
    bob.delete("/v1/users/me").await.problem(403, "forbidden");
}

#[tokio::test]
async fn with_visibility_everyone_only_blocks_hide() {
    let [alice, bob] = open_server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    bob.open("web", "active").await;
    assert_eq!(bob.sees(&alice.id).await["status"], "online");
    let mut of_bob = bob.connect("session=false&watch=none").await;
    let mut of_alice = alice.connect("session=false&watch=none").await;
    of_bob.watch(json!([alice.id])).await;
    of_alice.watch(json!([bob.id])).await;
    alice.set_status(json!({"status": "dnd"})).await;
    of_bob.until_status(&alice.id, "dnd").await;
    let _ = bob.put_bare(&format!("/v1/users/me/blocks/{}", alice.id)).await.must(204);
    of_bob.until_held(&alice.id, |p| p["version"] == 0).await;
    of_alice.until_held(&bob.id, |p| p["version"] == 0).await;
    assert_eq!(bob.sees(&alice.id).await["version"], 0);
    let _ = bob.delete(&format!("/v1/users/me/blocks/{}", alice.id)).await.must(204);
    of_bob.until_status(&alice.id, "dnd").await;
    of_alice.until_status(&bob.id, "online").await;
}
