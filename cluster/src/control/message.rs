//! What nodes ask each other about the cluster itself, and what they answer.
//!
//! Sealed in an envelope like everything stored; tags are pinned by their order and by golden bytes. Whatever does not open
//! is no question: hostile bytes cost their length.

use crate::store::envelope::{self, Kind};
use bincode::{Decode, Encode};
use rollcall_presence::{Applied, Newcomer, NodeName, PlacementCommand, PlacementRefusal, codec};

/// A sign of life, with what its sender is doing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Lease {
    /// The start of the node that lives.
    pub generation: u64,
    /// Its clock, ms since the epoch.
    pub unix_ms: u64,
    /// The epoch of the placement as applied there.
    pub epoch: u64,
    /// The partitions that it leads.
    pub leads: Vec<u16>,
}

/// What the placement leader answers to a lease, once a quorum has confirmed that it is that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Leased {
    /// The placement leader's term.
    pub term: u64,
    /// The placement's epoch there.
    pub epoch: u64,
    /// The clock that the middle one of all nodes shows now, ms since the epoch.
    pub median_unix_ms: u64,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Question {
    /// Let me in. `cluster_id` is the one that the node belongs to, if any; `partitions` what it is set to.
    Join {
        /// Of a node that was let in before.
        cluster_id: Option<String>,
        /// What it is set to.
        partitions: u16,
        /// The node.
        newcomer: Newcomer,
    },
    /// I am a member, and have started again.
    Announce {
        /// The cluster that it belongs to.
        cluster_id: String,
        /// The node.
        newcomer: Newcomer,
    },
    /// I live.
    Lease(Lease),
    /// Commit this.
    Propose(PlacementCommand),
    /// A member whose way to the placement leader is cut lives; whoever is asked passes it on.
    Relayed {
        /// Its name.
        name: NodeName,
        /// Its identity in Raft.
        raft_id: u64,
        /// Its sign of life.
        lease: Lease,
    },
    /// Are you of this cluster? Changes nothing, and is answered by whoever is asked.
    Greet {
        /// The cluster of the node that asks.
        cluster_id: String,
    },
}

/// A member as a newcomer needs to know it, until it has the placement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Introduced {
    /// Its name.
    pub name: NodeName,
    /// Its identity in Raft.
    pub raft_id: u64,
    /// Counts its starts.
    pub generation: u64,
    /// Where nodes reach it.
    pub peer: String,
}

/// What a node that was let in learns.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Welcome {
    /// The cluster.
    pub cluster_id: String,
    /// How many partitions it has.
    pub partitions: u16,
    /// Replicas wanted.
    pub replication: u8,
    /// Its members, the newcomer too.
    pub members: Vec<Introduced>,
}

/// Why a node is not let in. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum JoinRefusal {
    /// It belongs to another cluster.
    WrongCluster {
        /// The cluster that was asked.
        ours: String,
    },
    /// It is set to another number of partitions.
    Partitions {
        /// The cluster's.
        ours: u16,
    },
    /// It is no member any more.
    Removed,
    /// The placement refuses it.
    Placement(PlacementRefusal),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Answer {
    /// To [`Question::Join`] and [`Question::Announce`].
    Welcome(Welcome),
    /// To the same.
    NotWelcome(JoinRefusal),
    /// To [`Question::Lease`].
    Leased(Leased),
    /// To [`Question::Propose`]: committed and applied, or refused.
    Done(Result<Applied, PlacementRefusal>),
    /// This node does not lead the placement; nothing was changed.
    NotLeader {
        /// Who may.
        leader: Option<NodeName>,
    },
    /// It is not known whether it was committed.
    Unsure,
    /// Too much is asked at once; nothing was changed.
    Busy,
}

impl Question {
    /// As it travels.
    #[must_use]
    pub(crate) fn sealed(&self) -> Vec<u8> {
        envelope::seal(Kind::Question, &codec::encode(self))
    }

    /// From what came; nothing if it is no question.
    #[must_use]
    pub(crate) fn opened(bytes: &[u8]) -> Option<Self> {
        codec::decode(envelope::open(Kind::Question, bytes).ok()?).ok()
    }
}

impl Answer {
    /// As it travels.
    #[must_use]
    pub(crate) fn sealed(&self) -> Vec<u8> {
        envelope::seal(Kind::Answer, &codec::encode(self))
    }

    /// From what came; nothing if it is no answer.
    #[must_use]
    pub(crate) fn opened(bytes: &[u8]) -> Option<Self> {
        codec::decode(envelope::open(Kind::Answer, bytes).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer() -> Newcomer {
        Newcomer {
            name: NodeName::new("n2").unwrap(),
            raft_id: 7,
            generation: 1,
            http: "h:1".into(),
            peer: "p:2".into(),
            version: "0".into(),
            rules: 1,
        }
    }

    #[test]
    fn questions_and_answers_open_as_they_were_sealed_and_nothing_else_opens() {
        let name = NodeName::new("n2").unwrap();
        let questions = [
            Question::Join { cluster_id: None, partitions: 32, newcomer: newcomer() },
            Question::Announce { cluster_id: "c".into(), newcomer: newcomer() },
            Question::Lease(Lease { generation: 1, unix_ms: 2, epoch: 3, leads: vec![4, 5] }),
            Question::Propose(PlacementCommand::Drain { name: name.clone() }),
            Question::Relayed {
                name: name.clone(),
                raft_id: 7,
                lease: Lease { generation: 1, unix_ms: 2, epoch: 3, leads: Vec::new() },
            },
            Question::Greet { cluster_id: "c".into() },
        ];
        for question in questions {
            let sealed = question.sealed();
            assert_eq!(Question::opened(&sealed), Some(question));
            assert_eq!(Question::opened(&sealed[..sealed.len() - 1]), None);
            assert_eq!(Answer::opened(&sealed), None);
        }
        let introduced = Introduced { name, raft_id: 7, generation: 1, peer: "p:2".into() };
        let answers = [
            Answer::Welcome(Welcome {
                cluster_id: "c".into(),
                partitions: 32,
                replication: 3,
                members: vec![introduced],
            }),
            Answer::NotWelcome(JoinRefusal::Placement(PlacementRefusal::NotFounded)),
            Answer::Done(Ok(Applied::Changed)),
            Answer::NotLeader { leader: None },
        ];
        for answer in answers {
            assert_eq!(Answer::opened(&answer.sealed()), Some(answer));
        }
    }

    #[test]
    fn golden_bytes() {
        let lease = Question::Lease(Lease { generation: 1, unix_ms: 2, epoch: 3, leads: vec![4] });
        assert_eq!(lease.sealed()[envelope::HEADER_BYTES..], [2, 1, 2, 3, 1, 4]);
        let join = Question::Join { cluster_id: None, partitions: 32, newcomer: newcomer() };
        let wanted = [&[0, 0, 32][..], b"\x02n2\x07\x01\x03h:1\x03p:2\x010\x01"].concat();
        assert_eq!(join.sealed()[envelope::HEADER_BYTES..], wanted);
        let leased = Answer::Leased(Leased { term: 1, epoch: 2, median_unix_ms: 3 });
        assert_eq!(leased.sealed()[envelope::HEADER_BYTES..], [2, 1, 2, 3]);
        assert_eq!(Answer::Busy.sealed()[envelope::HEADER_BYTES..], [6]);
    }
}
