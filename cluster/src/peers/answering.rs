//! Answering what comes over one lane from a peer.
//!
//! All questions of a lane are answered by the task that reads it, any number of them at once up to the bound, and first
//! begun in the order they came: appends of one group are handed over in their order. Answers leave in any order.

use super::{
    Peer,
    bounds::{ANSWER_MAX_MS, ANSWERING_MAX, RAFT_ANSWER_MAX_MS},
    frame::{Kind, Message, Messages},
    ground::Ground,
    outbox::{Incoming, NotTaken, Outbox},
    pairing::IncomingLane,
    proof::Lane,
    wire::{Question, encode_told},
};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::time::Duration;

/// The answer to question `id`, if there is one.
#[must_use]
pub(crate) fn answer(id: u64, answer: Option<Vec<u8>>) -> Message {
    answer
        .map_or_else(|| Message::new(Kind::NoAnswer, id, Bytes::new()), |answer| Message::new(Kind::Answer, id, answer))
}

/// One lane from a peer.
pub(crate) struct Answering<'a> {
    ground: &'a Ground,
    peer: &'a Peer,
    lane: Lane,
    told: u64,
    paired: Option<IncomingLane>,
}

type Answers<'a> = FuturesUnordered<BoxFuture<'a, Message>>;

impl<'a> Answering<'a> {
    /// Answers `peer` on `lane`.
    #[must_use]
    pub(crate) fn new(ground: &'a Ground, peer: &'a Peer, lane: Lane) -> Self {
        Self { ground, peer, lane, told: 0, paired: None }
    }

    /// Answers until the lane ends, and says why it did.
    pub(crate) async fn run(mut self, incoming: &mut Incoming, outbox: &Outbox) -> &'static str {
        let mut answers = Answers::new();
        loop {
            tokio::select! {
                biased;
                () = outbox.over() => return "it was cut",
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    let id = answer.id;
                    let pushed = match outbox.push(answer) {
                        Err(NotTaken::TooLong) => {
                            tracing::error!(peer = %self.peer.name, lane = ?self.lane, "an answer is longer than a message");
                            outbox.push(Message::new(Kind::NoAnswer, id, Bytes::new()))
                        }
                        pushed => pushed,
                    };
                    // Whoever does not read answers is too slow to be asked by.
                    if pushed.is_err() {
                        return "no more answers fit";
                    }
                }
                frame = incoming.message() => {
                    let Ok(Some(frame)) = frame else { return "it was lost" };
                    for message in Messages::of(frame) {
                        let Ok(message) = message else { return "it says what makes no sense" };
                        if let Err(why) = self.take(message, &answers, outbox) {
                            return why;
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message, answers: &Answers<'a>, outbox: &Outbox) -> Result<(), &'static str> {
        match message.kind {
            Kind::Question if answers.len() >= ANSWERING_MAX => {
                outbox.push(Message::new(Kind::Busy, message.id, Bytes::new())).map_err(|_| "no more answers fit")
            }
            Kind::Question => {
                answers.push(self.question(message)?);
                Ok(())
            }
            Kind::Tell => self.tell(message),
            Kind::Ready => {
                if self.lane == Lane::Presence {
                    let pair = self.ground.pair(&self.peer.name);
                    self.paired = Some(pair.incoming(self.ground.next_serial(), self.peer));
                }
                Ok(())
            }
            Kind::Goodbye => Err("it said goodbye"),
            _ => Err("it says what makes no sense"),
        }
    }

    fn tell(&mut self, message: Message) -> Result<(), &'static str> {
        self.told += 1;
        if message.id != self.told {
            return Err("something told is missing");
        }
        let paired = self.paired.as_ref().ok_or("it tells before it is ready")?;
        let delivered = paired.deliver(|presence| presence.told(self.peer, message.body.into()));
        delivered.then_some(()).ok_or("another one replaced it")
    }

    fn question(&self, message: Message) -> Result<BoxFuture<'a, Message>, &'static str> {
        let (ground, peer) = (self.ground, self.peer);
        let (id, within) = (message.id, u64::from(message.within_ms));
        if self.lane == Lane::Presence {
            let asked = ground.side.presence().asked(peer, message.body.into());
            return Ok(within_time(id, within.min(ANSWER_MAX_MS), asked));
        }
        match Question::decoded(&message.body).map_err(|_| "it asks what makes no sense")? {
            Question::Control(question) => {
                Ok(within_time(id, within.min(ANSWER_MAX_MS), ground.side.control(peer, question)))
            }
            Question::Group(partition, ask) => {
                let asked = ground.side.raft(peer, partition, ask);
                let asked = Box::pin(async move { asked.await.map(encode_told) });
                Ok(within_time(id, within.min(RAFT_ANSWER_MAX_MS), asked))
            }
        }
    }
}

fn within_time(id: u64, within_ms: u64, asked: BoxFuture<'_, Option<Vec<u8>>>) -> BoxFuture<'_, Message> {
    Box::pin(async move {
        let answered = tokio::time::timeout(Duration::from_millis(within_ms), asked).await;
        answer(id, answered.ok().flatten())
    })
}
