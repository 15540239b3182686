//! Quick readers who write down when they learn of each change: for programs that measure how soon friends are told.
//!
//! Stars change a number, at a steady rate that waits for no answer; each has readers of its own, who are told once of each change.
//! Every socket is read all the time, by a task of its own, and every end is written down with what the server said. Stars change on
//! sockets that are open all the time, so that no session expires, and no connection that is opened meanwhile is measured.

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
    sync::mpsc,
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
    /// Changes that were answered with `ok`.
    acknowledged: usize,
    ends: Vec<String>,
}

/// Stars and their readers.
#[derive(Debug)]
pub struct Audience {
    stars: Vec<Client>,
    /// The way to each star's socket.
    wishes: Vec<mpsc::UnboundedSender<Value>>,
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
        let mut wishes = Vec::new();
        for (star, socket) in stars.iter().zip(sockets) {
            // Unbounded, and holds no more than the changes of a round.
            let (wish, wished) = mpsc::unbounded_channel();
            wishes.push(wish);
            tokio::spawn(shine(socket, star.id.clone(), wished, seen.clone()));
        }
        let readers = (0..stars.len() * readers_per_star).map(|reader| {
            let star = stars[reader / readers_per_star].id.clone();
            let (client, seen) = (server.client(&format!("reader-{reader}"), "user"), seen.clone());
            async move {
                let mut socket = client.connect("session=false&watch=none").await;
                socket.watch(json!([star])).await;
                tokio::spawn(async move { while listen(&mut socket, &client.id, reader, &seen).await {} });
            }
        });
        stream::iter(readers).buffer_unordered(OPENED_AT_ONCE).collect::<Vec<()>>().await;
        Self { stars, wishes, readers_per_star, seen, changes: 0 }
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
        {
            let mut seen = self.seen();
            seen.sightings.clear();
            seen.acknowledged = 0;
        }
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut made = Vec::new();
        for change in first..first + changes {
            ticks.tick().await;
            made.push(Instant::now());
            let text = change.to_string();
            let frame = json!({"type": "status", "id": change, "status": "dnd", "text": text, "meta": meta});
            // A star that is gone is missed in the sightings.
            let _ = self.wishes[change % self.wishes.len()].send(frame);
        }
        let due = changes * self.readers_per_star;
        let until = Instant::now() + LOST_AFTER;
        while self.seen().sightings.iter().filter(|s| s.change >= first).count() < due && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        let (sightings, acknowledged) = {
            let seen = self.seen();
            (seen.sightings.clone(), seen.acknowledged)
        };
        let refused = changes.saturating_sub(acknowledged);
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

    /// What sockets were told besides since this was asked last: goodbyes, errors, and ends with their close codes.
    #[must_use]
    pub fn ends(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().ends)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is wished on a star's socket, and reads it, until it ends.
async fn shine(mut socket: Socket, owner: String, mut wished: mpsc::UnboundedReceiver<Value>, seen: Arc<Mutex<Seen>>) {
    loop {
        tokio::select! {
            wish = wished.recv() => match wish {
                Some(frame) => drop(socket.try_send(&frame).await),
                None => return,
            },
            goes_on = listen(&mut socket, &owner, usize::MAX, &seen) => if !goes_on { return },
        }
    }
}

/// Takes one frame, and writes down what it says; `false` at the end.
async fn listen(socket: &mut Socket, owner: &str, reader: usize, seen: &Mutex<Seen>) -> bool {
    let next = socket.next_patiently().await;
    let at = Instant::now();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match next {
        Event::Closed(code) => {
            seen.ends.push(format!("{owner}: closed with {code:?}"));
            return false;
        }
        Event::Frame(frame) => match frame["type"].as_str() {
            Some("ok") => seen.acknowledged += 1,
            Some("presence") => {
                let texts = frame["presences"].as_array().into_iter().flatten().filter_map(|p| p["text"].as_str());
                let changes = texts.filter_map(|t| t.parse().ok());
                seen.sightings.extend(changes.map(|change| Sighting { reader, change, at }));
            }
            _ => seen.ends.push(format!("{owner}: {frame}")),
        },
    }
    true
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
