//! The streams that peers open: the handshake, and answering what comes over them.
//!
//! A reader never waits for an answer: questions beyond the bound are refused. What is told is delivered in the order it was
//! told, before later questions. Promises that nobody without the cluster key, and no node that is not admitted, reaches
//! what answers.

use super::{
    Peer,
    answering::{Answering, answer},
    bounds::{HANDSHAKE_MAX_MS, JOIN_MAX_MS, PRESENCE_QUEUE_MAX_BYTES, PRESENCE_QUEUE_MAX_MESSAGES, PROTOCOL},
    dial::{CutOnDrop, DialFailure, next_greeting, nonce},
    frame::Messages,
    ground::Ground,
    outbox::{Incoming, Outbox, OutboxStream},
    proof::{Challenge, Greeting, Hello, Lane, Prover, Refusal},
    snapshots,
    transport::Acceptor,
};
use rollcall_presence::NodeName;
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

/// A stream that a peer opened, and that was proved.
pub(crate) struct Accepted {
    serial: u64,
    /// Who opened it.
    pub(crate) peer: NodeName,
    lane: Lane,
    /// What waits to be sent.
    pub(crate) outbox: Arc<Outbox>,
}

impl Acceptor for Ground {
    fn opened(self: Arc<Self>, incoming: Incoming) -> Result<OutboxStream, Status> {
        let room = Arc::clone(&self.strangers).try_acquire_owned();
        let room = room.map_err(|_| Status::resource_exhausted("too many handshakes at once"))?;
        let (outbox, stream) = Outbox::new(PRESENCE_QUEUE_MAX_MESSAGES, PRESENCE_QUEUE_MAX_BYTES);
        let ground = Arc::clone(&self);
        let accepted = self.tasks.spawn(async move { accept(ground, incoming, outbox, room).await });
        accepted.ok_or_else(|| Status::unavailable("this node is leaving"))?;
        Ok(stream)
    }
}

async fn accept(ground: Arc<Ground>, mut incoming: Incoming, outbox: Arc<Outbox>, room: OwnedSemaphorePermit) {
    let cut = CutOnDrop(Arc::clone(&outbox));
    let admitted = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MAX_MS), ground.admit(&mut incoming, &outbox));
    let (lane, peer) = match admitted.await {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(DialFailure::Refused(why))) => {
            outbox.greet(Greeting::Refused(why).encoded());
            return finish(incoming, cut).await;
        }
        Ok(Err(_)) | Err(_) => return,
    };
    drop(room);
    match lane {
        Lane::Join => ground.answer_join(&mut incoming, &outbox).await,
        Lane::Snapshot => {
            let _entered = ground.enter(&peer, lane, &outbox);
            snapshots::receive(&ground, &peer, &mut incoming, &outbox).await;
        }
        Lane::Raft | Lane::Presence => {
            let _entered = ground.enter(&peer, lane, &outbox);
            let why = Answering::new(&ground, &peer, lane).run(&mut incoming, &outbox).await;
            tracing::debug!(peer = %peer.name, ?lane, "a peer's lane ended: {why}");
        }
    }
    finish(incoming, cut).await;
}

/// Sends what waits; the other side ends the stream once it has read it.
async fn finish(mut incoming: Incoming, cut: CutOnDrop) {
    cut.0.finish();
    let read = async { while let Ok(Some(_)) = incoming.message().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MAX_MS), read).await; // it is gone, or too slow
}

/// Counts a stream in for as long as it lives.
struct Entered<'a>(&'a Ground, u64);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.accepted.lock().retain(|accepted| accepted.serial != self.1);
    }
}

impl Ground {
    async fn admit(&self, incoming: &mut Incoming, outbox: &Outbox) -> Result<(Lane, Peer), DialFailure> {
        let Greeting::Hello(hello) = next_greeting(incoming).await? else { return Err(DialFailure::Confused) };
        if hello.protocol != PROTOCOL {
            return Err(DialFailure::Refused(Refusal::Protocol { theirs: PROTOCOL }));
        }
        let nonce = nonce().ok_or(DialFailure::Confused)?;
        let challenge = Challenge { cluster_id: self.cluster_id(), from: (&self.me).into(), nonce };
        outbox.greet(Greeting::Challenge(challenge.clone()).encoded());
        let Greeting::Proof(proof) = next_greeting(incoming).await? else { return Err(DialFailure::Confused) };
        let peer = Peer::from(hello.from.clone());
        let refusal = if self.key.holds(Prover::Dialler, &hello, &challenge, &proof) {
            self.refusal(&hello, &challenge, &peer)
        } else {
            Some(Refusal::WrongKey)
        };
        if let Some(why) = refusal {
            if self.newly_refused(&peer.name, &why) {
                tracing::warn!(peer = %peer.name, raft_id = peer.raft_id, "refused a link from a node: it is told {why:?}");
            }
            return Err(DialFailure::Refused(why));
        }
        self.taken(&peer.name);
        if let Some(member) = self.member(&peer.name).filter(|_| hello.lane != Lane::Snapshot) {
            member.heard.notify_waiters();
        }
        outbox.greet(Greeting::Welcome(self.key.proof(Prover::Acceptor, &hello, &challenge)).encoded());
        Ok((hello.lane, peer))
    }

    /// Why a node that has the key is refused.
    fn refusal(&self, hello: &Hello, challenge: &Challenge, peer: &Peer) -> Option<Refusal> {
        if hello.lane == Lane::Join {
            return None;
        }
        if hello.to.as_ref() != Some(&self.me.name) {
            return Some(Refusal::OtherName(self.me.name.clone()));
        }
        if challenge.cluster_id.is_empty() || challenge.cluster_id != hello.cluster_id {
            return Some(Refusal::WrongCluster { theirs: challenge.cluster_id.clone() });
        }
        (!self.side.admits(peer)).then_some(Refusal::NotAdmitted)
    }

    fn enter(&self, peer: &Peer, lane: Lane, outbox: &Arc<Outbox>) -> Entered<'_> {
        let serial = self.next_serial();
        let mut accepted = self.accepted.lock();
        if lane != Lane::Snapshot {
            // A peer has one stream of each lane: the one before is dead, though nothing says so yet.
            let before = accepted.iter().filter(|before| before.peer == peer.name && before.lane == lane);
            before.for_each(|before| before.outbox.cut());
        }
        accepted.push(Accepted { serial, peer: peer.name.clone(), lane, outbox: Arc::clone(outbox) });
        Entered(self, serial)
    }

    async fn answer_join(&self, incoming: &mut Incoming, outbox: &Outbox) {
        let answered = async {
            let frame = incoming.message().await.ok().flatten()?;
            let message = Messages::of(frame).next()?.ok()?;
            Some(answer(message.id, self.side.join(message.body.into()).await))
        };
        let answered = tokio::time::timeout(Duration::from_millis(JOIN_MAX_MS), answered).await;
        if let Some(answer) = answered.ok().flatten() {
            let _ = outbox.push(answer); // a node that went away asks again
        }
    }
}
