//! Runs of chaos that fit into a minute or two each: eight kinds of faults on three nodes, one after the other, and ten power cuts of all
//! nodes, judged.
//!
//! What this machine cannot inject is printed as not run. `docs/reliability/real-processes.md` says how longer runs are made.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measured")]

use rollcall_tests::{
    chaos::{ChaosPlan, Kind, run},
    invariants::Finding,
};
use std::{env, process, time::Duration};
use tokio::sync::Mutex;

/// Kinds that need nothing but processes; the last two need root, and are said not to be run without it.
const KINDS: &str = "kill,kill-all,pause-lease,rolling-restart,wiped,slow-readers,cut-minority,power-cut-all";

/// Held by the run that is made: what runs stand on is named after the process.
static TURN: Mutex<()> = Mutex::const_new(());

/// Makes a run, prints its report, and demands that it holds; `beyond` of its faults may be said not to be run.
async fn must_hold(plan: ChaosPlan, faults: usize, beyond: usize) {
    let _turn = TURN.lock().await;
    let report = run(&plan).await;
    println!("{report}");
    let cannot = report.not_run.len();
    assert!(cannot <= beyond, "only what needs root may be missing\n{report}");
    if cannot == plan.kinds.len() {
        return; // said on the page that was printed
    }
    assert_eq!(report.injected.len() + cannot, faults, "each was injected, or is said not to be\n{report}");
    if report.finding() != Finding::Holds {
        let kept = env::temp_dir().join(format!("rollcall-chaos-history-{}.jsonl", process::id()));
        report.history.keep(&kept).expect("a file");
        panic!("kept as {}\n{report}", kept.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_kinds_of_faults_on_three_processes_break_no_promise() {
    let plan = ChaosPlan {
        kinds: Kind::list(KINDS).expect("kinds"),
        passes: Some(1),
        seed: 2_026,
        writers: 12,
        heartbeats: 4,
        pace: Duration::from_millis(150),
        ..ChaosPlan::default()
    };
    must_hold(plan, KINDS.split(',').count(), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_power_cuts_of_all_nodes_lose_nothing_acknowledged() {
    let plan = ChaosPlan {
        kinds: vec![Kind::PowerCutAll],
        passes: Some(10),
        seed: 10,
        writers: 12,
        heartbeats: 4,
        pace: Duration::from_millis(150),
        ..ChaosPlan::default()
    };
    must_hold(plan, 10, 1).await;
}
