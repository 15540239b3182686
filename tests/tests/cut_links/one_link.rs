//! One link of three is cut, in one direction and in both: every node still reaches a majority, and nobody alive is shown
//! offline.

use rollcall_tests::{Cut, FORMING_MAX, Load, LoadPlan, TestCluster};
use std::time::Duration;

/// Longer than the lease of a node at the placement group and a grace together: what is wrongly declared dead shows by then.
const LONG_ENOUGH: Duration = Duration::from_secs(9);
const GRACE_MS: u64 = 2_000;

async fn nobody_dies(stem: &str, cut: impl Fn(&TestCluster)) {
    let cluster = TestCluster::plan(3).with(|s| s.presence.grace_ms = GRACE_MS).start().await;
    let plan = LoadPlan { stem: stem.into(), users: 18, ..LoadPlan::default() };
    let load = Load::begin(cluster.roll.clone(), plan).await;
    load.more(50).await;
    cut(&cluster);
    let cut_at = load.now();
    // Writes go on meanwhile, by way of whoever reaches the home.
    while load.now() < cut_at + LONG_ENOUGH {
        load.more(20).await;
    }
    cluster.links.heal();
    cluster.await_formed(FORMING_MAX).await;
    load.more(50).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    assert_eq!(verdict.not_resumed, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shown_offline_while_one_link_is_cut_both_ways() {
    nobody_dies("both", |cluster| cluster.links.cut("n2", "n3", Cut::Silent)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shown_offline_while_one_link_is_broken_both_ways() {
    nobody_dies("broken", |cluster| cluster.links.cut("n1", "n3", Cut::Broken)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shown_offline_while_one_direction_of_one_link_is_cut() {
    nobody_dies("oneway", |cluster| cluster.links.cut_one_way("n3", "n1", Cut::Silent)).await;
}
