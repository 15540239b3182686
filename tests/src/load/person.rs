//! A person of a load: one connection after the other, each resumed at once, so that no watcher may ever see them gone.

use super::Shared;
use crate::socket::{Event, Socket};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// The pause before a lost or refused connection is tried at the next node: far below the grace.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a person waits for a welcome before trying another node: longer than an election, shorter than a grace.
const WELCOME_MAX: Duration = Duration::from_secs(4);
/// How often a person looks whether the load is over.
const LOOK: Duration = Duration::from_millis(200);

/// How a person's stay went.
#[derive(Debug, Default)]
pub(super) struct Stay {
    pub(super) connections: usize,
    /// Connections after the first that got a new session instead of the old one.
    pub(super) not_resumed: usize,
}

/// Is online until the load is over. Counts in `online` once.
pub(super) async fn stay(shared: Arc<Shared>, user: String, place: usize, online: Arc<AtomicUsize>) -> Stay {
    let mut stay = Stay::default();
    let mut resume: Option<String> = None;
    let mut at = place;
    while !shared.over.load(Ordering::Relaxed) {
        let token = shared.roll.token(&user, "user");
        let query = resume.as_ref().map_or_else(String::new, |token| format!("&resume={token}"));
        let query = format!("device=web&watch=none{query}");
        let address = shared.roll.address(at);
        let connecting = timeout(WELCOME_MAX, Socket::try_connect(&address, &token, &query));
        if let Ok(Ok(mut socket)) = connecting.await {
            stay.connections += 1;
            if resume.is_none() {
                online.fetch_add(1, Ordering::Relaxed);
            } else if socket.welcome["resumed"] != true {
                stay.not_resumed += 1;
            }
            resume = Some(socket.resume());
            let again = listen(&shared, &mut socket).await;
            sleep(again).await;
        }
        at += 1;
        sleep(AGAIN).await;
    }
    stay
}

/// Stays until the connection or the load ends; how long the server asks to stay away.
async fn listen(shared: &Shared, socket: &mut Socket) -> Duration {
    let mut away = Duration::ZERO;
    while !shared.over.load(Ordering::Relaxed) {
        match timeout(LOOK, socket.next()).await {
            Ok(Event::Frame(frame)) if frame["type"] == "goodbye" => {
                away = Duration::from_millis(frame["after_ms"].as_u64().unwrap_or(0));
            }
            Ok(Event::Frame(_)) | Err(_) => {}
            Ok(Event::Closed(_)) => break,
        }
    }
    away
}
