//! A cluster of one under the same load and the same judge as the larger ones: what it loses is only time.

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_by_itself_that_is_killed_under_load_loses_only_time() {
    let mut cluster = Cluster::of(1).await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan { users: 12, ..LoadPlan::default() }).await;
    for _ in 0..2 {
        load.more(100).await;
        cluster.kill9(0);
        cluster.restart(0);
        cluster.await_formed(FORMING_MAX).await;
    }
    load.more(100).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    assert_eq!(verdict.not_resumed, 0);
    assert!(verdict.reconnects >= 2 * verdict.written.len(), "each of the kills was felt by everybody");
}
