//! The lanes that this node dials: connecting, the handshake, reading answers, and all of it again when it ends.
//!
//! Promises that a lane that stands is one whose other end has proved itself, and that whoever is refused hears why once.

use super::{
    Peer,
    bounds::{
        BACKOFF_MAX_MS, BACKOFF_MIN_MS, HANDSHAKE_MAX_MS, PRESENCE_QUEUE_MAX_BYTES, PRESENCE_QUEUE_MAX_MESSAGES,
        PROTOCOL, RAFT_QUEUE_MAX_BYTES, RAFT_QUEUE_MAX_MESSAGES,
    },
    frame::{Kind, Message, Messages},
    ground::{Ground, LiveLane, Member, Slot},
    outbox::{Incoming, Outbox, OutboxStream},
    pairing::Outgoing,
    proof::{Greeting, Hello, Lane, Prover, Refusal},
    questions::Questions,
    transport,
};
use rollcall_presence::{NodeName, codec};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use thiserror::Error;
use tonic::transport::Channel;

/// Longest step of a handshake, bytes: names and a cluster id.
const GREETING_MAX_BYTES: usize = 1_024;

/// Why no lane came about. Nothing was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DialFailure {
    /// No connection, or it ended.
    #[error("{0}")]
    Unreachable(String),
    /// The other side refused, or was not who was meant.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It says what makes no sense.
    #[error("it does not speak the links' protocol")]
    Confused,
}

/// The next step of a handshake.
///
/// # Errors
/// [`DialFailure`], also when the other side refuses.
pub(crate) async fn next_greeting(incoming: &mut Incoming) -> Result<Greeting, DialFailure> {
    let frame = incoming.message().await.map_err(|status| DialFailure::Unreachable(status.message().to_owned()))?;
    let frame = frame.ok_or_else(|| DialFailure::Unreachable("the stream ended".into()))?;
    if frame.len() > GREETING_MAX_BYTES {
        return Err(DialFailure::Confused);
    }
    match codec::decode(&frame) {
        Ok(Greeting::Refused(why)) => Err(DialFailure::Refused(why)),
        Ok(greeting) => Ok(greeting),
        Err(_) => Err(DialFailure::Confused),
    }
}

/// Never used before.
pub(crate) fn nonce() -> Option<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).ok().map(|()| nonce)
}

/// Opens a stream and goes through the handshake: `outbox` is then the lane to the peer returned.
///
/// # Errors
/// [`DialFailure`].
pub(crate) async fn greet(
    ground: &Ground,
    channel: Channel,
    lane: Lane,
    to: Option<&NodeName>,
    (outbox, stream): (&Outbox, OutboxStream),
) -> Result<(Incoming, Peer), DialFailure> {
    let no_nonce = || DialFailure::Unreachable("the system gives no randomness".into());
    let cluster_id = if lane == Lane::Join { String::new() } else { ground.cluster_id() };
    let nonce = nonce().ok_or_else(no_nonce)?;
    let hello = Hello { protocol: PROTOCOL, lane, cluster_id, to: to.cloned(), from: (&ground.me).into(), nonce };
    outbox.greet(Greeting::Hello(hello.clone()).encoded());
    let opened = transport::open(channel, stream).await;
    let mut incoming = opened.map_err(|status| DialFailure::Unreachable(status.message().to_owned()))?;
    let Greeting::Challenge(challenge) = next_greeting(&mut incoming).await? else {
        return Err(DialFailure::Confused);
    };
    outbox.greet(Greeting::Proof(ground.key.proof(Prover::Dialler, &hello, &challenge)).encoded());
    let Greeting::Welcome(proof) = next_greeting(&mut incoming).await? else {
        return Err(DialFailure::Confused);
    };
    if !ground.key.holds(Prover::Acceptor, &hello, &challenge, &proof) {
        return Err(DialFailure::Refused(Refusal::WrongKey));
    }
    let peer = Peer::from(challenge.from);
    if lane != Lane::Join {
        if to != Some(&peer.name) {
            return Err(DialFailure::Refused(Refusal::OtherName(peer.name)));
        }
        if challenge.cluster_id != hello.cluster_id {
            return Err(DialFailure::Refused(Refusal::WrongCluster { theirs: challenge.cluster_id }));
        }
    }
    Ok((incoming, peer))
}

/// Ends the lane when it is dropped, however that comes about: first nobody finds it any more, then the program above
/// hears of it.
struct Standing {
    taken: Taken,
    _paired: Option<Outgoing>,
}

struct Taken {
    member: Arc<Member>,
    lane: Lane,
    live: Arc<LiveLane>,
}

impl Taken {
    fn slot(&self) -> &Slot {
        if self.lane == Lane::Presence { &self.member.presence } else { &self.member.raft }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.slot().clear(&self.live);
    }
}

impl Standing {
    fn new(ground: &Ground, member: &Arc<Member>, lane: Lane, peer: Peer, outbox: Arc<Outbox>) -> Self {
        let questions = Questions::new(Arc::clone(&outbox));
        let live = Arc::new(LiveLane { peer, outbox, questions });
        let taken = Taken { member: Arc::clone(member), lane, live };
        let fill = || {
            let _ = taken.live.outbox.push(Message::bare(Kind::Ready)); // a lane that ended already is noticed by reading
            taken.slot().fill(&taken.live);
        };
        let paired = if lane == Lane::Presence {
            let pair = ground.pair(&taken.live.peer.name);
            Some(pair.outgoing(ground.next_serial(), &taken.live.peer, fill))
        } else {
            fill();
            None
        };
        Self { taken, _paired: paired }
    }

    /// Reads answers until the lane ends.
    async fn read(&self, incoming: &mut Incoming) -> &'static str {
        loop {
            let frame = tokio::select! {
                frame = incoming.message() => frame,
                () = self.taken.live.outbox.over() => return "dropped",
            };
            let Ok(Some(frame)) = frame else { return "lost" };
            for message in Messages::of(frame) {
                let Ok(message) = message else { return "dropped: it says what makes no sense" };
                if message.kind == Kind::Goodbye {
                    return "ended by its goodbye";
                }
                if !self.taken.live.questions.answered(message) {
                    return "dropped: it answers what makes no sense";
                }
            }
        }
    }
}

/// Cuts what was not taken over by a lane.
pub(crate) struct CutOnDrop(pub(crate) Arc<Outbox>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// Holds one lane with `member` for as long as it is known.
pub(crate) async fn keep(ground: Arc<Ground>, member: Arc<Member>, lane: Lane) {
    let mut wait_ms = BACKOFF_MIN_MS;
    let mut refused = None;
    while !ground.stopping.load(Ordering::Relaxed) {
        match stand(&ground, &member, lane).await {
            Ok(ended) => {
                tracing::info!(peer = %member.at.name, ?lane, "the link to a peer is {ended}");
                (wait_ms, refused) = (BACKOFF_MIN_MS, None);
            }
            Err(DialFailure::Refused(why)) if refused.as_ref() != Some(&why) => {
                tracing::warn!(peer = %member.at.name, address = %member.at.address, ?lane, "no link to a peer: {why}");
                refused = Some(why);
            }
            Err(failure) => tracing::debug!(peer = %member.at.name, ?lane, "no link to a peer: {failure}"),
        }
        // Never at once, also when the member dials without end; sooner than planned when it does dial.
        let planned = jittered(wait_ms);
        let least = planned.min(Duration::from_millis(BACKOFF_MIN_MS));
        tokio::time::sleep(least).await;
        let _ = tokio::time::timeout(planned - least, member.heard.notified()).await; // the plan holds
        wait_ms = (wait_ms * 2).min(BACKOFF_MAX_MS);
    }
}

/// Half to all of it, so that nodes don't dial each other in step.
fn jittered(wait_ms: u64) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    Duration::from_millis(wait_ms / 2 + wait_ms * u64::from(chance) / (2 * u64::from(u32::MAX)))
}

async fn stand(ground: &Ground, member: &Arc<Member>, lane: Lane) -> Result<&'static str, DialFailure> {
    let (outbox, stream) = match lane {
        Lane::Presence => Outbox::new(PRESENCE_QUEUE_MAX_MESSAGES, PRESENCE_QUEUE_MAX_BYTES),
        _ => Outbox::new(RAFT_QUEUE_MAX_MESSAGES, RAFT_QUEUE_MAX_BYTES),
    };
    let _cut = CutOnDrop(Arc::clone(&outbox));
    let greeted = greet(ground, member.channel.clone(), lane, Some(&member.at.name), (&outbox, stream));
    let greeted = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MAX_MS), greeted).await;
    let (mut incoming, peer) = greeted.map_err(|_| DialFailure::Unreachable("it is silent".into()))??;
    tracing::info!(peer = %peer.name, generation = peer.generation, ?lane, "linked to a peer");
    let standing = Standing::new(ground, member, lane, peer, outbox);
    Ok(standing.read(&mut incoming).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_over_half_their_length() {
        for _ in 0..1_000 {
            let wait = jittered(1_000).as_millis();
            assert!((500..=1_000).contains(&wait), "{wait}");
        }
    }
}
