//! The types that openraft is used with.
//!
//! One leader a term (`leader_id_std`): commands are fenced by the term of their home, so that two leaders of one term, which
//! openraft's default allows, would pass each other's fence.

use super::runtime::GridRuntime;
use openraft::{impls::leader_id_std, type_config::alias};
use rollcall_presence::{Applied, Entry, NodeName, Outcome, PlacementCommand, PlacementRefusal};
use std::{fmt, sync::Arc};

openraft::declare_raft_types!(
    /// openraft, with our types.
    pub TypeConfig:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Member,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = GridRuntime,
);

/// What a log entry holds of ours; cheap to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// Of a partition: what happened to its users.
    Presence(Arc<Entry>),
    /// Of the placement group.
    Placement(Arc<PlacementCommand>),
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Presence(entry) => write!(f, "{} commands", entry.commands.len()),
            Self::Placement(_) => write!(f, "a placement command"),
        }
    }
}

/// What applying an entry answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// An outcome for each of the entry's commands, in their order.
    pub outcomes: Vec<Arc<Outcome>>,
    /// What the placement command did, if it was one.
    pub placement: Option<Result<Applied, PlacementRefusal>>,
}

/// A node as a member of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
}

/// openraft's storage suite makes members out of nothing.
#[cfg(test)]
impl Default for Member {
    fn default() -> Self {
        Self { name: NodeName::new("nobody").unwrap() }
    }
}

/// A committed leader: its term.
pub(crate) type CommittedLeader = alias::CommittedLeaderIdOf<TypeConfig>;
/// The place of an entry.
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
/// A vote.
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
/// An entry.
pub(crate) type RaftEntry = alias::EntryOf<TypeConfig>;
/// Who is in a group.
pub(crate) type Membership = openraft::Membership<u64, Member>;
/// Who is in a group, and since which entry.
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// What is said of a snapshot.
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
