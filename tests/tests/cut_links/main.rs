//! Clusters in one process whose links are cut: silence is never taken for death, and nothing is acknowledged by a node that
//! cannot ask the others.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod cut_off;
mod one_frame_per_node;
mod one_link;

use rollcall_tests::TestCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_in_one_process_serves_and_stops_and_serves_another_time() {
    for _ in 0..2 {
        let cluster = TestCluster::plan(1).with(|s| s.presence.grace_ms = 1_000).start().await;
        let alice = cluster.client(0, "alice", "user");
        alice.open("web", "active").await;
        assert_eq!(alice.sees("me").await["status"], "online");
        assert_eq!(cluster.home_of(0, "alice").await, 0);
        cluster.stop().await;
    }
}
