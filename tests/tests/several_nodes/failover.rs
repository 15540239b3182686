//! A node is killed: its users take writes again, nobody alive is shown offline, and the gone are, exactly once.

use rollcall_tests::{Cluster, Event, FORMING_MAX, Load, LoadPlan, Roll, Socket, befriend, eventually_within};
use serde_json::{Value, json};

/// Long enough to come back within on a slow machine, short enough to wait for.
const GRACE_MS: u64 = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_under_load_costs_no_acknowledged_write_and_no_false_death() {
    let mut cluster = Cluster::plan(3).set("presence.grace_ms", GRACE_MS).start().await;
    // Watchers on the nodes that stay, by the order of the list; everybody else anywhere.
    let load = Load::begin(Roll::of(&cluster), LoadPlan { watchers: 2, ..LoadPlan::default() }).await;
    load.more(200).await;
    cluster.kill9(2);
    let killed = load.now();
    cluster
        .until_status(0, "all is led by the others", |s| {
            s.led().values().sum::<usize>() == 8 && !s.led().contains_key("n3")
        })
        .await;
    load.more(300).await;
    cluster.restart(2);
    cluster.await_formed(FORMING_MAX).await;
    load.more(100).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    assert_eq!(verdict.not_resumed, 0, "everybody came back within the grace, to the same session");
    assert!(verdict.reconnects > 0, "somebody was connected to the killed node");
    assert_eq!(verdict.first_sent_after(killed).len(), verdict.written.len(), "every user writes again");
}

/// All presences of `user` that come until one is shown with `status`, which is the last.
async fn shown_until(socket: &mut Socket, user: &str, status: &str) -> Vec<Value> {
    let mut shown = Vec::new();
    loop {
        let Event::Frame(frame) = socket.next().await else { panic!("the connection ended") };
        let of_user = frame["presences"].as_array().into_iter().flatten().filter(|p| p["user"] == user);
        shown.extend(of_user.cloned());
        if shown.last().is_some_and(|p| p["status"] == status) {
            return shown;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_come_back_from_a_killed_node_is_shown_offline_exactly_once_and_who_does_never() {
    let mut cluster = Cluster::plan(3).set("presence.grace_ms", GRACE_MS).start().await;
    let [gone, back, bob] = ["gone", "back", "bob"].map(|stem| cluster.person(2, stem));
    befriend(&gone, &bob).await;
    befriend(&back, &bob).await;
    let _left = gone.connect("watch=none&device=web").await;
    let returning = back.connect("watch=none&device=mobile").await;
    let mut friends = Vec::new();
    for at in 0..2 {
        let mut friend = cluster.elsewhere(&bob, at).connect("session=false&watch=none").await;
        friend.watch(json!([gone.id, back.id])).await;
        friend.until_status(&gone.id, "online").await;
        friend.until_status(&back.id, "online").await;
        friends.push(friend);
    }
    cluster.kill9(2);
    let token = cluster.elsewhere(&back, 0).token;
    let query = format!("watch=none&resume={}", returning.resume());
    let address = cluster.node(0).address.clone();
    let resumed = eventually_within(FORMING_MAX, "a resumed connection", async || {
        Socket::try_connect(&address, &token, &query).await.ok()
    })
    .await;
    assert_eq!(resumed.welcome["resumed"], true, "{}", resumed.welcome);
    assert_eq!(resumed.session(), returning.session());
    for friend in &mut friends {
        let shown = shown_until(friend, &gone.id, "offline").await;
        let deaths = shown.iter().filter(|p| p["status"] == "offline").count();
        assert_eq!(deaths, 1, "{shown:?}");
    }
    cluster.restart(2);
    cluster.await_formed(FORMING_MAX).await;
    for (at, friend) in friends.iter_mut().enumerate() {
        for frame in friend.fence().await {
            let again = frame["presences"].as_array().into_iter().flatten().filter(|p| p["user"] == gone.id.as_str());
            assert_eq!(again.filter(|p| p["stale"] == false && p["version"] != friend.version(&gone.id)).count(), 0);
        }
        let held = friend.held(&back.id).expect("held").clone();
        assert_eq!(held["status"], "online", "never offline: {held}");
        assert_eq!(cluster.elsewhere(&gone, at).reasons().await, ["connected", "node_lost"]);
        assert_eq!(cluster.elsewhere(&back, at).reasons().await, ["connected"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_sessions_outlive_any_node_while_somebody_hears_their_heartbeats() {
    let mut cluster = Cluster::plan(3).set("presence.session_ttl_ms", 6_000).start().await;
    let mut users = Vec::new();
    for home in 0..3 {
        let user = cluster.person_at_home(0, "beating", home).await;
        let session = user.open("web", "active").await;
        users.push((user, session));
    }
    let silent = cluster.person_at_home(0, "silent", 2).await;
    silent.open("web", "active").await;
    cluster.kill9(2);
    eventually_within(FORMING_MAX, "the silent session ends", async || {
        for (user, session) in &users {
            let beat = user.try_send("PUT", &format!("/v1/users/me/sessions/{session}"), &[], None).await;
            assert!(beat.as_ref().is_ok_and(|b| matches!(b.status, 204 | 503)), "{beat:?}");
        }
        let seen = silent.try_send("GET", "/v1/users/me/presence", &[], None).await.ok()?;
        (seen.status == 200 && seen.json()["status"] == "offline").then_some(())
    })
    .await;
    for (user, _) in &users {
        assert_eq!(user.reasons().await, ["connected"]);
    }
    assert_eq!(silent.reasons().await, ["connected", "expired"]);
}
