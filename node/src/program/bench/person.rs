//! One person of a bench: a socket that changes its status when told to, and sees its friends change.
//!
//! Promises at most one change under way a person, and that it ends with its channel.

use super::tally::{Mark, Tally};
use crate::program::{
    frame,
    socket::{Event, Socket, SocketError},
};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What a person is told.
pub(super) enum Turn {
    /// Change your status; what comes with it is kept until the change was answered.
    Change(OwnedSemaphorePermit),
    /// Say, when you hold what is acknowledged of all your friends.
    Settle,
}

/// See the module.
pub(super) struct Person {
    pub(super) index: usize,
    pub(super) socket: Socket,
    pub(super) friends: HashMap<String, usize>,
    pub(super) tally: Arc<Tally>,
    pub(super) turns: mpsc::Receiver<Turn>,
    /// Told once when everything is held.
    pub(super) settled: mpsc::Sender<usize>,
}

impl Person {
    /// Lives until the channel of turns ends, and closes the socket then.
    pub(super) async fn live(mut self) -> Result<(), SocketError> {
        let mut held: HashMap<usize, u64> = HashMap::new();
        let mut under_way: Option<(Mark, OwnedSemaphorePermit)> = None;
        let mut waiting = false;
        let mut number = 0;
        loop {
            tokio::select! {
                turn = self.turns.recv() => match turn {
                    Some(Turn::Change(permit)) if under_way.is_none() => {
                        number += 1;
                        let mark = Mark { number, sent_us: self.tally.now_us() };
                        let status = if number % 2 == 0 { "away" } else { "dnd" };
                        let change = json!({"type": "status", "id": number, "status": status, "text": mark.text()});
                        self.socket.say(change.to_string()).await?;
                        under_way = Some((mark, permit));
                    }
                    Some(Turn::Change(_)) => {} // the one before has no answer yet: this turn passes
                    Some(Turn::Settle) => waiting = true,
                    None => {
                        let _ = self.socket.close().await;
                        return Ok(());
                    }
                },
                event = self.socket.event() => match event {
                    Event::Text(text) => self.take(&text, &mut held, &mut under_way)?,
                    Event::Ping => {}
                    Event::Over(code) => return Err(self.socket.broken(&format!("the server closed it, code {code:?}"))),
                },
            }
            if waiting && self.holds_everything(&held) {
                waiting = false;
                let _ = self.settled.send(self.index).await;
            }
        }
    }

    fn take(
        &self,
        text: &str,
        held: &mut HashMap<usize, u64>,
        under_way: &mut Option<(Mark, OwnedSemaphorePermit)>,
    ) -> Result<(), SocketError> {
        let read = frame::read(text)?;
        match &*read.kind {
            "ok" => {
                if let Some((mark, _)) = under_way.take() {
                    self.tally.acknowledge(self.index, mark);
                }
            }
            "error" => {
                under_way.take();
                self.tally.refuse();
            }
            _ => {
                for raw in &read.presences {
                    let presence = frame::presence(raw)?;
                    let friend = self.friends.get(&*presence.user);
                    let mark = presence.text.as_deref().and_then(Mark::read);
                    if let (Some(friend), Some(mark)) = (friend, mark) {
                        let before = held.entry(*friend).or_default();
                        // A repeated one (`stale` changed) is no news.
                        if mark.number > *before {
                            self.tally.see(*before, mark);
                            *before = mark.number;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn holds_everything(&self, held: &HashMap<usize, u64>) -> bool {
        self.friends.values().all(|friend| held.get(friend).copied().unwrap_or(0) >= self.tally.latest(*friend))
    }
}
