//! Quick readers who write down when they learn of each change: for programs that measure how soon friends are told.
//!
//! Stars change a number, at a steady rate that waits for no answer; each has readers of its own, who are told once of each change.
//! Every socket is read all the time, by a task of its own, and every end is written down with what the server said. Stars are kept
//! online by sockets, so that nobody has to think of heartbeats.

use crate::{
    client::Client,
    server::Server,
    socket::{Event, Socket},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fmt, fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 64;
/// How long a change may take to be seen before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// The pause between two looks whether all has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A reader was told of a change.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    reader: usize,
    change: usize,
    at: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    sightings: Vec<Sighting>,
    ends: Vec<String>,
}

/// Stars and their readers.
#[derive(Debug)]
pub struct Audience {
    stars: Vec<Client>,
    readers_per_star: usize,
    seen: Arc<Mutex<Seen>>,
    /// Changes made so far: the number of the next one.
    changes: usize,
}

/// What was seen of one round of changes.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// From a change's time to its being seen: of half of all sightings.
    pub half: Duration,
    /// Of 99 of 100.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
    /// Sightings that were due.
    pub due: usize,
    /// Sightings that did not come.
    pub lost: usize,
    /// Sightings of changes of an earlier round, which counted as lost there.
    pub late: usize,
    /// Changes that were not acknowledged.
    pub refused: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { half, p99, longest, due, lost, late, refused } = self;
        write!(f, "half {half:.1?}, p99 {p99:.1?}, longest {longest:.1?}; of {due} events {lost} lost, {late} late; ")?;
        write!(f, "{refused} changes refused")
    }
}

impl Audience {
    /// Connects `stars` users and, of each, so many readers, all at `server`, which shows everybody to everyone.
    pub async fn gather(server: &Server, stars: usize, readers_per_star: usize) -> Self {
        let stars: Vec<Client> = (0..stars).map(|n| server.client(&format!("star-{n}"), "user")).collect();
        let seen = Arc::<Mutex<Seen>>::default();
        let on_stage = stars.iter().map(|star| star.connect("watch=none"));
        let sockets: Vec<Socket> = stream::iter(on_stage).buffered(OPENED_AT_ONCE).collect().await;
        for (star, socket) in stars.iter().zip(sockets) {
            tokio::spawn(read(socket, star.id.clone(), usize::MAX, seen.clone()));
        }
        let readers = (0..stars.len() * readers_per_star).map(|reader| {
            let star = stars[reader / readers_per_star].id.clone();
            let (client, seen) = (server.client(&format!("reader-{reader}"), "user"), seen.clone());
            async move {
                let mut socket = client.connect("session=false&watch=none").await;
                socket.watch(json!([star])).await;
                tokio::spawn(read(socket, client.id, reader, seen));
            }
        });
        stream::iter(readers).buffer_unordered(OPENED_AT_ONCE).collect::<Vec<()>>().await;
        Self { stars, readers_per_star, seen, changes: 0 }
    }

    /// Users who change.
    #[must_use]
    pub fn stars(&self) -> &[Client] {
        &self.stars
    }

    /// Makes `changes`, one star after the other, one every `pause`, and waits until all were seen, or are lost.
    pub async fn round(&mut self, changes: usize, pause: Duration, meta: &Value) -> Round {
        let first = self.changes;
        self.changes += changes;
        self.seen().sightings.clear();
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut made, mut acknowledged) = (Vec::new(), JoinSet::new());
        for change in first..first + changes {
            ticks.tick().await;
            made.push(Instant::now());
            let star = self.stars[change % self.stars.len()].clone();
            let body = json!({"status": "dnd", "text": change.to_string(), "meta": meta});
            acknowledged.spawn(async move {
                let answer = star.try_send("PUT", "/v1/users/me/status", &[], Some(&body)).await;
                answer.is_ok_and(|a| a.status == 200)
            });
        }
        let refused = acknowledged.join_all().await.into_iter().filter(|done| !done).count();
        let due = changes * self.readers_per_star;
        let until = Instant::now() + LOST_AFTER;
        while self.seen().sightings.iter().filter(|s| s.change >= first).count() < due && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        let sightings = self.seen().sightings.clone();
        let late = sightings.iter().filter(|s| s.change < first).count();
        let mut once = HashSet::new();
        let mut delays: Vec<Duration> = sightings
            .iter()
            .filter(|s| s.change >= first && once.insert((s.reader, s.change)))
            .filter_map(|s| Some(s.at.saturating_duration_since(*made.get(s.change - first)?)))
            .collect();
        delays.sort();
        let at = |percent: usize| delays.get((delays.len() * percent / 100).min(delays.len().saturating_sub(1)));
        let [half, p99, longest] = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or(LOST_AFTER));
        Round { half, p99, longest, due, lost: due - delays.len().min(due), late, refused }
    }

    /// The ends of sockets since this was asked last, each with its owner, the close code and the goodbye.
    #[must_use]
    pub fn ends(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().ends)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a socket until it ends.
async fn read(mut socket: Socket, owner: String, reader: usize, seen: Arc<Mutex<Seen>>) {
    let mut goodbye = Value::Null;
    loop {
        let next = socket.next_patiently().await;
        let at = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Event::Closed(code) => {
                seen.ends.push(format!("{owner} was closed with {code:?} after {goodbye}"));
                return;
            }
            Event::Frame(frame) if frame["type"] == "goodbye" => goodbye = frame,
            Event::Frame(frame) => {
                let texts = frame["presences"].as_array().into_iter().flatten().filter_map(|p| p["text"].as_str());
                let changes = texts.filter_map(|t| t.parse().ok());
                seen.sightings.extend(changes.map(|change| Sighting { reader, change, at }));
            }
        }
    }
}

/// Resident memory of a process, KiB.
///
/// # Panics
/// When it does not run.
#[must_use]
pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
