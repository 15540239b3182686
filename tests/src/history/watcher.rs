//! A watcher that writes down every presence that it is sent, over one connection after the other.

use super::{Link, Presence, Record, Recorder, Sighting, Source};
use crate::{
    load::Roll,
    socket::{Event, Socket},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// The pause before a lost or refused connection is tried at the next node.
pub(super) const AGAIN: Duration = Duration::from_millis(50);
/// How long a welcome is waited for: longer than an election, shorter than a grace.
pub(super) const WELCOME_MAX: Duration = Duration::from_secs(4);
/// How often a client pings, and looks whether the run is over.
pub(super) const PING_EVERY: Duration = Duration::from_millis(400);
/// How long a node may say nothing, pinged all the time, before it is left.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(4);

/// What a watcher holds now, by the rules for clients.
type Held = Arc<Mutex<BTreeMap<String, Presence>>>;

/// One viewer's connections, one after the other, watching the same users with the versions held.
#[derive(Debug, Clone)]
pub struct RecordedWatcher {
    recorder: Recorder,
    roll: Roll,
    name: String,
    viewer: String,
    scope: &'static str,
    users: Arc<Vec<String>>,
    at: usize,
    held: Held,
}

impl RecordedWatcher {
    /// A watcher with the eyes of `viewer` (of scope `user` or `service`), first at the node at `place` of the roll.
    #[must_use]
    pub fn new(recorder: &Recorder, roll: &Roll, name: &str, viewer: (&str, &'static str), place: usize) -> Self {
        Self {
            recorder: recorder.clone(),
            roll: roll.clone(),
            name: name.into(),
            viewer: viewer.0.into(),
            scope: viewer.1,
            users: Arc::default(),
            at: place,
            held: Held::default(),
        }
    }

    /// Whom it watches.
    #[must_use]
    pub fn watching(mut self, users: &[String]) -> Self {
        self.users = Arc::new(users.to_vec());
        self
    }

    /// Whose eyes it has, and their scope.
    pub(super) fn viewer(&self) -> (&str, &'static str) {
        (&self.viewer, self.scope)
    }

    /// What it holds of `user` now.
    #[must_use]
    pub fn holds(&self, user: &str) -> Option<Presence> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }

    /// Of how many something is held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Watches until `over`.
    pub async fn run(mut self, over: Arc<AtomicBool>) {
        let mut connection = 0;
        while !over.load(Ordering::Relaxed) {
            let address = self.roll.address(self.at);
            let token = self.roll.token(&self.viewer, self.scope);
            let connecting = Socket::try_connect(&address, &token, "session=false&watch=none");
            if let Ok(Ok(mut socket)) = timeout(WELCOME_MAX, connecting).await {
                connection += 1;
                let node = self.recorder.name_of(&address);
                self.link(connection, &node, true);
                if self.ask(&mut socket).await {
                    self.listen(&mut socket, connection, &over).await;
                }
                self.link(connection, &node, false);
            }
            self.at += 1;
            sleep(AGAIN).await;
        }
    }

    fn link(&self, connection: u32, node: &str, up: bool) {
        // What lasts to the end of the run is not said to end with it.
        let (watcher, viewer, node) = (self.name.clone(), self.viewer.clone(), node.to_owned());
        let at = self.recorder.now();
        self.recorder.push(Record::Link(Link { watcher, viewer, connection, node, at, up }));
    }

    /// Sends the watches, with what is known; `false` if the connection is gone.
    async fn ask(&self, socket: &mut Socket) -> bool {
        for part in self.users.chunks(500) {
            let known: BTreeMap<&String, u64> =
                part.iter().map(|user| (user, self.holds(user).map_or(0, |p| p.version))).collect();
            let users = if self.count() == 0 { json!(part) } else { json!(known) };
            if socket.try_send(&json!({"type": "watch", "id": 1, "users": users})).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes frames until the connection or the run ends.
    async fn listen(&mut self, socket: &mut Socket, connection: u32, over: &AtomicBool) {
        let mut heard = Instant::now();
        while !over.load(Ordering::Relaxed) && heard.elapsed() < SILENCE_MAX {
            match timeout(PING_EVERY, socket.next_patiently()).await {
                Ok(Event::Frame(frame)) => {
                    heard = Instant::now();
                    self.take(&frame, connection);
                }
                Ok(Event::Closed(_)) => return,
                Err(_) => {
                    if socket.try_send(&json!({"type": "ping", "id": 2})).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, frame: &Value, connection: u32) {
        let at = self.recorder.now();
        let source = match frame["type"].as_str() {
            Some("snapshot") => Source::Snapshot,
            Some("presence") => Source::Change,
            Some("unwatched") => Source::Removed,
            _ => return,
        };
        let shown = frame["presences"].as_array().into_iter().flatten();
        let shown = shown.filter_map(|p| Some((p["user"].as_str()?, Some(Presence::of(p)?))));
        let removed = frame["users"].as_array().into_iter().flatten().filter_map(|u| Some((u.as_str()?, None)));
        for (subject, presence) in shown.chain(removed) {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match &presence {
                Some(presence) => drop(held.insert(subject.into(), presence.clone())),
                None => drop(held.remove(subject)),
            }
            drop(held);
            let (watcher, subject) = (self.name.clone(), subject.to_owned());
            self.recorder.push(Record::Sighting(Sighting { watcher, connection, at, source, subject, presence }));
        }
    }
}
