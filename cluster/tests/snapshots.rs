//! Logs are given up behind durable snapshots, and what is left is enough.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, add_contacts, put_status, until, user};
use futures::future::join_all;
use rollcall_presence::PartitionId;

/// More than the log of one group may grow to: each is 28 KiB.
const CALLS: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grew_is_cut_and_the_state_survives() {
    let bench = Bench::new(2);
    let cluster = bench.start().await;
    join_all((0..CALLS).map(|n| {
        let (bench, cluster) = (&bench, &cluster);
        async move { bench.propose(cluster, &user(n), add_contacts(1_000)).await.unwrap() }
    }))
    .await;
    for id in [PartitionId(0), PartitionId(1)] {
        let mut n = 0;
        while cluster.partition(id).status().purged.is_none() {
            // Entries are what a log is cut by; lone ones come by the hundreds a second.
            bench.propose(&cluster, &user(n % CALLS), put_status(n)).await.unwrap();
            n += 1;
            assert!(n < 20_000, "{:?}", cluster.partition(id).status());
        }
    }
    let before = bench.everything(&cluster, CALLS);
    cluster.stop().await;
    let cluster = bench.start().await;
    assert_eq!(bench.everything(&cluster, CALLS), before);
    until("purged after the restart too", || cluster.partition(PartitionId(0)).status().purged.is_some()).await;
    cluster.stop().await;
}
