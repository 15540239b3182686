//! The same binary goes through all nodes, one after the other, under load.

use rollcall_tests::{Cluster, FORMING_MAX, Load, LoadPlan, Roll};
use std::time::Duration;

/// Far above the second that is promised, for slow machines.
const FAILING_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_is_seen_by_nobody() {
    let mut cluster = Cluster::of(3).await;
    let load = Load::begin(Roll::of(&cluster), LoadPlan::default()).await;
    for at in 0..3 {
        load.more(100).await;
        assert_eq!(cluster.terminate(at).code(), Some(0), "a clean stop");
        load.more(50).await;
        cluster.restart(at);
        cluster.await_formed(FORMING_MAX).await;
    }
    load.more(100).await;
    let verdict = load.settle().await;
    verdict.must_be_faultless();
    assert_eq!(verdict.not_resumed, 0, "sessions are resumed elsewhere");
    assert!(verdict.reconnects >= verdict.written.len(), "everybody was told to go at least once");
    assert!(verdict.longest_failing() < FAILING_MAX, "{:?}", verdict.longest_failing());
}
