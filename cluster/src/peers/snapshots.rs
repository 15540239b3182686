//! Snapshots between nodes: each on a connection of its own, chunk by chunk.
//!
//! The receiver says of each chunk that it was taken, and the sender is a few chunks ahead at most, so that neither fills
//! its memory. Both say that they live; whoever hears nothing breaks off, and what was broken off is an error on both
//! sides, never a shorter snapshot.

use super::{
    GroupSnapshot, LinkError, Peer, SnapshotAnswer,
    bounds::{
        HANDSHAKE_MAX_MS, OTHER_QUEUE_MAX_MESSAGES, RAFT_QUEUE_MAX_BYTES, SNAPSHOT_ALIVE_MS, SNAPSHOT_SILENCE_MS,
        SNAPSHOT_WINDOW,
    },
    dial::{CutOnDrop, DialFailure, greet},
    frame::{Kind, Message, Messages},
    ground::{Ground, Member},
    outbox::{Incoming, Outbox},
    proof::Lane,
    wire::{SnapshotOf, decode_snapshot_answer, encode_snapshot_answer},
};
use crate::state::stream::{ChunkSource, SnapshotStream};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

const SILENCE: Duration = Duration::from_millis(SNAPSHOT_SILENCE_MS);

fn alive_ticks() -> Interval {
    let mut ticks = interval(Duration::from_millis(SNAPSHOT_ALIVE_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Sends a snapshot to `member`, under the identity that its lane has proved.
///
/// # Errors
/// [`LinkError`].
pub(crate) async fn send(
    ground: &Ground,
    member: &Member,
    header: SnapshotOf,
    stream: SnapshotStream,
) -> Result<SnapshotAnswer, LinkError> {
    let unreachable = || LinkError::Unreachable(member.at.name.clone());
    // Whom the caller means is who stands there now: a node that takes its place meanwhile gets nothing.
    let meant = member.raft.lane().ok_or_else(unreachable)?.peer.clone();
    let _room = member.snapshots.acquire().await.map_err(|_| unreachable())?;
    let (outbox, body) = Outbox::new(OTHER_QUEUE_MAX_MESSAGES, RAFT_QUEUE_MAX_BYTES);
    let cut = CutOnDrop(Arc::clone(&outbox));
    let opened = async {
        let endpoint = ground.transport.endpoint(&ground.dialled(&member.at), &member.at.address);
        let unreachable = |error: tonic::transport::Error| DialFailure::Unreachable(error.to_string());
        let channel = endpoint.map_err(unreachable)?.connect().await.map_err(unreachable)?;
        greet(ground, channel, Lane::Snapshot, Some(&member.at.name), (&outbox, body)).await
    };
    let opened = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MAX_MS), opened).await;
    let (incoming, peer) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => {
            tracing::debug!(peer = %member.at.name, "cannot send a snapshot: {failure}");
            return Err(unreachable());
        }
        Err(_) => return Err(unreachable()),
    };
    if peer != meant {
        return Err(unreachable());
    }
    let sending = Sending { outbox: &outbox, incoming, stream, sent: 0, taken: 0, ended: false };
    let sent = sending.run(&header).await.inspect_err(|error| {
        tracing::warn!(peer = %member.at.name, partition = %header.partition, "a snapshot broke off: {error}");
    });
    drop(cut);
    sent.map_err(|_| LinkError::Unanswered(member.at.name.clone()))
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, why)
}

struct Sending<'a> {
    outbox: &'a Outbox,
    incoming: Incoming,
    stream: SnapshotStream,
    sent: usize,
    taken: usize,
    ended: bool,
}

impl Sending<'_> {
    fn push(&self, message: Message) -> io::Result<()> {
        self.outbox.push(message).map_err(|_| broken("the other side reads nothing any more"))
    }

    async fn run(mut self, header: &SnapshotOf) -> io::Result<SnapshotAnswer> {
        self.push(Message::new(Kind::SnapshotHeader, 0, header.encoded()))?;
        let mut ticks = alive_ticks();
        let mut heard = Instant::now();
        loop {
            while !self.ended && self.sent - self.taken < SNAPSHOT_WINDOW {
                let chunk = tokio::time::timeout(SILENCE, self.stream.next()).await;
                self.chunk(chunk.map_err(|_| broken("the state came to a stop"))??)?;
            }
            tokio::select! {
                frame = self.incoming.message() => {
                    let frame = frame.ok().flatten().ok_or_else(|| broken("the other side is gone"))?;
                    heard = Instant::now();
                    if let Some(answer) = self.heard(frame)? {
                        return decode_snapshot_answer(&answer).map_err(|_| broken("the answer makes no sense"));
                    }
                }
                _ = ticks.tick() => self.push(Message::bare(Kind::Alive))?,
                () = tokio::time::sleep_until(heard + SILENCE) => return Err(broken("the other side fell silent")),
            }
        }
    }

    fn chunk(&mut self, chunk: Option<Vec<u8>>) -> io::Result<()> {
        match chunk {
            Some(chunk) => {
                self.sent += 1;
                self.push(Message::new(Kind::Chunk, self.sent as u64, chunk))
            }
            None => {
                self.ended = true;
                self.push(Message::new(Kind::SnapshotEnd, self.sent as u64, Bytes::new()))
            }
        }
    }

    fn heard(&mut self, frame: Bytes) -> io::Result<Option<Bytes>> {
        for message in Messages::of(frame) {
            let message = message.map_err(|_| broken("the other side says what makes no sense"))?;
            match message.kind {
                Kind::Taken if self.taken < self.sent => self.taken += 1,
                Kind::Alive => {}
                Kind::Answer => return Ok(Some(message.body)),
                Kind::NoAnswer | Kind::Goodbye => return Err(broken("the other side did not take it")),
                _ => return Err(broken("the other side says what makes no sense")),
            }
        }
        Ok(None)
    }
}

/// The chunks of a snapshot that comes from a peer.
struct IncomingChunks {
    chunks: mpsc::Receiver<Option<Vec<u8>>>,
    outbox: Arc<Outbox>,
    ended: bool,
}

impl ChunkSource for IncomingChunks {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            if self.ended {
                return Ok(None);
            }
            match self.chunks.recv().await {
                Some(Some(chunk)) => {
                    let _ = self.outbox.push(Message::bare(Kind::Taken)); // a lost stream shows at the next chunk
                    Ok(Some(chunk))
                }
                Some(None) => {
                    self.ended = true;
                    Ok(None)
                }
                None => Err(broken("the snapshot broke off on its way")),
            }
        })
    }
}

/// Takes a snapshot that `peer` sends, and answers it.
pub(crate) async fn receive(ground: &Ground, peer: &Peer, incoming: &mut Incoming, outbox: &Arc<Outbox>) {
    let Ok(_room) = ground.receiving.try_acquire() else {
        let _ = outbox.push(Message::bare(Kind::NoAnswer)); // it comes again
        return;
    };
    let answer = match take(ground, peer, incoming, outbox).await {
        Ok(Some(answer)) => Message::new(Kind::Answer, 0, encode_snapshot_answer(&answer)),
        Ok(None) => Message::bare(Kind::NoAnswer),
        Err(error) => {
            tracing::warn!(peer = %peer.name, "a snapshot from a peer broke off: {error}");
            return outbox.cut();
        }
    };
    let _ = outbox.push(answer); // the sender is gone: it asks again
}

async fn take(
    ground: &Ground,
    peer: &Peer,
    incoming: &mut Incoming,
    outbox: &Arc<Outbox>,
) -> io::Result<Option<SnapshotAnswer>> {
    // Chunks within the window and the end of all.
    let (sender, chunks) = mpsc::channel(SNAPSHOT_WINDOW + 1);
    let mut receiving = Receiving { sender: Some(sender), received: 0 };
    let frame = tokio::time::timeout(SILENCE, incoming.message()).await.map_err(|_| broken("it has no header"))?;
    let frame = frame.ok().flatten().ok_or_else(|| broken("it has no header"))?;
    let mut messages = Messages::of(frame);
    let header = match messages.next() {
        Some(Ok(message)) if message.kind == Kind::SnapshotHeader => SnapshotOf::decoded(&message.body).ok(),
        _ => None,
    };
    let header = header.ok_or_else(|| broken("its header makes no sense"))?;
    receiving.messages(messages)?;
    let (partition, vote) = (header.partition, header.vote);
    let stream = Box::new(IncomingChunks { chunks, outbox: Arc::clone(outbox), ended: false });
    let snapshot: GroupSnapshot = header.with(stream);
    let mut installed = ground.side.snapshot(peer, partition, vote, snapshot);
    let mut ticks = alive_ticks();
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            answer = &mut installed => return Ok(answer),
            () = outbox.over() => return Err(broken("the sender reads nothing any more")),
            frame = incoming.message() => {
                receiving.messages(Messages::of(frame.ok().flatten().ok_or_else(|| broken("the sender is gone"))?))?;
                heard = Instant::now();
            }
            _ = ticks.tick() => outbox.push(Message::bare(Kind::Alive)).map_err(|_| broken("the sender is gone"))?,
            () = tokio::time::sleep_until(heard + SILENCE) => return Err(broken("the sender fell silent")),
        }
    }
}

struct Receiving {
    sender: Option<mpsc::Sender<Option<Vec<u8>>>>,
    received: u64,
}

impl Receiving {
    fn messages(&mut self, messages: Messages) -> io::Result<()> {
        for message in messages {
            let message = message.map_err(|_| broken("the sender says what makes no sense"))?;
            match message.kind {
                Kind::Alive => {}
                Kind::Chunk if message.id == self.received + 1 => {
                    self.received += 1;
                    self.put(Some(message.body.into()))?;
                }
                Kind::SnapshotEnd if message.id == self.received => {
                    self.put(None)?;
                    self.sender = None;
                }
                _ => return Err(broken("the sender says what makes no sense")),
            }
        }
        Ok(())
    }

    fn put(&self, chunk: Option<Vec<u8>>) -> io::Result<()> {
        let sender = self.sender.as_ref().ok_or_else(|| broken("something comes after its end"))?;
        match sender.try_send(chunk) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(broken("the sender does not keep to the window")),
            // Nobody wants the rest: the answer says so in a moment.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}
