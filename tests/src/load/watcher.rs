//! A watcher of everybody in a load: over one connection after the other, with the versions held.

use super::{Shared, Sightings};
use crate::socket::{Event, Socket};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// The pause before a lost or refused connection is tried at the next node.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a watcher looks whether the load is over.
const LOOK: Duration = Duration::from_millis(200);

/// What a watcher holds now, for the test to look at.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<String, Value>>);

impl Held {
    /// Of how many something is held.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether just this is held of `user`.
    pub(super) fn is(&self, user: &str, presence: &Value) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user) == Some(presence)
    }

    fn put(&self, frame: &Value) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for presence in frame["presences"].as_array().into_iter().flatten() {
            if let Some(user) = presence["user"].as_str() {
                held.insert(user.into(), presence.clone());
            }
        }
    }
}

/// Watches `users` until the load is over.
pub(super) async fn watch(shared: Arc<Shared>, users: Vec<String>, place: usize, held: Arc<Held>) -> Sightings {
    let mut seen = Sightings::default();
    let mut at = place;
    while !shared.over.load(Ordering::Relaxed) {
        let token = shared.roll.token("the-service", "service");
        let connected = Socket::try_connect(&shared.roll.address(at), &token, "session=false&watch=none").await;
        if let Ok(mut socket) = connected {
            let known = seen.versions();
            for part in users.chunks(500) {
                let part: BTreeMap<&String, u64> =
                    part.iter().map(|u| (u, known.get(u).copied().unwrap_or(0))).collect();
                let frame = if known.is_empty() {
                    json!({"type": "watch", "id": 1, "users": part.keys().collect::<Vec<_>>()})
                } else {
                    json!({"type": "watch", "id": 1, "users": part})
                };
                if socket.try_send(&frame).await.is_err() {
                    break;
                }
            }
            listen(&shared, &mut socket, &mut seen, &held).await;
        }
        at += 1;
        sleep(AGAIN).await;
    }
    seen
}

/// Takes frames until the connection or the load ends.
async fn listen(shared: &Shared, socket: &mut Socket, seen: &mut Sightings, held: &Held) {
    while !shared.over.load(Ordering::Relaxed) {
        match timeout(LOOK, socket.next()).await {
            Ok(Event::Frame(frame)) => {
                seen.take(&frame);
                held.put(&frame);
            }
            Ok(Event::Closed(_)) => return,
            Err(_) => {}
        }
    }
}
