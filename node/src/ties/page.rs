//! What a node tells a home of its ties to it, and what it is told back.

use bincode::{Decode, Encode};
use rollcall_presence::{PublicPresence, SessionId, UnixMs, UserId};

/// A connection of a user of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConnectionTie {
    /// Its number at the node.
    pub number: u64,
    /// Its user.
    pub user: UserId,
    /// Its session and attachment.
    pub session: Option<(SessionId, u32)>,
    /// The contacts that it knows of, when it is told of their changes.
    pub follows: Option<Contacts>,
    /// Whether its user's blocks keep it from seeing anybody.
    pub blocks: bool,
    /// When it was last heard.
    pub heard_at: UnixMs,
}

/// A set of users, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Contacts {
    /// How many.
    pub count: u32,
    /// Their hashes, whatever their order.
    pub hash: u64,
}

/// A watched user of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectTie {
    /// Who.
    pub user: UserId,
    /// The version that is held; `None` before the first.
    pub version: Option<u64>,
    /// Who watches, and whether the subject's home allows it as far as is known.
    pub viewers: Vec<(UserId, bool)>,
}

/// A part of a node's ties to a home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Page {
    /// Connections.
    pub connections: Vec<ConnectionTie>,
    /// Watched users.
    pub subjects: Vec<SubjectTie>,
}

/// What a home says of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConnectionMend {
    /// Its number.
    pub number: u64,
    /// What is to be done about it.
    pub what: What,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// Its session has ended.
    Revoked,
    /// A newer connection holds its session.
    Replaced,
    /// The contacts it knows of are not those of its user.
    Follow,
    /// Whom its user blocks has to be asked again.
    Vet,
}

/// What a home says of a watched user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubjectMend {
    /// Who.
    pub user: UserId,
    /// Its presence, where the node held another.
    pub presence: Option<PublicPresence>,
    /// Viewers about whom the node held another decision.
    pub decisions: Vec<(UserId, bool)>,
}

/// What is newer at the home, or decided otherwise, of one page.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mends {
    /// Connections.
    pub connections: Vec<ConnectionMend>,
    /// Watched users.
    pub subjects: Vec<SubjectMend>,
    /// The partition's revision that this was read at.
    pub revision: u64,
    /// Whether the home could not confirm its lease.
    pub stale: bool,
}

/// What a node ties to a home, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Digest {
    /// Connections with session, attachment and whether they follow.
    pub connections: u32,
    /// Their hashes, whatever their order.
    pub connections_hash: u64,
    /// Watched users.
    pub subjects: u32,
    /// Their hashes, whatever their order.
    pub subjects_hash: u64,
}

/// A hash that is the same on every node.
fn hash(parts: &[&[u8]]) -> u64 {
    // FNV-1a, each part with its length: between nodes that trust each other, against lost messages only.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        (part.len() as u32).to_le_bytes().into_iter().for_each(&mut take);
        part.iter().copied().for_each(&mut take);
    }
    hash
}

impl Contacts {
    /// One more.
    pub fn add(&mut self, user: &UserId) {
        self.count += 1;
        self.hash ^= hash(&[user.as_bytes()]);
    }
}

impl Digest {
    /// One more connection.
    pub fn connection(&mut self, number: u64, session: Option<&(SessionId, u32)>, follows: bool) {
        self.connections += 1;
        let (id, attachment) = session.map_or((&b""[..], 0), |(id, attachment)| (id.as_bytes(), *attachment));
        self.connections_hash ^= hash(&[&number.to_le_bytes(), id, &attachment.to_le_bytes(), &[u8::from(follows)]]);
    }

    /// One more watched user.
    pub fn subject(&mut self, user: &UserId) {
        self.subjects += 1;
        self.subjects_hash ^= hash(&[user.as_bytes()]);
    }

    /// Whether nothing is tied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections == 0 && self.subjects == 0
    }
}
