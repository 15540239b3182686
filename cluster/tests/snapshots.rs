//! Logs are given up behind durable snapshots, and what is left is enough.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, add_contacts, put_status, until, user};
use futures::future::join_all;
use rollcall_presence::PartitionId;

/// More than the log of one group may grow to: each is 28 KiB.
const CALLS: u64 = 200;
/// Few enough that none waits longer than a proposer does, on a busy machine too.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grew_is_cut_and_the_state_survives() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    for first in (0..CALLS).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE as u64).map(|n| {
            let (bench, cluster) = (&bench, &cluster);
            async move { bench.propose(cluster, &user(n), add_contacts(1_000)).await.unwrap() }
        }))
        .await;
    }
    until("cut", || cluster.partition(PartitionId(0)).status().unwrap().purged.is_some()).await;
    bench.propose(&cluster, &user(1), put_status(1)).await.unwrap();
    let before = bench.everything(&cluster, CALLS);
    cluster.stop().await;
    let cluster = bench.start().await;
    assert_eq!(bench.everything(&cluster, CALLS), before);
    until("purged after the restart too", || cluster.partition(PartitionId(0)).status().unwrap().purged.is_some())
        .await;
    cluster.stop().await;
}
