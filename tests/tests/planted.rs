//! Faults planted in the nodes on purpose, each of which a promise must catch; and the same run without one, which must hold.
//!
//! A run stages what the faults need, in an order drawn from a seed: everybody resumes at another node, a decision comes late, and
//! homes are taken over. Built with the feature `planted-faults` alone.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use rollcall_node::planted;
use rollcall_tests::{
    Cut, FORMING_MAX, TestCluster, eventually, eventually_within,
    history::{
        CUT_OFF, Micros, Observed, ObservedPlan, Op, Outcome, Promises, RecordedWatcher, RecordedWriter, Recorder,
    },
    invariants::{Finding, Judgement, judge},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// Runs in which a fault must be caught.
const TRIES_MAX: u64 = 3;
const NODES: usize = 3;
/// Long enough to resume within on a slow machine, short enough to wait for.
const GRACE_MS: u64 = 5_000;
/// Of HTTP sessions: longer than a client waits for the answers of two nodes in vain, so that nothing breaks its evidence.
const TTL_MS: u64 = 8_000;
/// What a debug build on a busy machine may take where the promise is 5 s.
const SLOW_US: u64 = 20_000_000;
/// How long a change may take to its watchers where nothing is cut off, as long as nothing may be for what was missed to be judged.
const DELIVERY_US: u64 = 10_000_000;
/// Acknowledged writes between one event and the next.
const LOAD: usize = 200;
/// Requests to a cut-off node that must have gone unanswered.
const UNANSWERED: usize = 10;
/// How long anything of a run may take. Used up by failures only.
const PATIENCE: Duration = Duration::from_secs(60);
/// The watcher to whom a decision comes late.
const LATE: &str = "late";

const ALIVE: &str = "nobody alive is shown offline";
const EQUAL: &str = "all is equal after quiescence";
const REVOKED: &str = "no revoked view is revived";

fn promises() -> Promises {
    Promises {
        ttl_us: TTL_MS * 1_000,
        grace_us: GRACE_MS * 1_000,
        failover_us: SLOW_US,
        delivery_us: DELIVERY_US,
        heal_us: SLOW_US,
        load_min: LOAD,
        required_faults: vec![CUT_OFF.into()],
        ..Promises::default()
    }
}

/// A cluster under a recorded load, and the draws of its seed.
struct Staged {
    cluster: TestCluster,
    recorder: Recorder,
    observed: Observed,
    rng: ChaCha8Rng,
    over: Arc<AtomicBool>,
}

impl Staged {
    async fn begin(cluster: TestCluster, seed: u64) -> Self {
        let addresses: Vec<(String, String)> =
            cluster.names().into_iter().enumerate().map(|(at, name)| (name, cluster.roll.address(at))).collect();
        let recorder = Recorder::new(promises(), &addresses);
        let plan = ObservedPlan {
            users: 12,
            passing: 12,
            heartbeat: Duration::from_secs(1),
            pace: Duration::from_millis(100),
            ..ObservedPlan::default()
        };
        let observed = Observed::begin(&recorder, &cluster.roll, &plan).await;
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { cluster, recorder, observed, rng, over: Arc::default() }
    }

    /// Waits until this much of the run has passed.
    async fn reaches(&self, at: Micros) {
        eventually_within(PATIENCE, "time has passed", async || (self.recorder.now() >= at).then_some(())).await;
    }

    /// Everybody leaves a connection behind, and by the end of its grace its node ends it, in the name of what is attached no longer.
    async fn all_resume_elsewhere(&self) {
        self.observed.all_go_on().await;
        self.reaches(self.recorder.now() + (GRACE_MS + 1_000) * 1_000).await;
    }

    /// A viewer blocks somebody while the grant of that user's home is on its way, with what the viewer's home had said before.
    async fn a_decision_comes_late(&mut self) -> (JoinHandle<()>, Micros) {
        let (cluster, recorder, roll) = (&self.cluster, &self.recorder, &self.cluster.roll);
        let here = self.rng.random_range(0..NODES);
        let viewer = someone_at_home(cluster, here).await;
        let mut elsewhere = Vec::new();
        for user in self.observed.users().iter().filter(|user| !self.observed.passing().contains(user)) {
            let home = cluster.home_of(here, user).await;
            if home != here {
                elsewhere.push((user.clone(), home));
            }
        }
        let (subject, home) = elsewhere.choose(&mut self.rng).expect("a user with a home elsewhere").clone();
        let befriended = RecordedWriter::new(recorder, roll, "late-subject", &subject, here).add_contact(&viewer).await;
        assert_eq!(befriended, Outcome::Ok);
        let names = cluster.names();
        cluster.links.cut_one_way(&names[home], &names[here], Cut::Silent);
        let watcher = RecordedWatcher::new(recorder, roll, LATE, (&viewer, "user"), here);
        let watcher = watcher.watching(std::slice::from_ref(&subject));
        let watching = tokio::spawn(watcher.run(self.over.clone()));
        let connected = async || recorder.look(|h| h.links.iter().any(|l| l.watcher == LATE)).then_some(());
        eventually("the viewer is connected", connected).await;
        let blocked = RecordedWriter::new(recorder, roll, "late-viewer", &viewer, here).block(&subject).await;
        assert_eq!(blocked, Outcome::Ok);
        cluster.links.heal();
        let told = async || recorder.look(|h| h.sightings.iter().any(|s| s.watcher == LATE)).then_some(());
        eventually("the viewer is told", told).await;
        (watching, recorder.now())
    }

    /// A node is cut off until all its homes are elsewhere, and comes back.
    async fn homes_are_taken_over(&mut self) {
        let names = self.cluster.names();
        let alone = self.rng.random_range(0..NODES);
        self.cluster.cut_off(alone, Cut::Silent);
        let fault = self.recorder.fault_begins(CUT_OFF, &[&names[alone]]);
        let admin = self.cluster.admin((alone + 1) % NODES);
        for user in self.observed.users() {
            eventually("its home is elsewhere", async || {
                let located = admin.get(&format!("/v1/cluster/locate/{user}")).await;
                let leader = located.json()["leader"].as_str().map(ToOwned::to_owned)?;
                (leader != names[alone]).then_some(())
            })
            .await;
        }
        let unanswered = |op: &&Op| op.node == names[alone] && op.outcome == Outcome::Unknown;
        eventually("the cut-off node is asked in vain", async || {
            (self.recorder.look(|h| h.ops.iter().filter(unanswered).count()) >= UNANSWERED).then_some(())
        })
        .await;
        self.recorder.fault_ends(fault);
        self.cluster.links.heal();
        self.cluster.await_formed(FORMING_MAX).await;
    }

    /// Who only had HTTP sessions leaves, as their homes say.
    async fn the_passing_leave(&self) {
        self.observed.falls_silent();
        let service = self.cluster.client(0, "the-service", "service");
        for user in self.observed.passing() {
            eventually_within(PATIENCE, "the silent are offline", async || {
                let presence = service.get(&format!("/v1/users/{user}/presence")).await.json();
                (presence["status"] == "offline").then_some(())
            })
            .await;
        }
    }
}

/// A user whom nobody else has, whose home is the node at `home`.
async fn someone_at_home(cluster: &TestCluster, home: usize) -> String {
    let mut number = 0;
    loop {
        let user = format!("viewer-{number:04}");
        if cluster.home_of(home, &user).await == home {
            return user;
        }
        number += 1;
    }
}

/// The run of a seed, judged; with the fault of this name if there is one.
async fn run(seed: u64, fault: Option<&str>) -> Judgement {
    let plan = TestCluster::plan(NODES).with(|settings| {
        settings.presence.grace_ms = GRACE_MS;
        settings.presence.session_ttl_ms = TTL_MS;
        settings.presence.heartbeat_ms = TTL_MS / 3;
    });
    // Whoever has a cluster has this process for itself, and may plant.
    let cluster = plan.start().await;
    let _planted = fault.map(|name| planted::plant(name).expect("a fault of this name"));
    let mut staged = Staged::begin(cluster, seed).await;
    let begun = staged.recorder.now();
    staged.observed.more(LOAD).await;
    let (watching, told) = if staged.rng.random() {
        staged.all_resume_elsewhere().await;
        staged.a_decision_comes_late().await
    } else {
        let late = staged.a_decision_comes_late().await;
        staged.all_resume_elsewhere().await;
        late
    };
    // By then no session lives by what it was opened with, and what was shown in time is known.
    staged.reaches((begun + TTL_MS * 1_000).max(told + DELIVERY_US)).await;
    staged.homes_are_taken_over().await;
    staged.observed.more(LOAD).await;
    staged.the_passing_leave().await;
    let Staged { cluster, observed, over, .. } = staged;
    let judgement = judge(&observed.settle().await);
    over.store(true, Ordering::Relaxed);
    watching.await.expect("a watcher");
    cluster.stop().await;
    judgement
}

/// Demands that the promise is broken by the fault within [`TRIES_MAX`] runs.
async fn is_caught(fault: &str, promise: &str) {
    for seed in 1..=TRIES_MAX {
        let judgement = run(seed, Some(fault)).await;
        println!("{fault}, seed {seed}:\n{judgement}");
        if judgement.verdict(promise).is_some_and(|verdict| !verdict.holds()) {
            println!("{fault}: caught by {promise:?} with seed {seed}");
            return;
        }
    }
    panic!("{fault} was not caught within {TRIES_MAX} runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_run_without_a_fault_holds() {
    for seed in 1..=TRIES_MAX {
        let judgement = run(seed, None).await;
        println!("without a fault, seed {seed}:\n{judgement}");
        assert_eq!(judgement.finding(), Finding::Holds, "{judgement}");
        for promise in [ALIVE, EQUAL, REVOKED] {
            assert!(judgement.verdict(promise).is_some_and(|v| v.judged > 0), "never tried: {promise}\n{judgement}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_whose_time_is_not_counted_anew_at_a_takeover_are_caught() {
    is_caught("ttl-not-restarted-at-takeover", ALIVE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_a_new_home_is_not_told_of_are_caught() {
    is_caught("re-announce-dropped", EQUAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_decision_that_is_taken_is_caught() {
    is_caught("late-frame-after-revoke", REVOKED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_the_name_of_an_older_attachment_that_is_taken_is_caught() {
    is_caught("attachment-number-ignored", ALIVE).await;
}
