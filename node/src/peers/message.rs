//! The messages between nodes on the presence lane, in an envelope with a version.
//!
//! Tags are pinned by their order and a golden-bytes test; whatever does not decode whole and within bounds is no message.

use crate::{
    home::{
        request::{HomeError, HomeReply, HomeRequest, NodeNote},
        tenure::Tenure,
    },
    ties::page::{Digest, Mends, Page},
};
use bincode::{Decode, Encode};
use rollcall_cluster::backup::BackupPage;
use rollcall_presence::{Holder, NodeName, PartitionId, SessionId, UnixMs, UserId, codec};

/// The version of these messages. Nodes of the version before and this one run together.
const VERSION: u8 = 1;

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Question = 1,
    Reply = 2,
    Message = 3,
}

/// What a node is asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Question {
    /// Of the home of a partition.
    Home {
        /// Which.
        partition: PartitionId,
        /// What.
        request: HomeRequest,
    },
    /// Of whoever holds a replica: answered from its store, as stale.
    Replica {
        /// Which.
        partition: PartitionId,
        /// What.
        request: HomeRequest,
    },
    /// The home of a partition is told again what a node ties to it.
    Announce {
        /// Which.
        partition: PartitionId,
        /// The node.
        holder: Holder,
        /// Which part of it.
        step: Step,
    },
    /// Whether node and home agree.
    Compare {
        /// Which.
        partition: PartitionId,
        /// The node.
        holder: Holder,
        /// What it ties to the home.
        digest: Digest,
    },
    /// What a node knows of itself.
    Report,
    /// The next home of a partition is handed the times that only the present one knows.
    HandOver {
        /// Which.
        partition: PartitionId,
        /// When sessions were last heard.
        heard: Vec<LastHeard>,
    },
    /// Of the home of a partition, which the asker does not reach: to be passed on, once.
    Passed {
        /// To whom.
        to: NodeName,
        /// Which partition.
        partition: PartitionId,
        /// What.
        request: HomeRequest,
    },
    /// Of the home of a partition: a page of its users, for a backup.
    Section {
        /// Which partition.
        partition: PartitionId,
        /// The number of the backup.
        backup: u64,
        /// What the page before came with; the first one if there was none.
        ticket: Option<u64>,
    },
}

/// A page of a partition's users, for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SectionPage {
    /// To ask for the next one with, at this node.
    pub ticket: u64,
    /// The page.
    pub page: BackupPage,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum SectionFault {
    /// As many sections are read here as may be.
    Busy = 0,
    /// This node cannot confirm that it is the home, or has no replica any more.
    NoHome = 1,
    /// What was begun is lost: it has to begin again.
    Broken = 2,
}

/// A part of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Step {
    /// It begins; what comes after is as the node holds it after the answer.
    Begin,
    /// Some of it.
    Page(Tenure, Page),
    /// That was all; connections of numbers from here on are not in it.
    End(Tenure, u64),
}

/// When a session was last heard.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LastHeard {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When, for people.
    pub at: UnixMs,
    /// How long ago, for deadlines, ms.
    pub ago_ms: u64,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// To `Home` and `Replica`.
    Home(Result<HomeReply, HomeError>),
    /// It is not the home; nothing was done.
    NotHome {
        /// Who may be.
        leader: Option<NodeName>,
    },
    /// An announcement has begun.
    Begun {
        /// At this home.
        tenure: Tenure,
        /// The last number of a parcel sent to the node.
        number: u64,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// What is newer at the home, or decided otherwise.
    Mended(Mends),
    /// To `Compare`.
    Compared {
        /// The home.
        tenure: Tenure,
        /// The last number of a parcel sent to the node.
        number: u64,
        /// Whether it ties the same.
        same: bool,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// To `Report`.
    Report(NodeReport),
    /// To what has no other answer.
    Done,
    /// To `Section`.
    Section(Result<SectionPage, SectionFault>),
}

/// What a node knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct NodeReport {
    /// How long it runs.
    pub uptime_s: u64,
    /// Sessions of the users it is the home of.
    pub sessions: u64,
    /// Connections it serves.
    pub connections: u64,
    /// Users' actors.
    pub user_actors: u64,
    /// Partitions it is the home of.
    pub partitions_led: u32,
    /// Partitions of which it has a replica.
    pub partitions_held: u32,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// What it knows of the partitions that it is the home of.
    pub led: Vec<LedReport>,
    /// What it has applied of every replica.
    pub applied: Vec<(PartitionId, u64)>,
}

/// A partition as its home knows it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LedReport {
    /// Which.
    pub id: PartitionId,
    /// The term.
    pub term: u64,
    /// The last committed entry.
    pub committed: Option<u64>,
    /// Users known.
    pub users: u64,
    /// Users with a live session.
    pub online: u64,
    /// Members of the group with the last entry known to be on each one's disk.
    pub matched: Vec<(NodeName, Option<u64>)>,
}

/// What needs no answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// To the home of a partition.
    Request {
        /// Which.
        partition: PartitionId,
        /// What.
        request: HomeRequest,
    },
    /// From a home to a node that holds sockets.
    Parcel(Parcel),
    /// The sender is the home of a partition from now on.
    TakenUp {
        /// Which.
        partition: PartitionId,
        /// The home.
        tenure: Tenure,
    },
    /// From a home to its replicas: when sessions were last heard.
    Heard {
        /// Which.
        partition: PartitionId,
        /// Who and when.
        heard: Vec<LastHeard>,
    },
}

/// All that one committed entry, or one user's actor, has to tell one node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Parcel {
    /// The partition.
    pub partition: PartitionId,
    /// The home.
    pub tenure: Tenure,
    /// Counts the parcels of this home to this node: a missing one shows.
    pub number: u64,
    /// What is told.
    pub notes: Vec<NodeNote>,
}

fn seal(kind: Kind, mut body: Vec<u8>) -> Vec<u8> {
    body.extend([kind as u8, VERSION]);
    body
}

fn open<T: Decode<()>>(kind: Kind, bytes: &[u8]) -> Option<T> {
    let [body @ .., kind_found, version] = bytes else { return None };
    if *version != VERSION || *kind_found != kind as u8 {
        tracing::warn!(version, kind_found, "a message between nodes is of another version or kind");
        return None;
    }
    codec::decode(body).map_err(|error| tracing::warn!(%error, "a message between nodes is malformed")).ok()
}

/// A question as it is sent: the value, then its kind and the version.
#[must_use]
pub fn seal_question(question: &Question) -> Vec<u8> {
    seal(Kind::Question, codec::encode(question))
}

/// The question in `bytes`.
#[must_use]
pub fn open_question(bytes: &[u8]) -> Option<Question> {
    open(Kind::Question, bytes)
}

/// A reply as it is sent.
#[must_use]
pub fn seal_reply(reply: &Reply) -> Vec<u8> {
    seal(Kind::Reply, codec::encode(reply))
}

/// The reply in `bytes`.
#[must_use]
pub fn open_reply(bytes: &[u8]) -> Option<Reply> {
    open(Kind::Reply, bytes)
}

/// A message as it is sent.
#[must_use]
pub fn seal_message(message: &Message) -> Vec<u8> {
    seal(Kind::Message, codec::encode(message))
}

/// The message in `bytes`.
#[must_use]
pub fn open_message(bytes: &[u8]) -> Option<Message> {
    open(Kind::Message, bytes)
}

/// Reads foreign bytes as each kind of message, for the fuzz target and for the test that reads its kept inputs again: nothing
/// panics, and what was accepted is written as it was read.
#[cfg(any(test, fuzzing))]
pub fn read_any(bytes: &[u8]) {
    fn same_again<T: bincode::Encode + Decode<()> + PartialEq>(bytes: &[u8]) {
        if let Ok(value) = codec::decode::<T>(bytes) {
            assert!(codec::decode::<T>(&codec::encode(&value)).is_ok_and(|again| again == value));
        }
    }
    let _ = (open_question(bytes), open_reply(bytes), open_message(bytes));
    same_again::<Question>(bytes);
    same_again::<Reply>(bytes);
    same_again::<Message>(bytes);
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
