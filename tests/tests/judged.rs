//! A killed node under a recorded load, judged by every promise.

use rollcall_tests::{
    Cluster, FORMING_MAX, Roll,
    history::{KILL, Observed, ObservedPlan, Phase, Promises, Recorder, sample_process, sample_roles},
    invariants::{Finding, judge},
};

/// Long enough to come back within on a slow machine, short enough to wait for.
const GRACE_MS: u64 = 5_000;
/// Of HTTP sessions. Those who fall silent must be shown offline before the test can end.
const TTL_MS: u64 = 3_000;
/// What a debug build on a busy machine may take where the promise is 5 s.
const SLOW_US: u64 = 20_000_000;
/// Acknowledged writes before and after the kill.
const LOAD: usize = 200;

/// Writes down what every running node says and uses.
async fn sample(recorder: &Recorder, cluster: &Cluster, phase: Phase) {
    for at in cluster.running() {
        let status = cluster.status(at).await;
        if let Some(status) = &status {
            sample_roles(recorder, cluster.name(at), status);
        }
        sample_process(recorder, phase, cluster.name(at), cluster.node(at).process(), status.as_ref());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_under_a_recorded_load_breaks_no_promise() {
    let cluster = Cluster::plan(3).set("presence.grace_ms", GRACE_MS).set("presence.session_ttl_ms", TTL_MS);
    let mut cluster = cluster.start().await;
    let addresses: Vec<(String, String)> =
        (0..cluster.len()).map(|at| (cluster.name(at).to_owned(), cluster.node(at).address.clone())).collect();
    let promises = Promises {
        grace_us: GRACE_MS * 1_000,
        failover_us: SLOW_US,
        delivery_us: SLOW_US,
        heal_us: SLOW_US,
        load_min: LOAD,
        required_faults: vec![KILL.into()],
        ..Promises::default()
    };
    let recorder = Recorder::new(promises, &addresses);
    let observed = Observed::begin(&recorder, &Roll::of(&cluster), &ObservedPlan::default()).await;
    observed.more(LOAD).await;
    sample(&recorder, &cluster, Phase::Before).await;
    observed.more(LOAD / 2).await;
    cluster.kill9(2);
    let fault = recorder.fault_begins(KILL, &["n3"]);
    observed.more(LOAD).await;
    sample(&recorder, &cluster, Phase::During).await;
    recorder.fault_ends(fault);
    cluster.restart(2);
    cluster.await_formed(FORMING_MAX).await;
    observed.more(LOAD).await;
    sample(&recorder, &cluster, Phase::After).await;
    let history = observed.settle().await;
    let judgement = judge(&history);
    println!("{judgement}");
    if judgement.finding() != Finding::Holds {
        let kept = std::env::temp_dir().join(format!("rollcall-judged-{}.jsonl", std::process::id()));
        history.keep(&kept).expect("a file");
        panic!("kept as {}\n{judgement}", kept.display());
    }
}
