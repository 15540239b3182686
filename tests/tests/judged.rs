//! Faults under a recorded load, judged by every promise.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

use rollcall_tests::{
    Cluster, Cut, FORMING_MAX, Roll, TestCluster, eventually,
    history::{
        CUT_OFF, History, KILL, Observed, ObservedPlan, Op, Outcome, Phase, Promises, Recorder, sample_process,
        sample_roles,
    },
    invariants::{Finding, Judgement, judge},
};

/// Long enough to come back within on a slow machine, short enough to wait for.
const GRACE_MS: u64 = 5_000;
/// Of HTTP sessions. Those who fall silent must be shown offline before the test can end.
const TTL_MS: u64 = 3_000;
/// What a debug build on a busy machine may take where the promise is 5 s.
const SLOW_US: u64 = 20_000_000;
/// Acknowledged writes before and after a fault.
const LOAD: usize = 200;
/// Requests to a cut-off node that must have gone unanswered: each takes 2 s, many are under way at once.
const UNANSWERED: usize = 10;

fn promises(fault: &str) -> Promises {
    Promises {
        ttl_us: TTL_MS * 1_000,
        grace_us: GRACE_MS * 1_000,
        failover_us: SLOW_US,
        delivery_us: SLOW_US,
        heal_us: SLOW_US,
        load_min: LOAD,
        required_faults: vec![fault.into()],
        ..Promises::default()
    }
}

/// Prints the table; keeps the history of a run that does not hold.
fn must_hold(history: &History) -> Judgement {
    let judgement = judge(history);
    println!("{judgement}");
    if judgement.finding() != Finding::Holds {
        let (_, kept) = tempfile::Builder::new()
            .prefix("rollcall-judged-")
            .suffix(".jsonl")
            .tempfile()
            .and_then(|file| file.keep().map_err(|e| e.error))
            .expect("a file");
        history.keep(&kept).expect("a file");
        panic!("kept as {}\n{judgement}", kept.display());
    }
    judgement
}

/// Demands that these promises were tried, not only unbroken.
fn must_have_tried(judgement: &Judgement, promises: &[&str]) {
    for promise in promises {
        let verdict = judgement.verdict(promise).expect("a promise of the table");
        assert!(verdict.judged > 0, "never tried: {promise}\n{judgement}");
    }
}

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
    let plan = Cluster::plan(3).set("presence.grace_ms", GRACE_MS).set("presence.session_ttl_ms", TTL_MS);
    let mut cluster = plan.start().await;
    let addresses: Vec<(String, String)> =
        (0..cluster.len()).map(|at| (cluster.name(at).to_owned(), cluster.node(at).address.clone())).collect();
    let recorder = Recorder::new(promises(KILL), &addresses);
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
    observed.falls_silent();
    observed.all_are_shown_offline().await;
    let judgement = must_hold(&observed.settle().await);
    let untried = ["no revoked view is revived", "the cut-off side acknowledges nothing, says stale"];
    let tried = judgement.verdicts.iter().map(|v| v.promise).filter(|promise| !untried.contains(promise));
    must_have_tried(&judgement, &tried.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_under_a_recorded_load_breaks_no_promise() {
    let plan = TestCluster::plan(3).with(|settings| {
        settings.presence.grace_ms = GRACE_MS;
        settings.presence.session_ttl_ms = TTL_MS;
        settings.presence.heartbeat_ms = TTL_MS / 3;
    });
    let cluster = plan.start().await;
    let names = cluster.names();
    let addresses: Vec<(String, String)> =
        names.iter().enumerate().map(|(at, name)| (name.clone(), cluster.roll.address(at))).collect();
    let recorder = Recorder::new(promises(CUT_OFF), &addresses);
    let observed = Observed::begin(&recorder, &cluster.roll, &ObservedPlan::default()).await;
    observed.more(LOAD).await;
    cluster.cut_off(2, Cut::Silent);
    let fault = recorder.fault_begins(CUT_OFF, &["n3"]);
    eventually("the cut-off node is asked in vain", async || {
        let unanswered = |op: &&Op| op.node == "n3" && op.outcome == Outcome::Unknown;
        (recorder.look(|history| history.ops.iter().filter(unanswered).count()) >= UNANSWERED).then_some(())
    })
    .await;
    recorder.fault_ends(fault);
    cluster.links.heal();
    cluster.await_formed(FORMING_MAX).await;
    observed.more(LOAD).await;
    let judgement = must_hold(&observed.settle().await);
    must_have_tried(&judgement, &["the cut-off side acknowledges nothing, says stale", "each user is linearizable"]);
    cluster.stop().await;
}
