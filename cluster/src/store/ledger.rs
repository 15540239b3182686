//! The rows that describe: who the node is, what the last round was, where each group's log and state stand.
//!
//! Every row of a log counts in the digest of its [`LogLedger`], every row of a state in that of its [`StateHeader`], each
//! of these in the digest of the [`RoundRow`], and its number stands in the watermark: so nothing can be missing, or be an
//! older one of itself, without being noticed at the next start.

use super::envelope::{self, EnvelopeError, Kind};
use crate::raft::wire::{StoredLogId, StoredMembers, StoredVote};
use bincode::{Decode, Encode};
use rollcall_presence::{Ledger, NodeName, codec};
use siphasher::sip::SipHasher13;
use std::{collections::BTreeMap, hash::Hasher};
use thiserror::Error;

/// A sum over rows, whatever their order: adding and taking away commute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Digest(pub u64);

impl Digest {
    /// Counts a row in.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(row_hash(key, value));
    }

    /// Counts a row out.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(row_hash(key, value));
    }
}

fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x726f_6c6c, 0x6361_6c6c);
    hasher.write(&(key.len() as u64).to_le_bytes());
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}

/// Who this node is. Written at each start, before it serves.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's name.
    pub node: NodeName,
    /// The node in Raft; drawn when the directory was made, so that a wiped node is somebody new.
    pub raft_id: u64,
    /// Counts starts.
    pub generation: u64,
    /// How many partitions the cluster was made with.
    pub partitions: u16,
    /// Whether the node has still to found the cluster, as the first voter of each group, or to finish doing so.
    pub founder: bool,
}

/// The last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct RoundRow {
    /// Its number; rises by one.
    pub number: u64,
    /// Over identity, log ledgers and state headers.
    pub digest: Digest,
}

/// Where a group's log stands. Invariant: `purged` ≤ `last`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct LogLedger {
    /// The vote.
    pub vote: Option<StoredVote>,
    /// What is known to be committed; may lag.
    pub committed: Option<StoredLogId>,
    /// The last entry given up.
    pub purged: Option<StoredLogId>,
    /// The last entry.
    pub last: Option<StoredLogId>,
    /// The first index of which rows may still be there; below `purged` while a purge goes on.
    pub first: u64,
    /// Over the rows of all entries.
    pub digest: Digest,
}

/// Where a group's state stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct StateHeader {
    /// Which of the prefixes holds the rows; another is being filled while a snapshot is installed.
    pub epoch: u32,
    /// The last entry applied.
    pub applied: Option<StoredLogId>,
    /// Who is in the group.
    pub members: StoredMembers,
    /// What the rules count.
    pub ledger: Ledger,
    /// Over the rows of this epoch.
    pub digest: Digest,
}

/// Why a row that describes cannot be read. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum LedgerError {
    /// The envelope is not right.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The content is not right.
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
}

/// A row that describes.
pub(crate) trait Described: Encode + Decode<()> {
    /// Its kind.
    const KIND: Kind;

    /// Its stored form.
    fn sealed(&self) -> Vec<u8> {
        envelope::seal(Self::KIND, &codec::encode(self))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is not one, whole and unharmed.
    fn opened(sealed: &[u8]) -> Result<Self, LedgerError> {
        Ok(codec::decode(envelope::open(Self::KIND, sealed)?)?)
    }
}

impl Described for StoredIdentity {
    const KIND: Kind = Kind::Identity;
}
impl Described for RoundRow {
    const KIND: Kind = Kind::Round;
}
impl Described for LogLedger {
    const KIND: Kind = Kind::LogLedger;
}
impl Described for StateHeader {
    const KIND: Kind = Kind::StateHeader;
}

/// The digest that the rows which describe add up to.
#[must_use]
pub(crate) fn described_digest(described: &BTreeMap<Vec<u8>, Vec<u8>>) -> Digest {
    let mut digest = Digest::default();
    for (key, sealed) in described {
        digest.add(key, sealed);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_forgets_what_is_taken_away() {
        let mut digest = Digest::default();
        digest.add(b"a", b"1");
        let one = digest;
        digest.add(b"b", b"2");
        digest.take(b"a", b"1");
        digest.add(b"a", b"1");
        digest.take(b"b", b"2");
        assert_eq!(digest, one);
        let mut other = Digest::default();
        other.add(b"a1", b"");
        assert_ne!(other, one);
    }

    #[test]
    fn rows_on_disk_are_pinned() {
        let ledger = LogLedger {
            vote: Some(StoredVote { term: 3, node: 7, committed: true }),
            committed: None,
            purged: None,
            last: Some(StoredLogId { term: 3, index: 4 }),
            first: 0,
            digest: Digest(5),
        };
        let sealed = ledger.sealed();
        assert_eq!(sealed[envelope::HEADER_BYTES..], [1, 3, 7, 1, 0, 0, 1, 3, 4, 0, 5]);
        assert_eq!(LogLedger::opened(&sealed).unwrap(), ledger);
        let mut digest = Digest::default();
        digest.add(b"key", b"value");
        assert_eq!(digest.0, PINNED, "changing the hash refuses every store");
    }
    const PINNED: u64 = 5_677_502_417_816_952_367;
}
