//! The questions asked on one lane that wait for their answers.
//!
//! Answers come in any order. When the lane ends, every question that waits is answered with that; a question that nobody
//! waits for any more leaves by itself.

use super::{
    LinkError,
    bounds::ANSWER_MAX_MS,
    frame::{Kind, Message},
    outbox::Outbox,
};
use bytes::Bytes;
use parking_lot::Mutex;
use rollcall_presence::NodeName;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::oneshot;

enum Reply {
    Answer(Bytes),
    NoAnswer,
    Busy,
}

#[derive(Default)]
struct Waiting {
    ended: bool,
    last: u64,
    by_id: HashMap<u64, oneshot::Sender<Reply>>,
}

/// The questions of one lane. As many wait as fit the lane's queue and are answered at once on the other side.
pub(crate) struct Questions {
    outbox: Arc<Outbox>,
    waiting: Mutex<Waiting>,
}

/// Forgets the question when nobody waits for it any more.
struct Forget<'a>(&'a Questions, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().by_id.remove(&self.1);
    }
}

impl Questions {
    /// Asks over `outbox`.
    #[must_use]
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, waiting: Mutex::default() }
    }

    /// Asks `peer`, and waits for as long as the caller does, but for `within` at most on the other side.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(crate) async fn ask(&self, peer: &NodeName, body: Vec<u8>, within: Duration) -> Result<Bytes, LinkError> {
        let unreachable = || LinkError::Unreachable(peer.clone());
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock();
            if waiting.ended {
                return Err(unreachable());
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.by_id.insert(id, sender);
            id
        };
        let _forget = Forget(self, id);
        // Cut to the bound of every answer, which fits.
        let within_ms = within.as_millis().min(ANSWER_MAX_MS.into()) as u32;
        let message = Message { kind: Kind::Question, id, within_ms, body: body.into() };
        self.outbox.push(message).map_err(|_| unreachable())?;
        match receiver.await {
            Ok(Reply::Answer(answer)) => Ok(answer),
            Ok(Reply::Busy) => Err(unreachable()),
            Ok(Reply::NoAnswer) | Err(_) => Err(LinkError::Unanswered(peer.clone())),
        }
    }

    /// Hands an answer to whoever waits for it; `false` when `message` is none.
    pub(crate) fn answered(&self, message: Message) -> bool {
        let reply = match message.kind {
            Kind::Answer => Reply::Answer(message.body),
            Kind::NoAnswer => Reply::NoAnswer,
            Kind::Busy => Reply::Busy,
            _ => return false,
        };
        if let Some(waiting) = self.waiting.lock().by_id.remove(&message.id) {
            let _ = waiting.send(reply); // it may have stopped waiting
        }
        true
    }

    /// The lane has ended: nobody waits any more, and nobody asks.
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        waiting.by_id.clear();
    }
}
