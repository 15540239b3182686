//! A partition's users read from the replica here, all at one revision, a page at a time.

use super::{Item, Totals, gather::Gather};
use crate::{
    partition::{NotHeld, Partition},
    state::stream::StateStream,
};
use bincode::{Decode, Encode};
use rollcall_presence::PartitionId;
use std::io;
use thiserror::Error;

/// A part of a section, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupPage {
    /// Sealed items, one after the other; few, or none.
    pub items: Vec<u8>,
    /// What they hold.
    pub held: Totals,
    /// Whether there is nothing more.
    pub is_end: bool,
}

/// Why a section cannot be read on. What was read counts for nothing then.
#[derive(Debug, Error)]
pub enum ReadBackupError {
    /// The replica is gone, or is another one.
    #[error(transparent)]
    NotHeld(#[from] NotHeld),
    /// The rows cannot be read, or changed faster than they were read.
    #[error("{0}")]
    Rows(#[from] io::Error),
}

/// A section on its way. Rows that change meanwhile are kept for it as they were, up to a bound, for as long as this lives.
pub struct BackupReader {
    stream: StateStream,
    gather: Gather,
}

impl BackupReader {
    fn page(&mut self) -> io::Result<BackupPage> {
        let rows = self.stream.next_rows()?;
        for (key, value) in rows.iter().flatten() {
            self.gather.row(key, value)?;
        }
        let is_end = rows.is_none();
        if is_end {
            self.gather.end_user();
        }
        let (items, held) = self.gather.take_items();
        Ok(BackupPage { items, held, is_end })
    }

    fn begin(id: PartitionId, revision: u64, backup: u64, stream: StateStream) -> Self {
        let mut gather = Gather::new(backup);
        gather.add(&Item::Section { partition: id, revision });
        Self { stream, gather }
    }
}

impl Partition {
    /// Begins to read the users as they are now, for the backup of this number.
    ///
    /// # Errors
    /// [`NotHeld`] when no replica is kept here.
    pub fn begin_backup(&self, backup: u64) -> Result<BackupReader, NotHeld> {
        self.with_state(|state| {
            let (header, _, stream) = state.stream();
            BackupReader::begin(self.id(), header.ledger.revision, backup, stream)
        })
    }

    /// Reads on.
    ///
    /// # Errors
    /// [`ReadBackupError`]: the section has to begin again.
    pub fn read_backup(&self, reader: &mut BackupReader) -> Result<BackupPage, ReadBackupError> {
        // With the replica held in its seat: the rows of one that is being dropped vanish one by one.
        self.with_state(|state| {
            if !reader.stream.is_of(state) {
                return Err(ReadBackupError::NotHeld(NotHeld));
            }
            Ok(reader.page()?)
        })?
    }
}
