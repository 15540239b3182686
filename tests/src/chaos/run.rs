//! A run from start to verdict.

use super::{
    ChaosPlan, Injected, Report, Schedule, Step, TTL_MS,
    ground::{Ground, NotRun},
    heartbeats::Heartbeats,
    inject::{self, Active},
    members::Members,
    schedule::Round,
};
use crate::{
    cluster::Cluster,
    cluster_status::ClusterStatus,
    history::{
        History, Observed, ObservedPlan, Phase, Promises, Record, RecordedWatcher, Recorder, sample_process,
        sample_roles,
    },
    invariants::judge,
    load::Roll,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long a connection may be gone: shorter than a pause past every TTL.
const GRACE_MS: u64 = 5_000;
/// Between two heartbeats of a session. Less than half of [`TTL_MS`].
const HEARTBEAT_MS: u64 = 2_500;
/// Entries kept of each user's history: every write of a run has to be found again.
const HISTORY: usize = 200_000;
/// Acknowledged writes before the first fault, and after the last.
const LOAD: usize = 200;
/// Between two looks at who leads what.
const LOOK: Duration = Duration::from_millis(500);
/// How long a status may take then.
const STATUS_MAX: Duration = Duration::from_secs(1);
/// Places for nodes that join, each made before the run: so many, and one more for each of the seconds below. A network has no more than
/// the last.
const SPARE_PLACES: usize = 8;
const SECONDS_A_PLACE: u64 = 15;
const PLACES_MAX: usize = 250;

/// Runs a plan, and judges what came of it.
///
/// # Panics
/// When the cluster does not form, or the load does not begin: before any fault.
pub async fn run(plan: &ChaosPlan) -> Report {
    let more = usize::try_from(plan.lasting.as_secs() / SECONDS_A_PLACE).unwrap_or(PLACES_MAX);
    let spare = if plan.kinds.iter().any(|kind| kind.takes_a_place()) { SPARE_PLACES + more } else { 0 };
    let (ground, kinds, not_run) = Ground::make(&plan.kinds, (plan.nodes + spare).min(PLACES_MAX));
    let mut cluster = Cluster::plan(plan.nodes)
        .on(ground.places())
        .set("presence.grace_ms", GRACE_MS)
        .set("presence.session_ttl_ms", TTL_MS)
        .set("presence.heartbeat_ms", HEARTBEAT_MS)
        .set("limits.history_entries", HISTORY)
        .prepare()
        .await;
    (0..cluster.len()).for_each(|at| cluster.awake(at));
    tokio::task::block_in_place(|| cluster.get_ready());
    let addresses: Vec<(String, String)> =
        (0..cluster.len()).map(|at| (cluster.name(at).to_owned(), cluster.node(at).address.clone())).collect();
    let mut promises = promises(plan);
    promises.required_faults =
        BTreeSet::from_iter(kinds.iter().map(|kind| kind.recorded().to_owned())).into_iter().collect();
    let recorder = Recorder::new(promises, &addresses);
    let roll = Roll::of(&cluster);
    let mut members = Members::new(cluster, recorder, roll);
    if let Err(why) = members.whole("the start").await {
        members.fail(why);
    }
    Running { plan, ground, members, injected: Vec::new() }.run(&kinds, not_run).await
}

/// What the run is held to: its settings, and the design's figures times the slack.
fn promises(plan: &ChaosPlan) -> Promises {
    let usual = Promises::default();
    Promises {
        ttl_us: TTL_MS * 1_000,
        grace_us: GRACE_MS * 1_000,
        failover_us: usual.failover_us * plan.slack,
        delivery_us: usual.delivery_us * plan.slack,
        heal_us: usual.heal_us * plan.slack,
        batch_us: usual.batch_us * plan.slack,
        load_min: LOAD,
        // A node may hold the sockets of all clients in the end, where it held its share.
        fds_slack: usual.fds_slack + (plan.writers + plan.heartbeats + plan.nodes + 1) as u64,
        ..usual
    }
}

struct Running<'a> {
    plan: &'a ChaosPlan,
    // Nodes end before what they stand on is taken away: fields are dropped in this order.
    members: Members,
    ground: Ground,
    injected: Vec<Injected>,
}

impl Running<'_> {
    async fn run(mut self, kinds: &[super::Kind], not_run: Vec<NotRun>) -> Report {
        let (recorder, roll) = (self.members.recorder.clone(), self.members.roll.clone());
        let over = Arc::new(AtomicBool::new(false));
        let looking = tokio::spawn(look(recorder.clone(), roll.clone(), over.clone()));
        let load = ObservedPlan {
            users: self.plan.writers,
            watchers: self.plan.nodes,
            pace: self.plan.pace,
            ..ObservedPlan::default()
        };
        let heartbeats = Heartbeats::begin(&recorder, &roll, self.plan.heartbeats, Duration::from_millis(HEARTBEAT_MS));
        let watcher = RecordedWatcher::new(&recorder, &roll, "heartbeats-w", ("the-service", "service"), 0);
        let watching = tokio::spawn(watcher.watching(&heartbeats.users).run(over.clone()));
        let observed = Observed::begin(&recorder, &roll, &load).await;
        observed.more(LOAD + LOAD / 2).await;
        self.sample(Phase::Before).await;
        let users = observed.users().to_vec();
        self.passes(kinds, &users).await;
        observed.more(LOAD).await;
        self.sample(Phase::After).await;
        heartbeats.only_stay();
        let names = self.members.names(&self.members.all());
        let promises = recorder.look(|history| history.promises.clone());
        recorder.push(Record::Promises(Promises { nodes: names, ..promises }));
        let history = observed.settle().await;
        over.store(true, Ordering::Relaxed);
        let ended = [heartbeats.end().await, joined("a watcher", watching).await, joined("a look", looking).await];
        self.members.findings.extend(ended.into_iter().filter_map(Result::err));
        self.members.look_for_ended("the end");
        self.report(not_run, history)
    }

    fn report(self, not_run: Vec<NotRun>, history: History) -> Report {
        let judgement = judge(&history);
        let (injected, findings, failures) = (self.injected, self.members.findings, self.members.failures);
        Report { injected, not_run, findings, failures, history, judgement }
    }

    async fn passes(&mut self, kinds: &[super::Kind], users: &[String]) {
        let begun = Instant::now();
        let mut schedule = Schedule::new(kinds, self.plan.overlap, self.plan.seed);
        for number in 0.. {
            let enough = match self.plan.passes {
                Some(passes) => number >= passes,
                None => number > 0 && begun.elapsed() >= self.plan.lasting,
            };
            if enough || kinds.is_empty() {
                return;
            }
            for round in schedule.pass() {
                let places = round.steps.iter().filter(|step| step.kind.takes_a_place()).count();
                if self.members.cluster.len() + places > self.ground.nodes() {
                    eprintln!("  no place is left for a node that joins: the run ends");
                    return;
                }
                self.round(&round, users).await;
                if self.members.is_over() {
                    return;
                }
            }
        }
    }

    /// A round: the second fault, if there is one, begins in the midst of the first and outlasts it by half.
    async fn round(&mut self, round: &Round, users: &[String]) {
        sleep(Duration::from_millis(round.rest_ms)).await;
        self.members.excused.clear();
        let mut active = Vec::new();
        for step in &round.steps {
            let at = Duration::from_micros(self.members.recorder.now());
            eprintln!("{at:>9.1?} {} {}", step.kind, if active.is_empty() { "" } else { "(overlapping)" });
            match inject::begin(&mut self.members, &self.ground, *step, users).await {
                Ok(begun) => active.push(begun),
                Err(why) => self.members.fail(format!("{} was not injected: {why}", step.kind)),
            }
            self.hold(step, round.steps.len()).await;
        }
        self.sample(Phase::During).await;
        for (number, active) in active.into_iter().enumerate() {
            if number > 0 {
                self.hold(&round.steps[number], round.steps.len()).await;
            }
            self.end(active).await;
        }
        let names = round.steps.iter().map(|step| step.kind.name()).collect::<Vec<_>>().join(" and ");
        self.members.look_for_ended(&names);
        if let Err(why) = self.members.whole(&names).await {
            self.members.find(why);
        }
    }

    /// A fault lasts as long as it was drawn to; half of it with the next one, if there is one.
    async fn hold(&self, step: &Step, of: usize) {
        let parts = u64::try_from(of).unwrap_or(1);
        sleep(Duration::from_millis(step.hold_ms / parts)).await;
    }

    async fn end(&mut self, active: Active) {
        match inject::end(&mut self.members, &self.ground, active).await {
            Ok(injected) => self.injected.push(injected),
            Err(why) => self.members.find(why),
        }
    }

    /// Writes down what every node uses.
    async fn sample(&self, phase: Phase) {
        let cluster = &self.members.cluster;
        for at in self.members.sound().into_iter().filter(|at| cluster.node(*at).is_running()) {
            let status = timeout(STATUS_MAX, cluster.status(at)).await.ok().flatten();
            let process = cluster.node(at).process();
            sample_process(&self.members.recorder, phase, cluster.name(at), process, status.as_ref());
        }
    }
}

async fn joined(who: &str, task: JoinHandle<()>) -> Result<(), String> {
    task.await.map_err(|why| format!("{who}: {why}"))
}

/// Writes down who leads what by every node's word, until it is over.
async fn look(recorder: Recorder, roll: Roll, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        for at in 0..roll.len() {
            let admin = roll.client(at, "the-admin", "admin");
            if let Ok(Some(status)) = timeout(STATUS_MAX, ClusterStatus::ask(&admin)).await {
                sample_roles(&recorder, &recorder.name_of(&admin.address), &status);
            }
        }
        sleep(LOOK).await;
    }
}
