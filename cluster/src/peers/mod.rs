//! The links between nodes: what the groups and the program above them use, and what a node answers its peers.
//!
//! A link has lanes of its own for Raft, for presence traffic and for snapshots. Promises nothing about delivery but what
//! [`LinkError`] says; what is told on the presence lane comes in order and without a gap until the link is lost, and a link
//! that is lost says so on both sides.

mod accept;
mod answering;
mod bounds;
mod dial;
pub(crate) mod frame;
mod ground;
mod links;
mod options;
mod outbox;
mod pairing;
pub(crate) mod proof;
mod questions;
mod snapshots;
mod transport;
#[cfg(test)]
mod trials;
pub(crate) mod wire;

pub use links::Peers;
pub use options::{Dial, KeepAlive, PeersError, PeersOptions, TlsFiles};

use crate::{
    raft::{
        link::{Ask, Told},
        types::{TypeConfig, Vote},
    },
    state::stream::SnapshotStream,
};
use futures::future::BoxFuture;
use openraft::{raft::SnapshotResponse, type_config::alias::SnapshotOf};
use rollcall_presence::{NodeName, PartitionId};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// A snapshot on its way to a replica.
pub type GroupSnapshot = SnapshotOf<TypeConfig, SnapshotStream>;
/// What a replica answers to a snapshot.
pub type SnapshotAnswer = SnapshotResponse<TypeConfig>;
/// The vote that a snapshot comes with.
pub type LeaderVote = Vote;

/// A node as its peers know it: proved by the handshake of its link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// Its identity in Raft.
    pub raft_id: u64,
    /// Counts its starts.
    pub generation: u64,
}

/// Where a member is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAt {
    /// Its name.
    pub name: NodeName,
    /// `host:port`.
    pub address: String,
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// There is no way to it, or no room on the way: the question was never sent.
    #[error("{0} cannot be reached")]
    Unreachable(NodeName),
    /// The question was sent and no answer came: it may have been carried out.
    #[error("{0} did not answer")]
    Unanswered(NodeName),
}

/// Why a node that asks to join got no answer. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JoinFailure {
    /// Nobody there, or it does not answer.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// The cluster key there is another one.
    #[error("the cluster key at {address} is another one")]
    WrongKey {
        /// Where.
        address: String,
    },
}

/// The links to other nodes, from this one's side.
pub trait PeerLink: Send + Sync + 'static {
    /// Whether the link to `peer` leads to the node of this identity in Raft, as its handshake proved; `false` without a link.
    /// A node that was wiped and came back under its name is somebody else: what was meant for the one before must not
    /// reach it, so what was queued for a link never goes out over a later one.
    fn reaches(&self, peer: &NodeName, raft_id: u64) -> bool;

    /// Asks the group of `partition` on `peer`.
    fn ask<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        ask: Ask,
    ) -> BoxFuture<'a, Result<Told, LinkError>>;

    /// Sends a snapshot to the group of `partition` on `peer`.
    fn send_snapshot<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>>;

    /// Asks a member something about the cluster itself, on the lane of Raft. Answered within `deadline`, or not at all.
    fn control<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>>;

    /// Asks whoever is at `address` to let this node in; neither side knows the other but by the cluster key.
    fn join<'a>(&'a self, address: &'a str, question: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, JoinFailure>>;

    /// Asks on the presence lane.
    fn ask_presence<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>>;

    /// Tells on the presence lane, in order with what is asked and told there. `false` when it could not be sent: the link
    /// is then lost, or was never there.
    fn tell_presence(&self, peer: &NodeName, message: Vec<u8>) -> bool;

    /// From now on these are the members of `cluster_id`, this node among them or not: links to others end.
    fn know(&self, cluster_id: &str, members: Vec<PeerAt>);

    /// Says goodbye to all peers and ends all links.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// What a node answers its peers.
pub trait PeerSide: Send + Sync + 'static {
    /// Whether a node of this identity may be linked with: a member, under the identity and a generation that is known or newer.
    fn admits(&self, peer: &Peer) -> bool;

    /// A group is asked; `None` when it does not run here.
    fn raft<'a>(&'a self, from: &'a Peer, partition: PartitionId, ask: Ask) -> BoxFuture<'a, Option<Told>>;

    /// A group is sent a snapshot; `None` when it does not run here, or could not take it.
    fn snapshot<'a>(
        &'a self,
        from: &'a Peer,
        partition: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Option<SnapshotAnswer>>;

    /// Something about the cluster itself is asked by a member; `None` when it makes no sense.
    fn control<'a>(&'a self, from: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// A node that has the cluster key asks to be let in; `None` when it makes no sense.
    fn join(&self, question: Vec<u8>) -> BoxFuture<'_, Option<Vec<u8>>>;

    /// The lane of the program above.
    fn presence(&self) -> &Arc<dyn PresenceLane>;
}

/// The presence lane, as the program above the groups takes it. Nothing here may block.
pub trait PresenceLane: Send + Sync + 'static {
    /// Answers a question; `None` when it makes no sense.
    fn asked<'a>(&'a self, from: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// Takes what needs no answer; called in the order it was told, before anything that was asked later.
    fn told(&self, from: &Peer, message: Vec<u8>);

    /// A link to `peer` is there, or there again: what either side told before it may be lost.
    fn linked(&self, peer: &Peer);

    /// The link to `peer` is lost. Says nothing about whether the peer lives.
    fn unlinked(&self, peer: &Peer);
}

/// Takes nothing: a node by itself.
#[derive(Debug)]
pub struct NoPresence;

impl PresenceLane for NoPresence {
    fn asked<'a>(&'a self, _: &'a Peer, _: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn told(&self, _: &Peer, _: Vec<u8>) {}

    fn linked(&self, _: &Peer) {}

    fn unlinked(&self, _: &Peer) {}
}

/// No links: a node by itself reaches nobody.
#[derive(Debug)]
pub struct NoPeers;

fn nobody<T: Send + 'static>(peer: &NodeName) -> BoxFuture<'static, Result<T, LinkError>> {
    Box::pin(std::future::ready(Err(LinkError::Unreachable(peer.clone()))))
}

impl PeerLink for NoPeers {
    fn reaches(&self, _: &NodeName, _: u64) -> bool {
        false
    }

    fn ask<'a>(&'a self, peer: &'a NodeName, _: PartitionId, _: Ask) -> BoxFuture<'a, Result<Told, LinkError>> {
        nobody(peer)
    }

    fn send_snapshot<'a>(
        &'a self,
        peer: &'a NodeName,
        _: PartitionId,
        _: LeaderVote,
        _: GroupSnapshot,
    ) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>> {
        nobody(peer)
    }

    fn control<'a>(&'a self, peer: &'a NodeName, _: Vec<u8>, _: Duration) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        nobody(peer)
    }

    fn join<'a>(&'a self, address: &'a str, _: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, JoinFailure>> {
        let why = "this node has no links".to_owned();
        Box::pin(std::future::ready(Err(JoinFailure::Unreachable { address: address.to_owned(), why })))
    }

    fn ask_presence<'a>(
        &'a self,
        peer: &'a NodeName,
        _: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        nobody(peer)
    }

    fn tell_presence(&self, _: &NodeName, _: Vec<u8>) -> bool {
        false
    }

    fn know(&self, _: &str, _: Vec<PeerAt>) {}

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
