//! A person with a connection: each is resumed at once at the next node, and every answer to a ping is a sign of life.

use super::{
    Recorder, Sign,
    watcher::{AGAIN, PING_EVERY, SILENCE_MAX, WELCOME_MAX},
};
use crate::{
    load::Roll,
    socket::{Event, Socket},
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// One user's connections, one after the other.
#[derive(Debug, Clone)]
pub struct RecordedPerson {
    recorder: Recorder,
    roll: Roll,
    user: String,
    at: usize,
    connections: Arc<AtomicUsize>,
    /// How often it was told to go on.
    told: Arc<AtomicUsize>,
}

impl RecordedPerson {
    /// `user`, first at the node at `place` of the roll.
    #[must_use]
    pub fn new(recorder: &Recorder, roll: &Roll, user: &str, place: usize) -> Self {
        let (recorder, roll) = (recorder.clone(), roll.clone());
        Self { recorder, roll, user: user.into(), at: place, connections: Arc::default(), told: Arc::default() }
    }

    /// How many connections there were so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Leaves its connection behind without a word, and resumes at the next node.
    pub fn goes_on(&self) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }

    /// Is online until `over`, then is silent: the connection ends without a word.
    pub async fn run(mut self, over: Arc<AtomicBool>) {
        let mut resume = String::new();
        while !over.load(Ordering::Relaxed) {
            let address = self.roll.address(self.at);
            let token = self.roll.token(&self.user, "user");
            let query = format!("device=web&watch=none{resume}");
            let connecting = timeout(WELCOME_MAX, Socket::try_connect(&address, &token, &query));
            if let Ok(Ok(mut socket)) = connecting.await {
                let node = self.recorder.name_of(&address);
                self.recorder.connection(&self.user, Sign::Alive, &node);
                self.connections.fetch_add(1, Ordering::Relaxed);
                resume = socket.welcome["resume"].as_str().map(|token| format!("&resume={token}")).unwrap_or_default();
                let away = self.stay(&mut socket, &node, &over).await;
                sleep(away).await;
            }
            self.at += 1;
            sleep(AGAIN).await;
        }
        self.recorder.connection(&self.user, Sign::Silent, "");
    }

    /// Stays until the connection or the run ends; how long the server asks to stay away.
    async fn stay(&self, socket: &mut Socket, node: &str, over: &AtomicBool) -> Duration {
        let mut away = Duration::ZERO;
        let mut heard = Instant::now();
        let told = self.told.load(Ordering::Relaxed);
        let is_to_stay = || !over.load(Ordering::Relaxed) && self.told.load(Ordering::Relaxed) == told;
        while is_to_stay() && heard.elapsed() < SILENCE_MAX {
            match timeout(PING_EVERY, socket.next_patiently()).await {
                Ok(Event::Frame(frame)) => {
                    heard = Instant::now();
                    match frame["type"].as_str() {
                        Some("pong") => self.recorder.connection(&self.user, Sign::Alive, node),
                        Some("goodbye") => away = Duration::from_millis(frame["after_ms"].as_u64().unwrap_or(0)),
                        _ => {}
                    }
                }
                Ok(Event::Closed(_)) => break,
                Err(_) => {
                    if socket.try_send(&json!({"type": "ping", "id": 1})).await.is_err() {
                        break;
                    }
                }
            }
        }
        away
    }
}
