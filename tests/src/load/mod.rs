//! Load on a cluster while things happen to it, and the verdict afterwards.
//!
//! Writers write serials and count only what was acknowledged; people hold a connection and come back within the grace;
//! watchers record what they are shown. Nobody here panics while a node is away: what a client of that node would see is
//! written down, and judged at the end by the contract alone.

mod person;
mod roll;
mod sightings;
mod watcher;
mod writer;

pub use roll::Roll;
pub use sightings::Sightings;
pub use writer::Written;

use crate::{
    client::Client,
    wait::{eventually, eventually_within},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// How long watchers have to hold what the homes hold, once all is quiet. Contract: convergence.
const CONVERGENCE_MAX: Duration = Duration::from_secs(30);
/// Most entries of a page of history.
const PAGE: usize = 1_000;

/// How much load.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// What the users' names begin with: new users for every load on a cluster.
    pub stem: String,
    /// Users: each is a person with a connection and a writer.
    pub users: usize,
    /// The pause between an answer and the same user's next write.
    pub pace: Duration,
    /// Watchers of all users; they are spread over the nodes.
    pub watchers: usize,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self { stem: "load".into(), users: 24, pace: Duration::from_millis(60), watchers: 3 }
    }
}

/// What everybody of a load shares.
#[derive(Debug)]
struct Shared {
    roll: Roll,
    /// Writers shall finish the write in hand and stop.
    enough: AtomicBool,
    /// People and watchers shall leave.
    over: AtomicBool,
    acknowledged: AtomicUsize,
    begun: Instant,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    users: Vec<String>,
    writers: Vec<JoinHandle<Written>>,
    people: Vec<JoinHandle<person::Stay>>,
    watchers: Vec<JoinHandle<Sightings>>,
    watching: Vec<Arc<watcher::Held>>,
}

impl Load {
    /// Begins: everybody is online and watched before the first write.
    ///
    /// # Panics
    /// When the people do not get online.
    pub async fn begin(roll: Roll, plan: LoadPlan) -> Self {
        let users: Vec<String> = (0..plan.users).map(|n| format!("{}-{n:04}", plan.stem)).collect();
        let shared = Arc::new(Shared {
            roll,
            enough: AtomicBool::new(false),
            over: AtomicBool::new(false),
            acknowledged: AtomicUsize::new(0),
            begun: Instant::now(),
        });
        let online = Arc::new(AtomicUsize::new(0));
        let people = (0..)
            .zip(&users)
            .map(|(at, user)| tokio::spawn(person::stay(shared.clone(), user.clone(), at, online.clone())))
            .collect();
        eventually("everybody is online", async || (online.load(Ordering::Relaxed) == users.len()).then_some(())).await;
        let mut watching = Vec::new();
        let mut watchers = Vec::new();
        for at in 0..plan.watchers {
            let held = Arc::new(watcher::Held::default());
            watching.push(held.clone());
            watchers.push(tokio::spawn(watcher::watch(shared.clone(), users.clone(), at, held)));
        }
        eventually("everybody is watched", async || {
            watching.iter().all(|held| held.count() == users.len()).then_some(())
        })
        .await;
        let writers = (0..)
            .zip(&users)
            .map(|(at, user)| tokio::spawn(writer::write(shared.clone(), user.clone(), at, plan.pace)))
            .collect();
        Self { shared, users, writers, people, watchers, watching }
    }

    /// Who is under load.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The nodes that it goes to; may be changed while it runs.
    #[must_use]
    pub fn roll(&self) -> &Roll {
        &self.shared.roll
    }

    /// Acknowledged writes so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Time since it began, in which the verdict's times are given too.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// Waits for this many more acknowledged writes.
    pub async fn more(&self, count: usize) {
        let wanted = self.acknowledged() + count;
        eventually_within(CONVERGENCE_MAX * 2, "writes are acknowledged", async || {
            (self.acknowledged() >= wanted).then_some(())
        })
        .await;
    }

    /// Ends the writing, waits until watchers hold what the homes hold, reads every history, and judges.
    ///
    /// # Panics
    /// When watchers do not come to hold what the homes hold, or histories cannot be read.
    pub async fn settle(self) -> Verdict {
        self.shared.enough.store(true, Ordering::Relaxed);
        let mut written = Vec::new();
        for writer in self.writers {
            written.push(writer.await.expect("a writer"));
        }
        let service = self.shared.roll.client(0, "the-service", "service");
        self::converged(&service, &self.users, &self.watching).await;
        let mut verdict = Verdict::default();
        for writer in &written {
            let user = self.shared.roll.client(0, &writer.user, "user");
            verdict.take_writer(writer, &history(&user).await);
        }
        self.shared.over.store(true, Ordering::Relaxed);
        for watcher in self.watchers {
            verdict.take_sightings(&watcher.await.expect("a watcher"));
        }
        for person in self.people {
            let stay = person.await.expect("a person");
            verdict.reconnects += stay.connections.saturating_sub(1);
            verdict.not_resumed += stay.not_resumed;
        }
        verdict.written = written;
        verdict
    }
}

/// Waits until every watcher holds what the homes hold.
async fn converged(service: &Client, users: &[String], watching: &[Arc<watcher::Held>]) {
    eventually_within(CONVERGENCE_MAX, "watchers hold what the homes hold", async || {
        for part in users.chunks(500) {
            let body = json!({"users": part});
            let answer = service.try_send("POST", "/v1/presence/query", &[], Some(&body)).await.ok()?;
            if answer.status != 200 {
                return None;
            }
            for presence in answer.json()["presences"].as_array()? {
                let user = presence["user"].as_str()?;
                if presence["stale"] != false || !watching.iter().all(|held| held.is(user, presence)) {
                    return None;
                }
            }
        }
        Some(())
    })
    .await;
}

/// A user's whole history, oldest first.
async fn history(user: &Client) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/users/me/history?limit={PAGE}{cursor}");
        let page = eventually("the history", async || {
            let reply = user.try_send("GET", &path, &[], None).await.ok()?;
            (reply.status == 200).then(|| reply.json())
        })
        .await;
        entries.extend(page["entries"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    entries.reverse();
    entries
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Acknowledged writes that are not in the history, or are there twice, or out of order.
    pub lost: Vec<String>,
    /// Times that a watcher was shown somebody offline who was not gone.
    pub false_offline: Vec<String>,
    /// Times that a version fell, or one version had two states.
    pub fallen: Vec<String>,
    /// Changes of the sessions' aggregate in the histories after the first: nobody came or went.
    pub events: Vec<String>,
    /// Answers that the contract does not have.
    pub foreign: Vec<String>,
    /// Connections that were taken up again.
    pub reconnects: usize,
    /// Of these, such as did not get their session back.
    pub not_resumed: usize,
    /// Presences that watchers were shown as `stale`.
    pub stale: usize,
    /// What each writer wrote.
    pub written: Vec<Written>,
}

impl Verdict {
    fn take_writer(&mut self, writer: &Written, history: &[Value]) {
        self.acknowledged += writer.acknowledged.len();
        self.lost.extend(writer::missing(writer, history));
        self.foreign.extend(writer.foreign.iter().cloned());
        let reason = |entry: &Value| entry["reason"].as_str().unwrap_or_default().to_owned();
        let others = history.iter().map(reason).filter(|reason| reason != "status_set").skip(1);
        self.events.extend(others.map(|reason| format!("{}: {reason}", writer.user)));
    }

    fn take_sightings(&mut self, seen: &Sightings) {
        self.false_offline.extend(seen.offline.iter().cloned());
        self.fallen.extend(seen.fallen.iter().cloned());
        self.stale += seen.stale;
    }

    /// The longest time in which one user's writes failed or had no answer.
    #[must_use]
    pub fn longest_failing(&self) -> Duration {
        self.written.iter().map(|w| w.longest_failing).max().unwrap_or_default()
    }

    /// The time from `at` to the acknowledgement of each user's first write that was sent or sent again after it, by user. One
    /// that was under way at that moment counts: its user waits for it.
    #[must_use]
    pub fn first_sent_after(&self, at: Duration) -> BTreeMap<String, Duration> {
        let first = |w: &Written| w.acknowledged.iter().find(|a| a.last_sent > at).map(|a| a.at - at);
        self.written.iter().filter_map(|w| Some((w.user.clone(), first(w)?))).collect()
    }

    /// All figures in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} writes acknowledged, {} lost; {} shown offline while alive; {} versions fell; {} events without a cause; {} \
             answers that are none; {} reconnects, {} without their session; {} presences shown as stale",
            self.acknowledged,
            self.lost.len(),
            self.false_offline.len(),
            self.fallen.len(),
            self.events.len(),
            self.foreign.len(),
            self.reconnects,
            self.not_resumed,
            self.stale
        )
    }

    /// Demands that nothing acknowledged was lost, nobody alive was shown offline, and versions only rose.
    ///
    /// # Panics
    /// When one of these does not hold: with every case.
    pub fn must_be_faultless(&self) {
        let mut faults = String::new();
        for (what, cases) in [
            ("acknowledged writes lost", &self.lost),
            ("shown offline while alive", &self.false_offline),
            ("versions fell", &self.fallen),
            ("events without a cause", &self.events),
            ("answers that are none", &self.foreign),
        ] {
            if !cases.is_empty() {
                let _ = writeln!(faults, "{}: {} cases, such as {:?}", what, cases.len(), &cases[..cases.len().min(5)]);
            }
        }
        assert!(faults.is_empty(), "{faults}");
        assert!(self.acknowledged > 0, "nothing was written");
    }
}
