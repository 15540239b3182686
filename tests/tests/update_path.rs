//! One status update on its way: route, service, the user's actor, the partition's log, fan-out, a friend's outbox.
//!
//! Seen from outside: the answer, the friend's frame, later reads, the history and the partition's log tell one story.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Server, befriend, eventually, now_ms};
use serde_json::{Value, json};
use std::sync::OnceLock;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

#[tokio::test]
async fn a_status_update_walks_its_six_hops_to_a_friend() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let at_desk = alice.connect("watch=none&device=web").await;
    let mut friend = bob.connect("").await;
    let before = friend.until_status(&alice.id, "online").await;
    let committed = committed_of(&alice).await;
    let asked = now_ms();

    let answer = alice.set_status(json!({"status": "dnd", "text": "lunch", "meta": {"game": "chess"}})).await;

    let setting = json!({"status": "dnd", "text": "lunch", "meta": {"game": "chess"}, "expires_at": null});
    assert_eq!(answer["setting"], setting, "the route answers with the setting");
    let presence = &answer["presence"];
    assert_eq!(presence["status"], "dnd");
    assert_eq!(presence["text"], "lunch");
    assert_eq!(presence["meta"], json!({"game": "chess"}));
    assert_eq!(presence["devices"], json!(["web"]));
    assert_eq!(presence["last_seen"], Value::Null);
    assert_eq!(presence["stale"], false);
    assert!(presence["version"].as_u64() > before["version"].as_u64(), "{before}, then {presence}");
    let since = presence["since"].as_u64().unwrap_or(0);
    assert!((asked..=now_ms()).contains(&since), "{since} is not when it was set");

    assert!(committed_of(&alice).await > committed, "the change went through the partition's log");
    let told = friend.until_status(&alice.id, "dnd").await;
    assert_eq!(&told, presence, "the friend is told what the setter was");
    assert_eq!(&bob.sees(&alice.id).await, presence, "and reads it");
    assert_eq!(&alice.sees("me").await, presence, "as does the user");

    let newest = &alice.history().await[0];
    assert_eq!(newest["version"], presence["version"]);
    assert_eq!(newest["status"], "dnd");
    assert_eq!(newest["text"], "lunch");
    assert_eq!(newest["reason"], "status_set");
    assert_eq!(newest["at"], presence["since"], "one clock reading, taken before the commit");
    at_desk.close(Some(1000)).await;
}

/// How far the log of the user's partition is committed.
async fn committed_of(user: &Client) -> u64 {
    let admin = server().admin();
    let located = admin.get(&format!("/v1/cluster/locate/{}", user.id)).await.must(200);
    let status = admin.get("/v1/cluster/status").await.must(200);
    let partitions = status["partitions"].as_array().expect("partitions");
    let home = partitions.iter().find(|p| p["id"] == located["partition"]).expect("the user's partition");
    home["committed"].as_u64().expect("a figure")
}

#[tokio::test]
async fn an_update_over_the_websocket_walks_the_same_path() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut desk = alice.connect("watch=none").await;
    let mut friend = bob.connect("").await;
    friend.until_status(&alice.id, "online").await;
    desk.must(json!({"type": "status", "status": "away", "text": "tea"})).await;
    let told = friend.until_status(&alice.id, "away").await;
    assert_eq!(told["text"], "tea");
    assert_eq!(alice.history().await[0]["version"], told["version"], "durable before the ok");
    desk.must(json!({"type": "clear_status"})).await;
    let told = friend.until_status(&alice.id, "online").await;
    assert_eq!(told["text"], Value::Null);
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_cleared"]);
}

#[tokio::test]
async fn every_device_of_every_friend_gets_the_same_frame() {
    let [alice, bob, carol] = server().people(["alice", "bob", "carol"]);
    befriend(&alice, &bob).await;
    befriend(&alice, &carol).await;
    alice.open("web", "active").await;
    let mut sockets = vec![
        bob.connect("device=web").await,
        bob.connect("device=mobile").await,
        carol.connect("session=false").await,
        alice.connect("session=false&watch=none").await,
    ];
    sockets[3].watch(json!([alice.id])).await;
    let answer = alice.set_status(json!({"status": "dnd", "text": "all hands"})).await;
    for socket in &mut sockets {
        assert_eq!(socket.until_status(&alice.id, "dnd").await, answer["presence"]);
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_read_at_once() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    for round in 0..50 {
        let text = format!("round {round}");
        let answer = alice.set_status(json!({"status": "dnd", "text": text})).await;
        assert_eq!(bob.sees(&alice.id).await, answer["presence"]);
    }
    let history = alice.history().await;
    let set = history.iter().filter(|e| e["reason"] == "status_set").count();
    assert_eq!(set, 50, "one entry for each acknowledged change");
    assert!(history.windows(2).all(|w| w[0]["version"].as_u64() > w[1]["version"].as_u64()), "newest first");
}

#[tokio::test]
async fn friends_on_many_partitions_are_all_told() {
    let service = server().service();
    let [star] = server().people(["star"]);
    let fans: Vec<Client> = (0..24).map(|n| server().client(&format!("{}-fan-{n}", star.id), "user")).collect();
    let ids: Vec<&str> = fans.iter().map(|f| f.id.as_str()).collect();
    let added = service.post(&format!("/v1/users/{}/contacts", star.id), json!({"add": ids})).await.must(200);
    assert_eq!(added, json!({"total": 24}));
    star.open("web", "active").await;
    let mut sockets = Vec::new();
    for fan in &fans {
        let mut socket = fan.connect("watch=none").await;
        assert_eq!(socket.watch(json!([star.id])).await[0]["status"], "online");
        sockets.push(socket);
    }
    let answer = star.set_status(json!({"status": "away"})).await;
    for socket in &mut sockets {
        assert_eq!(socket.until_status(&star.id, "away").await, answer["presence"]);
    }
    // The figures of the node follow what it holds.
    eventually("the node counts its connections and sessions", async || {
        let status = server().admin().get("/v1/cluster/status").await.must(200);
        let node = &status["nodes"][0];
        let enough = node["connections"].as_u64() >= Some(24) && node["sessions"].as_u64() >= Some(25);
        enough.then_some(())
    })
    .await;
}
