//! A run of chaos that fits into a minute or two: eight kinds of faults on three nodes, one after the other, judged.
//!
//! What this machine cannot inject is printed as not run. `docs/reliability/real-processes.md` says how longer runs are made.

use rollcall_tests::{
    chaos::{ChaosPlan, Kind, run},
    invariants::Finding,
};
use std::{env, process, time::Duration};

/// Kinds that need nothing but processes; the last two need root, and are said not to be run without it.
const KINDS: &str = "kill,kill-all,pause-lease,rolling-restart,wiped,slow-readers,cut-minority,power-cut-all";

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
    let report = run(&plan).await;
    println!("{report}");
    let cannot = report.not_run.len();
    assert_eq!(report.injected.len() + cannot, plan.kinds.len(), "each was injected, or is said not to be\n{report}");
    assert!(cannot <= 2, "only what needs root may be missing\n{report}");
    if report.finding() != Finding::Holds {
        let kept = env::temp_dir().join(format!("rollcall-chaos-history-{}.jsonl", process::id()));
        report.history.keep(&kept).expect("a file");
        panic!("kept as {}\n{report}", kept.display());
    }
}
