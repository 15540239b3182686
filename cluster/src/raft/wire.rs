//! The binary forms of openraft's types: ours, so that a new openraft does not change what is on a disk.
//!
//! Enum tags are pinned by their order and a golden-bytes test. Relies on the codec of `presence`.

use super::types::{CommittedLeader, LogId, Member, Membership, Proposal, RaftEntry, StoredMembership, Vote};
use bincode::{Decode, Encode};
use openraft::{EntryPayload, entry::RaftEntry as _};
use rollcall_presence::{Entry, NodeName, PlacementCommand, codec};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The place of an entry, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct StoredLogId {
    /// The term it was proposed in.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

impl From<LogId> for StoredLogId {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(id: StoredLogId) -> Self {
        LogId::new(CommittedLeader { term: id.term }, id.index)
    }
}

/// A vote, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StoredVote {
    /// The term.
    pub term: u64,
    /// Who was voted for.
    pub node: u64,
    /// Whether a quorum did.
    pub committed: bool,
}

impl From<Vote> for StoredVote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        if vote.committed { Vote::new_committed(vote.term, vote.node) } else { Vote::new(vote.term, vote.node) }
    }
}

/// Who is in a group, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct StoredMembers {
    /// The entry that said so.
    pub log_id: Option<StoredLogId>,
    /// Sets of voters, each of which must agree; two while they change.
    pub voters: Vec<BTreeSet<u64>>,
    /// Everybody, learners too.
    pub nodes: BTreeMap<u64, NodeName>,
}

impl StoredMembers {
    fn of(log_id: Option<LogId>, membership: &Membership) -> Self {
        Self {
            log_id: log_id.map(Into::into),
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, member)| (*id, member.name.clone())).collect(),
        }
    }

    fn membership(&self) -> Option<Membership> {
        let nodes: BTreeMap<u64, Member> =
            self.nodes.iter().map(|(id, name)| (*id, Member { name: name.clone() })).collect();
        Membership::new(self.voters.clone(), nodes).ok()
    }
}

impl From<&StoredMembership> for StoredMembers {
    fn from(stored: &StoredMembership) -> Self {
        Self::of(*stored.log_id(), stored.membership())
    }
}

impl StoredMembers {
    /// As openraft has it; what breaks its rules is taken for nobody.
    #[must_use]
    pub(crate) fn to_raft(&self) -> StoredMembership {
        StoredMembership::new(self.log_id.map(Into::into), self.membership().unwrap_or_default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum StoredPayload {
    Blank,
    Commands(Arc<Entry>),
    Members(StoredMembers),
    Placement(Arc<PlacementCommand>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct StoredEntry {
    id: StoredLogId,
    payload: StoredPayload,
}

/// Encodes an entry.
#[must_use]
pub(crate) fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    let payload = match &entry.payload {
        EntryPayload::Blank => StoredPayload::Blank,
        EntryPayload::Normal(Proposal::Presence(entry)) => StoredPayload::Commands(Arc::clone(entry)),
        EntryPayload::Normal(Proposal::Placement(command)) => StoredPayload::Placement(Arc::clone(command)),
        EntryPayload::Membership(membership) => StoredPayload::Members(StoredMembers::of(None, membership)),
    };
    codec::encode(&StoredEntry { id: entry.log_id.into(), payload })
}

/// Decodes an entry.
///
/// # Errors
/// When the bytes are not one.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<RaftEntry, codec::CodecError> {
    let stored: StoredEntry = codec::decode(bytes)?;
    let payload = match stored.payload {
        StoredPayload::Blank => EntryPayload::Blank,
        StoredPayload::Commands(entry) => EntryPayload::Normal(Proposal::Presence(entry)),
        StoredPayload::Placement(command) => EntryPayload::Normal(Proposal::Placement(command)),
        StoredPayload::Members(members) => {
            EntryPayload::Membership(members.membership().ok_or(codec::CodecError::Malformed)?)
        }
    };
    Ok(RaftEntry::new(stored.id.into(), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::{Command, Intent, Policy, UserId};

    fn log_id(term: u64, index: u64) -> LogId {
        StoredLogId { term, index }.into()
    }

    #[test]
    fn entries_on_disk_are_pinned() {
        let blank = RaftEntry::new(log_id(2, 300), EntryPayload::Blank);
        assert_eq!(encode_entry(&blank), [2, 251, 44, 1, 0]);
        let nodes = BTreeMap::from([(7, Member { name: NodeName::new("n1").unwrap() })]);
        let members = Membership::new(vec![BTreeSet::from([7])], nodes).unwrap();
        let members = RaftEntry::new(log_id(0, 0), EntryPayload::Membership(members));
        assert_eq!(encode_entry(&members), [0, 0, 2, 0, 1, 1, 7, 1, 7, 2, b'n', b'1']);
        let command =
            Command { user: UserId::new("al").unwrap(), term: 2, at: 5, key: None, intent: Intent::ClearStatus };
        let entry = Entry { rules: 1, policy: Policy::default().under(1), commands: vec![command] };
        let normal = RaftEntry::new(log_id(2, 1), EntryPayload::Normal(Proposal::Presence(Arc::new(entry))));
        assert_eq!(encode_entry(&normal)[..3], [2, 1, 1]);
        let drain = PlacementCommand::Drain { name: NodeName::new("n1").unwrap() };
        let placement = RaftEntry::new(log_id(2, 9), EntryPayload::Normal(Proposal::Placement(Arc::new(drain))));
        assert_eq!(encode_entry(&placement), [2, 9, 3, 4, 2, b'n', b'1']);
        for entry in [blank, members, normal, placement] {
            assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn votes_survive_the_round_trip() {
        for vote in [Vote::new(3, 9), Vote::new_committed(4, 1)] {
            assert_eq!(Vote::from(StoredVote::from(vote)), vote);
        }
    }
}
