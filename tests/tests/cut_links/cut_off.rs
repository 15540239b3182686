//! A node that is cut off from the other two.

use rollcall_tests::{Client, Cut, FORMING_MAX, Socket, TestCluster, befriend, eventually_within};
use serde_json::{Value, json};

/// Asks for a status with a text; the status code, 0 without any answer.
async fn try_write(client: &Client, text: &str) -> u16 {
    let body = json!({"status": "dnd", "text": text});
    let reply = client.try_send("PUT", "/v1/users/me/status", &[], Some(&body)).await;
    reply.map_or(0, |r| r.status)
}

/// A user at the node at `at` whose home is the one at `home`.
async fn person(cluster: &TestCluster, at: usize, home: usize, stem: &str) -> Client {
    for number in 0.. {
        let id = format!("{stem}-{number:04}");
        if cluster.home_of(at, &id).await == home {
            return cluster.client(at, &id, "user");
        }
    }
    panic!("no user lives at {home}")
}

/// What is held of `user` is marked stale, or no longer; nothing else has changed.
async fn until_stale(socket: &mut Socket, before: &Value, stale: bool) {
    let user = before["user"].as_str().expect("a user");
    let held = socket.until_held(user, |p| p["stale"] == stale).await;
    let mut same = held.clone();
    same["stale"] = before["stale"].clone();
    assert_eq!(same, *before, "only what is known of it has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_acknowledges_nothing_marks_what_it_says_and_sends_its_clients_away() {
    let cluster = TestCluster::plan(3).start().await;
    // One whose home is on the cut-off side, one on the other; both are watched from both sides.
    let inside = person(&cluster, 0, 2, "inside").await;
    let outside = person(&cluster, 0, 0, "outside").await;
    let bob = cluster.client(0, "bob", "user");
    let mut befores = Vec::new();
    for user in [&inside, &outside] {
        befriend(user, &bob).await;
        user.open("web", "active").await;
        befores.push(bob.sees(&user.id).await);
    }
    let mut there = cluster.client(2, "bob", "user").connect("session=false&watch=contacts").await;
    let mut here = bob.connect("session=false&watch=contacts").await;
    for socket in [&mut there, &mut here] {
        assert_eq!(socket.contacts_snapshot().await.len(), 2);
    }
    for (number, cut) in [Cut::Silent, Cut::Broken].into_iter().enumerate() {
        eprintln!(
            "round {number}: {cut:?}, homes {} and {}",
            cluster.home_of(0, &inside.id).await,
            cluster.home_of(0, &outside.id).await
        );
        cluster.cut_off(2, cut);
        // No write that is sent to it is acknowledged, whether its home was there or not.
        let alone = [cluster.client(2, &inside.id, "user"), cluster.client(2, &outside.id, "user")];
        for (user, before) in alone.iter().zip(&befores) {
            until_stale(&mut there, before, true).await;
            assert_eq!(user.id, before["user"].as_str().expect("a user"));
        }
        for status in futures::future::join_all(alone.iter().map(|user| try_write(user, "never"))).await {
            assert_ne!(status, 200, "a write was acknowledged by a node alone");
        }
        // On the other side everything goes on, also for the one whose home was cut off.
        for user in [&inside, &outside] {
            let text = format!("round {number}");
            eventually_within(FORMING_MAX, "a new home takes writes", async || {
                (try_write(user, &text).await == 200).then_some(())
            })
            .await;
            let held = here.until_held(&user.id, |p| p["text"] == text.as_str() && p["stale"] == false).await;
            assert_eq!(held["status"], "dnd");
        }
        there.ends_with("isolated", 4006, true).await;
        let status = rollcall_tests::ClusterStatus::ask(&cluster.admin(2)).await.expect("it answers all the same");
        assert!(!status.healthy() && status.0["nodes_up"].is_null(), "{}", status.0);
        cluster.links.heal();
        there = reconnected(&cluster, 2).await;
        for (at, user) in [&inside, &outside].into_iter().enumerate() {
            let home = eventually_within(FORMING_MAX, "a confirmed answer", async || {
                let seen = bob.sees(&user.id).await;
                (seen["stale"] == false).then_some(seen)
            })
            .await;
            let version = home["version"].as_u64();
            let held = there.until_held(&user.id, |p| p["version"].as_u64() >= version && p["stale"] == false).await;
            assert_eq!(held, home, "watchers equal the home");
            befores[at] = held;
        }
        cluster.await_formed(FORMING_MAX).await;
    }
    for user in [&inside, &outside] {
        let reasons = user.reasons().await;
        assert!(!reasons.iter().any(|r| r == "node_lost" || r == "disconnected"), "{reasons:?}");
        let texts: Vec<Value> = user.history().await.into_iter().map(|e| e["text"].clone()).collect();
        // Without an acknowledgement a write may take effect later all the same; but each only once.
        assert!(texts.iter().filter(|t| **t == json!("never")).count() <= 2, "{texts:?}");
    }
    cluster.stop().await;
}

/// Bob's connection to a node that was cut off, once it takes any.
async fn reconnected(cluster: &TestCluster, at: usize) -> Socket {
    let (address, token) = (cluster.roll.address(at), cluster.roll.token("bob", "user"));
    eventually_within(FORMING_MAX, "the node takes connections again", async || {
        Socket::try_connect(&address, &token, "session=false&watch=contacts").await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_from_a_cut_off_node_to_another_was_never_gone() {
    let cluster = TestCluster::plan(3).start().await;
    let (alice, bob) = (cluster.client(2, "alice", "user"), cluster.client(0, "bob", "user"));
    befriend(&alice, &bob).await;
    let mut socket = alice.connect("watch=none&device=web").await;
    let mut friend = bob.connect("session=false&watch=contacts").await;
    friend.until_status("alice", "online").await;
    cluster.cut_off(2, Cut::Silent);
    // The node finds out by itself, and alice goes to another one; the grace is 15 s by default.
    socket.ends_with("isolated", 4006, true).await;
    let query = format!("watch=none&resume={}", socket.resume());
    let resumed = cluster.client(1, "alice", "user").connect(&query).await;
    assert_eq!(resumed.welcome["resumed"], true, "{}", resumed.welcome);
    cluster.links.heal();
    cluster.await_formed(FORMING_MAX).await;
    friend.fence().await;
    assert_eq!(friend.held("alice").map(|p| p["status"].clone()), Some(json!("online")));
    assert_eq!(cluster.client(0, "alice", "user").reasons().await, ["connected"], "nothing happened to alice");
    cluster.stop().await;
}
