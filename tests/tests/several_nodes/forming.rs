//! A cluster grows from nothing, and under load: nothing acknowledged is lost, and nobody alive is shown offline.

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll};
use serde_json::json;
use std::time::Duration;

/// Far above the second that is promised, far below what a client would put up with on a slow machine.
const FAILING_MAX: Duration = Duration::from_secs(10);
/// A fourth of 8 × 3 replicas, within one.
const SHARE_OF_FOUR: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_with_three_replicas_each_and_even_leaders() {
    let cluster = Cluster::of(3).await;
    let id = cluster.status(0).await.expect("a status").0["cluster_id"].clone();
    for at in 0..3 {
        let status = cluster.status(at).await.expect("a status");
        assert_eq!(status.0["cluster_id"], id, "one cluster");
        assert_eq!((&status.0["nodes_up"], &status.0["nodes_total"]), (&json!(3), &json!(3)));
        assert_eq!(status.0["ring"]["replication"], 3);
    }
    // A write through each node is read at each node.
    let user = cluster.person(0, "everywhere");
    for at in 0..3 {
        let text = format!("through {}", cluster.name(at));
        cluster.elsewhere(&user, at).set_status(json!({"status": "dnd", "text": text})).await;
        for other in 0..3 {
            let setting = cluster.elsewhere(&user, other).get("/v1/users/me/status").await.must(200);
            assert_eq!(setting["setting"]["text"], text.as_str(), "read at {}", cluster.name(other));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_becomes_two_and_three_and_what_was_written_before_is_everywhere() {
    let mut cluster = Cluster::of(1).await;
    let user = cluster.person(0, "early");
    user.open("web", "active").await;
    user.set_status(json!({"status": "dnd", "text": "before"})).await;
    for nodes in 2..=3 {
        let at = cluster.join_another();
        cluster.await_formed(FORMING_MAX).await;
        let there = cluster.elsewhere(&user, at);
        assert_eq!(there.sees("me").await["text"], "before", "at the node that is number {nodes}");
    }
    assert_eq!(user.reasons().await, ["connected", "status_set"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_under_load_and_takes_its_share() {
    let mut cluster = Cluster::of(3).await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan::default()).await;
    load.more(200).await;
    let fourth = cluster.join_another();
    load.roll().set(cluster.addresses());
    cluster.await_formed(FORMING_MAX).await;
    let status = cluster.status(fourth).await.expect("a status");
    let name = cluster.name(fourth);
    assert!(status.held().get(name) >= Some(&SHARE_OF_FOUR), "{:?}", status.held());
    assert!(status.led().get(name) >= Some(&1), "{:?}", status.led());
    load.more(200).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    assert!(verdict.longest_failing() < FAILING_MAX, "{:?}", verdict.longest_failing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_that_is_killed_comes_back_with_all_that_it_acknowledged() {
    let mut cluster = Cluster::of(3).await;
    let user = cluster.person(1, "durable");
    let session = user.open("web", "active").await;
    for number in 0..20 {
        user.set_status(json!({"status": "dnd", "text": format!("{number}")})).await;
    }
    let before = user.get("/v1/users/me/history").await.must(200);
    cluster.restart_all();
    cluster.await_formed(FORMING_MAX).await;
    for at in 0..3 {
        let there = cluster.elsewhere(&user, at);
        assert_eq!(there.get("/v1/users/me/history").await.must(200), before);
        assert_eq!(there.put_bare(&format!("/v1/users/me/sessions/{session}")).await.status, 204, "recovered");
    }
}
