//! The binary forms of what groups ask each other: ours, so that nodes of two versions of openraft understand each other.
//!
//! Enum tags are pinned by their order and a golden-bytes test; log entries have the form they have on the disk.

use super::{GroupSnapshot, LeaderVote, SnapshotAnswer};
use crate::{
    raft::{
        link::{Ask, Told},
        types::{RaftEntry, SnapshotMeta, TypeConfig},
        wire::{StoredLogId, StoredMembers, StoredVote, decode_entry, encode_entry},
    },
    state::stream::SnapshotStream,
};
use bincode::{Decode, Encode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use rollcall_presence::{
    PartitionId,
    codec::{self, CodecError},
};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct VoteForm {
    vote: StoredVote,
    last: Option<StoredLogId>,
    transfer: bool,
}

impl From<VoteRequest<TypeConfig>> for VoteForm {
    fn from(request: VoteRequest<TypeConfig>) -> Self {
        let (vote, last) = (request.vote.into(), request.last_log_id.map(Into::into));
        Self { vote, last, transfer: request.leadership_transfer }
    }
}

impl From<VoteForm> for VoteRequest<TypeConfig> {
    fn from(form: VoteForm) -> Self {
        let mut request = VoteRequest::new(form.vote.into(), form.last.map(Into::into));
        request.leadership_transfer = form.transfer;
        request
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum AskForm {
    Append { vote: StoredVote, prev: Option<StoredLogId>, commit: Option<StoredLogId>, entries: Vec<Vec<u8>> },
    Vote(VoteForm),
    PreVote(VoteForm),
    TransferLeader { from: StoredVote, to: u64, last: Option<StoredLogId> },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum QuestionForm {
    Group(PartitionId, AskForm),
    Control(Vec<u8>),
}

/// A question on the Raft lane.
#[derive(Debug)]
pub(crate) enum Question {
    /// To a group.
    Group(PartitionId, Ask),
    /// To the cluster itself.
    Control(Vec<u8>),
}

impl Question {
    /// As it goes over the wire.
    #[must_use]
    pub(crate) fn encoded(self) -> Vec<u8> {
        codec::encode(&match self {
            Self::Control(question) => QuestionForm::Control(question),
            Self::Group(partition, ask) => QuestionForm::Group(partition, ask.into()),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no question.
    pub(crate) fn decoded(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match codec::decode(bytes)? {
            QuestionForm::Control(question) => Self::Control(question),
            QuestionForm::Group(partition, form) => Self::Group(partition, form.ask()?),
        })
    }
}

impl From<Ask> for AskForm {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Append(request) => Self::Append {
                vote: request.vote.into(),
                prev: request.prev_log_id.map(Into::into),
                commit: request.leader_commit.map(Into::into),
                entries: request.entries.iter().map(encode_entry).collect(),
            },
            Ask::Vote(request) => Self::Vote(request.into()),
            Ask::PreVote(request) => Self::PreVote(request.into()),
            Ask::TransferLeader(request) => Self::TransferLeader {
                from: (*request.from_leader()).into(),
                to: *request.to_node_id(),
                last: request.last_log_id().copied().map(Into::into),
            },
        }
    }
}

impl AskForm {
    fn ask(self) -> Result<Ask, CodecError> {
        Ok(match self {
            Self::Append { vote, prev, commit, entries } => {
                let entries: Result<Vec<RaftEntry>, _> = entries.iter().map(|entry| decode_entry(entry)).collect();
                Ask::Append(AppendEntriesRequest {
                    vote: vote.into(),
                    prev_log_id: prev.map(Into::into),
                    entries: entries?,
                    leader_commit: commit.map(Into::into),
                })
            }
            Self::Vote(form) => Ask::Vote(form.into()),
            Self::PreVote(form) => Ask::PreVote(form.into()),
            Self::TransferLeader { from, to, last } => {
                Ask::TransferLeader(TransferLeaderRequest::new(from.into(), to, last.map(Into::into)))
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum ToldForm {
    Appended,
    AppendedUpTo(Option<StoredLogId>),
    Conflict,
    HigherVote(StoredVote),
    Vote { vote: StoredVote, granted: bool, last: Option<StoredLogId> },
    TakingOver,
    VoteChanged { expected: StoredVote, actual: StoredVote },
    LogNotFlushed { expected: Option<StoredLogId>, actual: Option<StoredLogId> },
}

/// An answer on the Raft lane, as it goes over the wire.
#[must_use]
pub(crate) fn encode_told(told: Told) -> Vec<u8> {
    codec::encode(&match told {
        Told::Append(AppendEntriesResponse::Success) => ToldForm::Appended,
        Told::Append(AppendEntriesResponse::PartialSuccess(last)) => ToldForm::AppendedUpTo(last.map(Into::into)),
        Told::Append(AppendEntriesResponse::Conflict) => ToldForm::Conflict,
        Told::Append(AppendEntriesResponse::HigherVote(vote)) => ToldForm::HigherVote(vote.into()),
        Told::Vote(response) => ToldForm::Vote {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last: response.last_log_id.map(Into::into),
        },
        Told::TransferLeader(Ok(())) => ToldForm::TakingOver,
        Told::TransferLeader(Err(TransferLeaderError::VoteChanged { expected, actual })) => {
            ToldForm::VoteChanged { expected: expected.into(), actual: actual.into() }
        }
        Told::TransferLeader(Err(TransferLeaderError::LogNotFlushed { expected, actual })) => {
            ToldForm::LogNotFlushed { expected: expected.map(Into::into), actual: actual.map(Into::into) }
        }
    })
}

/// Reads the answer of a group.
///
/// # Errors
/// When the bytes are no answer.
pub(crate) fn decode_told(bytes: &[u8]) -> Result<Told, CodecError> {
    Ok(match codec::decode(bytes)? {
        ToldForm::Appended => Told::Append(AppendEntriesResponse::Success),
        ToldForm::AppendedUpTo(last) => Told::Append(AppendEntriesResponse::PartialSuccess(last.map(Into::into))),
        ToldForm::Conflict => Told::Append(AppendEntriesResponse::Conflict),
        ToldForm::HigherVote(vote) => Told::Append(AppendEntriesResponse::HigherVote(vote.into())),
        ToldForm::Vote { vote, granted, last } => {
            Told::Vote(VoteResponse { vote: vote.into(), vote_granted: granted, last_log_id: last.map(Into::into) })
        }
        ToldForm::TakingOver => Told::TransferLeader(Ok(())),
        ToldForm::VoteChanged { expected, actual } => Told::TransferLeader(Err(TransferLeaderError::VoteChanged {
            expected: expected.into(),
            actual: actual.into(),
        })),
        ToldForm::LogNotFlushed { expected, actual } => Told::TransferLeader(Err(TransferLeaderError::LogNotFlushed {
            expected: expected.map(Into::into),
            actual: actual.map(Into::into),
        })),
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct SnapshotForm {
    partition: PartitionId,
    vote: StoredVote,
    last: Option<StoredLogId>,
    members: StoredMembers,
}

/// What a snapshot is of, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotOf {
    /// The group.
    pub(crate) partition: PartitionId,
    /// Its leader's vote.
    pub(crate) vote: LeaderVote,
    /// What it holds.
    pub(crate) meta: SnapshotMeta,
}

impl SnapshotOf {
    /// As it goes over the wire.
    #[must_use]
    pub(crate) fn encoded(&self) -> Vec<u8> {
        codec::encode(&SnapshotForm {
            partition: self.partition,
            vote: self.vote.into(),
            last: self.meta.last_log_id.map(Into::into),
            members: StoredMembers::from(&self.meta.last_membership),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no header.
    pub(crate) fn decoded(bytes: &[u8]) -> Result<Self, CodecError> {
        let SnapshotForm { partition, vote, last, members } = codec::decode(bytes)?;
        let meta = SnapshotMeta { last_log_id: last.map(Into::into), last_membership: members.to_raft() };
        Ok(Self { partition, vote: vote.into(), meta })
    }

    /// The snapshot, with chunks to come from `stream`.
    #[must_use]
    pub(crate) fn with(self, stream: SnapshotStream) -> GroupSnapshot {
        GroupSnapshot { meta: self.meta, snapshot: stream }
    }
}

/// The answer to a snapshot, as it goes over the wire.
#[must_use]
pub(crate) fn encode_snapshot_answer(answer: &SnapshotAnswer) -> Vec<u8> {
    codec::encode(&StoredVote::from(answer.vote))
}

/// Reads the answer to a snapshot.
///
/// # Errors
/// When the bytes are none.
pub(crate) fn decode_snapshot_answer(bytes: &[u8]) -> Result<SnapshotAnswer, CodecError> {
    codec::decode::<StoredVote>(bytes).map(|vote| SnapshotResponse::new(vote.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{LogId, Member, Membership, StoredMembership, Vote};
    use openraft::{EntryPayload, entry::RaftEntry as _};
    use rollcall_presence::NodeName;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(term: u64, index: u64) -> LogId {
        StoredLogId { term, index }.into()
    }

    fn append() -> Ask {
        Ask::Append(AppendEntriesRequest {
            vote: Vote::new_committed(2, 7),
            prev_log_id: Some(id(2, 3)),
            entries: vec![RaftEntry::new(id(2, 4), EntryPayload::Blank)],
            leader_commit: None,
        })
    }

    fn vote() -> VoteRequest<TypeConfig> {
        VoteRequest { vote: Vote::new(3, 7), last_log_id: Some(id(2, 4)), leadership_transfer: true }
    }

    fn asked(ask: Ask) -> Vec<u8> {
        Question::Group(PartitionId(5), ask).encoded()
    }

    #[test]
    fn questions_on_the_wire_are_pinned() {
        let transfer = TransferLeaderRequest::new(Vote::new_committed(2, 7), 8, Some(id(2, 4)));
        for (question, bytes) in [
            (asked(append()), &[0, 5, 0, 2, 7, 1, 1, 2, 3, 0, 1, 3, 2, 4, 0][..]),
            (asked(Ask::Vote(vote())), &[0, 5, 1, 3, 7, 0, 1, 2, 4, 1]),
            (asked(Ask::PreVote(vote())), &[0, 5, 2, 3, 7, 0, 1, 2, 4, 1]),
            (asked(Ask::TransferLeader(transfer)), &[0, 5, 3, 2, 7, 1, 8, 1, 2, 4]),
            (Question::Control(b"x".to_vec()).encoded(), &[1, 1, b'x']),
        ] {
            assert_eq!(question, bytes);
            assert_eq!(Question::decoded(bytes).unwrap().encoded(), bytes, "reading loses nothing");
        }
    }

    #[test]
    fn answers_on_the_wire_are_pinned() {
        let (one, other) = (Vote::new_committed(2, 7), Vote::new(3, 8));
        let changed = TransferLeaderError::VoteChanged { expected: one, actual: other };
        let unflushed = TransferLeaderError::LogNotFlushed { expected: Some(id(2, 4)), actual: None };
        for (told, bytes) in [
            (Told::Append(AppendEntriesResponse::Success), &[0][..]),
            (Told::Append(AppendEntriesResponse::PartialSuccess(Some(id(2, 4)))), &[1, 1, 2, 4]),
            (Told::Append(AppendEntriesResponse::Conflict), &[2]),
            (Told::Append(AppendEntriesResponse::HigherVote(one)), &[3, 2, 7, 1]),
            (Told::Vote(VoteResponse::new(other, Some(id(2, 4)), true)), &[4, 3, 8, 0, 1, 1, 2, 4]),
            (Told::TransferLeader(Ok(())), &[5]),
            (Told::TransferLeader(Err(changed)), &[6, 2, 7, 1, 3, 8, 0]),
            (Told::TransferLeader(Err(unflushed)), &[7, 1, 2, 4, 0]),
        ] {
            assert_eq!(encode_told(told), bytes);
            assert_eq!(encode_told(decode_told(bytes).unwrap()), bytes, "reading loses nothing");
        }
        let answer = SnapshotResponse::new(one);
        assert_eq!(encode_snapshot_answer(&answer), [2, 7, 1]);
        assert_eq!(decode_snapshot_answer(&[2, 7, 1]).unwrap(), answer);
    }

    #[test]
    fn the_header_of_a_snapshot_is_pinned() {
        let nodes = BTreeMap::from([(7, Member { name: NodeName::new("n1").unwrap() })]);
        let members = Membership::new(vec![BTreeSet::from([7])], nodes).unwrap();
        let meta = SnapshotMeta {
            last_log_id: Some(id(2, 4)),
            last_membership: StoredMembership::new(Some(id(0, 0)), members),
        };
        let header = SnapshotOf { partition: PartitionId(5), vote: Vote::new_committed(2, 7), meta };
        let bytes = header.encoded();
        assert_eq!(bytes, [5, 2, 7, 1, 1, 2, 4, 1, 0, 0, 1, 1, 7, 1, 7, 2, b'n', b'1']);
        assert_eq!(SnapshotOf::decoded(&bytes).unwrap(), header);
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let whole = asked(append());
        for len in 0..whole.len() {
            assert!(Question::decoded(&whole[..len]).is_err(), "{len}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(Question::decoded(&longer).is_err(), "what is left over is noticed");
        // A length of 2^64 - 1 entries.
        let claim = [&[0, 5, 0, 2, 7, 1, 0, 0, 253][..], &[255; 8]].concat();
        assert!(Question::decoded(&claim).is_err());
        assert!(
            decode_told(&[9]).is_err() && decode_snapshot_answer(&[]).is_err() && SnapshotOf::decoded(&[1]).is_err()
        );
    }
}
