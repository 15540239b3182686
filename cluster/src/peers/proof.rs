//! The handshake of a lane: who is there, and that both have the cluster key, without the key going over the wire.
//!
//! The dialler greets with a nonce and is challenged with another; each proves itself by HMAC-SHA-256 over all that was
//! said. The dialler proves first, so that nobody without the key learns anything. The forms are pinned.

use super::{Peer, bounds::PROTOCOL};
use bincode::{Decode, Encode};
use hmac::{Hmac, Mac};
use rollcall_presence::{NodeName, codec};
use sha2::{Digest, Sha256};
use std::fmt;
use thiserror::Error;

/// What a stream is for. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) enum Lane {
    /// Groups, and the cluster itself.
    Raft,
    /// The program above.
    Presence,
    /// One snapshot.
    Snapshot,
    /// A node asks to be let in.
    Join,
}

/// The first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Hello {
    /// The protocol's version; stands first in every version.
    pub(crate) protocol: u16,
    /// What the stream is for.
    pub(crate) lane: Lane,
    /// The cluster, as the dialler knows it.
    pub(crate) cluster_id: String,
    /// Who is meant; nobody in particular by a node that asks to join.
    pub(crate) to: Option<NodeName>,
    /// Who dials.
    pub(crate) from: PeerForm,
    /// Never used before.
    pub(crate) nonce: [u8; 32],
}

/// The answer to a greeting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Challenge {
    /// The cluster, as the accepting node knows it.
    pub(crate) cluster_id: String,
    /// Who accepts.
    pub(crate) from: PeerForm,
    /// Never used before.
    pub(crate) nonce: [u8; 32],
}

/// A peer, on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PeerForm {
    name: NodeName,
    raft_id: u64,
    generation: u64,
}

impl From<&Peer> for PeerForm {
    fn from(peer: &Peer) -> Self {
        Self { name: peer.name.clone(), raft_id: peer.raft_id, generation: peer.generation }
    }
}

impl From<PeerForm> for Peer {
    fn from(form: PeerForm) -> Self {
        Self { name: form.name, raft_id: form.raft_id, generation: form.generation }
    }
}

/// Why a stream was refused. Nothing was exchanged over it. The numbers are on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Error, Encode, Decode)]
pub(crate) enum Refusal {
    /// Another version of the protocol.
    #[error("it speaks version {theirs} of the links' protocol, not {PROTOCOL}")]
    Protocol {
        /// Its version.
        theirs: u16,
    },
    /// Another cluster key.
    #[error("its cluster key is another one")]
    WrongKey,
    /// Another cluster.
    #[error("it belongs to the cluster {theirs:?}")]
    WrongCluster {
        /// Its cluster; empty when it belongs to none yet.
        theirs: String,
    },
    /// Somebody else lives at that address.
    #[error("{0} lives at that address")]
    OtherName(NodeName),
    /// Not a member under this identity.
    #[error("it does not take this node for a member under this identity")]
    NotAdmitted,
    /// Too many at once.
    #[error("it has no room for another one")]
    Busy,
}

/// One step of the handshake. The numbers are on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Greeting {
    /// From the dialler.
    Hello(Hello),
    /// From the accepting node.
    Challenge(Challenge),
    /// The dialler has the key.
    Proof([u8; 32]),
    /// So has the accepting node, and the lane is there.
    Welcome([u8; 32]),
    /// There will be no lane.
    Refused(Refusal),
}

impl Greeting {
    /// As it goes over the wire.
    #[must_use]
    pub(crate) fn encoded(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// The cluster key, hashed into one block of HMAC's. Never shown.
#[derive(Clone)]
pub(crate) struct ClusterKey([u8; 64]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

/// Who proves: a proof of one side is none of the other, so that it can't be thrown back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Prover {
    /// Who dialled.
    Dialler,
    /// Who accepts.
    Acceptor,
}

impl ClusterKey {
    /// The key of these bytes.
    #[must_use]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&Sha256::digest(bytes));
        Self(block)
    }

    fn mac(&self, prover: Prover, hello: &Hello, challenge: &Challenge) -> Hmac<Sha256> {
        let role: &[u8] = match prover {
            Prover::Dialler => b"rollcall link 1 dialler",
            Prover::Acceptor => b"rollcall link 1 acceptor",
        };
        let mut mac = <Hmac<Sha256> as Mac>::new(&self.0.into());
        for part in [role, &codec::encode(hello), &codec::encode(challenge)] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    /// Proves that `prover` has this key.
    #[must_use]
    pub(crate) fn proof(&self, prover: Prover, hello: &Hello, challenge: &Challenge) -> [u8; 32] {
        self.mac(prover, hello, challenge).finalize().into_bytes().into()
    }

    /// Whether `prover` has this key; takes the same time whatever the answer.
    #[must_use]
    pub(crate) fn holds(&self, prover: Prover, hello: &Hello, challenge: &Challenge, proof: &[u8; 32]) -> bool {
        self.mac(prover, hello, challenge).verify_slice(proof).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerForm {
        PeerForm { name: NodeName::new(name).unwrap(), raft_id: 7, generation: 2 }
    }

    fn said() -> (Hello, Challenge) {
        let to = Some(NodeName::new("b").unwrap());
        let hello =
            Hello { protocol: 1, lane: Lane::Presence, cluster_id: "c1".into(), to, from: peer("a"), nonce: [1; 32] };
        (hello, Challenge { cluster_id: "c1".into(), from: peer("b"), nonce: [2; 32] })
    }

    #[test]
    fn the_forms_on_the_wire_are_pinned() {
        let (hello, challenge) = said();
        let hello = Greeting::Hello(hello).encoded();
        assert_eq!(hello[..14], [0, 1, 1, 2, b'c', b'1', 1, 1, b'b', 1, b'a', 7, 2, 1]);
        let challenge = Greeting::Challenge(challenge).encoded();
        assert_eq!(challenge[..9], [1, 2, b'c', b'1', 1, b'b', 7, 2, 2]);
        assert_eq!(Greeting::Refused(Refusal::WrongKey).encoded(), [4, 1]);
        assert_eq!(Greeting::Refused(Refusal::Busy).encoded(), [4, 5]);
        assert_eq!(Greeting::Proof([3; 32]).encoded()[..2], [2, 3]);
        assert_eq!(Greeting::Welcome([3; 32]).encoded()[..2], [3, 3]);
    }

    #[test]
    fn a_proof_holds_for_one_key_one_side_and_one_conversation() {
        let (hello, challenge) = said();
        let key = ClusterKey::new(b"secret");
        let proof = key.proof(Prover::Dialler, &hello, &challenge);
        assert!(key.holds(Prover::Dialler, &hello, &challenge, &proof));
        assert!(!key.holds(Prover::Acceptor, &hello, &challenge, &proof));
        assert!(!ClusterKey::new(b"Secret").holds(Prover::Dialler, &hello, &challenge, &proof));
        let other = Challenge { nonce: [3; 32], ..challenge.clone() };
        assert!(!key.holds(Prover::Dialler, &hello, &other, &proof));
        let other = Hello { lane: Lane::Raft, ..hello };
        assert!(!key.holds(Prover::Dialler, &other, &challenge, &proof));
        assert_eq!(format!("{key:?}"), "ClusterKey");
    }
}
