//! Backups: what a cluster keeps of its users as a row of sealed items, in a file as over the wire.
//!
//! Items are the project's envelopes, each whole by itself and bounded. Promises that a backup that checks out is all that its
//! cluster wrote into it: every item with its checksum, every user with all parts, and an end mark with the right counts.

mod check;
mod gather;
mod reader;

pub use check::{Check, Checked};
pub use reader::{BackupPage, BackupReader, ReadBackupError};

use crate::store::envelope::{self, EnvelopeError, HEADER_BYTES, Kind};
use bincode::{Decode, Encode};
use rollcall_presence::{PartitionId, Restored, UnixMs, UserId, codec, limits::RESTORED_PART_MAX_BYTES};
use std::io::{self, Read};
use thiserror::Error;

/// Longest sealed item, bytes: a full part of a user, its id, and the envelope.
pub const ITEM_MAX_BYTES: usize = RESTORED_PART_MAX_BYTES + 1_024;

/// An item of a backup. The tags are in files.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Item {
    /// The first item.
    Begin {
        /// Drawn at random; stands in every part.
        backup: u64,
        /// The cluster that it was made of.
        cluster_id: String,
        /// When it was begun, by the clock of the node that made it.
        taken_at: UnixMs,
    },
    /// The users of a partition follow, all as they were at one revision.
    Section {
        /// Which.
        partition: PartitionId,
        /// At which revision.
        revision: u64,
    },
    /// A part of a user; parts of one user follow one another.
    User {
        /// Who.
        user: UserId,
        /// What.
        part: Restored,
    },
    /// The section so far counts for nothing: it could not be read to its end, and begins again.
    Void,
    /// The backup could not be finished, and why.
    Failed(String),
    /// The last item.
    End(Totals),
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Totals {
    /// Users.
    pub users: u64,
    /// History entries.
    pub history: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { users: self.users.saturating_add(other.users), history: self.history.saturating_add(other.history) }
    }
}

/// Why something is no whole backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// An item is not what was written.
    #[error("an item is damaged: {0}")]
    Envelope(#[from] EnvelopeError),
    /// An item says that it is longer than any is.
    #[error("an item says that it has {bytes} bytes; none has more than {ITEM_MAX_BYTES}")]
    TooLong {
        /// What it says.
        bytes: usize,
    },
    /// The content of an item is not right.
    #[error("an item does not decode: {0}; it was written by another version of the program")]
    Undecodable(codec::CodecError),
    /// Items do not follow one another as they must.
    #[error("its items are out of order: {0}")]
    OutOfOrder(&'static str),
    /// There is no end mark.
    #[error("it ends before its end mark: it was cut short")]
    Unfinished,
    /// The end mark counts something else.
    #[error(
        "its end mark counts {} users and {} history entries, and it holds {} and {}",
        marked.users, marked.history, held.users, held.history
    )]
    Counts {
        /// What the mark says.
        marked: Totals,
        /// What was there.
        held: Totals,
    },
    /// The cluster could not finish it.
    #[error("the cluster could not finish it: {0}")]
    Failed(String),
}

impl Item {
    /// The stored form.
    #[must_use]
    pub fn sealed(&self) -> Vec<u8> {
        envelope::seal(Kind::Backup, &codec::encode(self))
    }

    /// The item that `bytes` begin with, and how long it is; `None` while not all of it is there.
    ///
    /// # Errors
    /// When it is none, whole and unharmed.
    pub fn split_off(bytes: &[u8]) -> Result<Option<(usize, Self)>, BackupError> {
        let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let len = bounded_len(header)?;
        bytes.get(..len).map(|sealed| Ok((len, opened(sealed)?))).transpose()
    }

    /// Reads the next item, and how long it is; `None` at the end. No more memory is taken than an item may have.
    ///
    /// # Errors
    /// When it is none, whole and unharmed.
    pub fn read(from: &mut impl Read) -> Result<Option<(usize, Self)>, BackupError> {
        let mut sealed = Vec::with_capacity(HEADER_BYTES);
        from.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut sealed)?;
        if sealed.is_empty() {
            return Ok(None);
        }
        let len = if sealed.len() < HEADER_BYTES { HEADER_BYTES } else { bounded_len(&sealed)? };
        from.by_ref().take((len - sealed.len()) as u64).read_to_end(&mut sealed)?;
        if sealed.len() < len {
            return Err(BackupError::Unfinished);
        }
        Ok(Some((len, opened(&sealed)?)))
    }
}

fn bounded_len(header: &[u8]) -> Result<usize, BackupError> {
    let bytes = envelope::sealed_len(header)?;
    if bytes > ITEM_MAX_BYTES { Err(BackupError::TooLong { bytes }) } else { Ok(bytes) }
}

fn opened(sealed: &[u8]) -> Result<Item, BackupError> {
    codec::decode(envelope::open(Kind::Backup, sealed)?).map_err(BackupError::Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_a_file_are_pinned() {
        let begin = Item::Begin { backup: 1, cluster_id: "c".into(), taken_at: 2 };
        let part = Restored {
            backup: 1,
            part: 0,
            overwrite: false,
            history_first: 0,
            history_next: 0,
            contacts: Vec::new(),
            blocks: Vec::new(),
            history: Vec::new(),
            last: None,
        };
        let items = [
            (begin, "0001016302"),
            (Item::Section { partition: PartitionId(3), revision: 4 }, "010304"),
            (Item::User { user: UserId::new("al").unwrap(), part }, "0202616c010000000000000000"),
            (Item::Void, "03"),
            (Item::Failed("w".into()), "040177"),
            (Item::End(Totals { users: 5, history: 6 }), "050506"),
        ];
        for (item, golden) in items {
            let sealed = item.sealed();
            assert_eq!(hex(&sealed[..4]), "52430b01", "magic, kind, version");
            assert_eq!(hex(&sealed[HEADER_BYTES..]), golden, "{item:?}");
            assert_eq!(Item::split_off(&sealed).unwrap(), Some((sealed.len(), item.clone())));
            assert_eq!(Item::read(&mut sealed.as_slice()).unwrap(), Some((sealed.len(), item)));
        }
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        let mut sealed = Item::Void.sealed();
        sealed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Item::split_off(&sealed), Err(BackupError::TooLong { .. })));
        assert!(matches!(Item::read(&mut sealed.as_slice()), Err(BackupError::TooLong { .. })));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_an_item_is_noticed() {
        let sealed = Item::End(Totals { users: 5, history: 6 }).sealed();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Item::read(&mut bad.as_slice()).is_err(), "bit {bit}");
        }
        for len in 1..sealed.len() {
            assert!(Item::read(&mut &sealed[..len]).is_err(), "{len}");
        }
    }
}
