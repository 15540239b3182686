//! A node is drained and leaves: its clients go elsewhere without an event, its replicas are rebuilt, it is forgotten.

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll, befriend};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_sends_its_clients_away_and_leads_nothing() {
    let cluster = Cluster::of(3).await;
    let [alice, bob] = ["alice", "bob"].map(|stem| cluster.person(2, stem));
    befriend(&alice, &bob).await;
    let mut socket = alice.connect("watch=none&device=web").await;
    let mut friend = cluster.elsewhere(&bob, 0).connect("session=false&watch=none").await;
    friend.watch(json!([alice.id])).await;
    let before = friend.until_status(&alice.id, "online").await;

    cluster.admin(0).send("POST", "/v1/cluster/nodes/nobody/drain", &[], None).await.problem(404, "not_found");
    assert_eq!(cluster.drain(0, 2).await.must(202), json!({}));
    socket.ends_with("drain", 4000, true).await;
    let resume = format!("watch=none&resume={}", socket.resume());
    let resumed = cluster.elsewhere(&alice, 1).connect(&resume).await;
    assert_eq!(resumed.welcome["resumed"], true);
    assert_eq!(resumed.session(), socket.session());

    for via in 0..3 {
        let status = cluster.until_status(via, "n3 is drained", |s| s.state("n3") == "drained").await;
        assert_eq!(status.led().get("n3"), None, "{:?}", status.led());
    }
    assert_eq!(cluster.drain(1, 2).await.must(202), json!({}), "repeating is no fault");
    friend.fence().await;
    assert_eq!(friend.held(&alice.id), Some(&before), "not a word about alice");
    assert_eq!(cluster.elsewhere(&alice, 0).reasons().await, ["connected"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_for_good_under_load_and_is_forgotten() {
    let mut cluster = Cluster::of(4).await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan::default()).await;
    load.more(100).await;
    cluster.admin(0).delete("/v1/cluster/nodes/nobody").await.problem(404, "not_found");
    assert_eq!(cluster.drain(0, 3).await.must(202), json!({}));
    cluster.until_status(0, "n4 is drained", |s| s.state("n4") == "drained").await;
    load.more(100).await;
    assert_eq!(cluster.remove(0, 3).await.must(202), json!({}));
    let gone = cluster.until_status(0, "n4 is forgotten", |s| s.node("n4").is_null()).await;
    assert_eq!(gone.held().get("n4"), None, "{:?}", gone.held());
    load.roll().set((0..3).map(|at| cluster.node(at).address.clone()).collect());
    cluster.kill9(3);
    cluster.await_formed(FORMING_MAX).await;
    load.more(100).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    // Its name is free again only for somebody who is new.
    let status = cluster.status(1).await.expect("a status");
    assert_eq!(status.formed(&["n1", "n2", "n3"]), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_replicas_are_not_given_up() {
    let mut cluster = Cluster::of(1).await;
    cluster.remove(0, 0).await.problem(409, "conflict");
    let second = cluster.join_another();
    cluster.await_formed(FORMING_MAX).await;
    // With one voter a partition, each node has partitions of its own: both may go, but not at once.
    let user = cluster.person(second, "kept");
    user.open("web", "active").await;
    assert_eq!(cluster.remove(second, 0).await.must(202), json!({}));
    cluster
        .until_status(second, "all is led by n2", |s| s.led().get("n2") == Some(&8) && !s.held().contains_key("n1"))
        .await;
    cluster.remove(second, second).await.problem(409, "conflict");
    assert_eq!(user.sees("me").await["status"], "online");
}
