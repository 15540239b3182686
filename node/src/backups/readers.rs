//! The sections that are being read from this node's homes, a few at a time, each forgotten when nobody asks for more of it.

use crate::{
    bounds::{BACKUP_IDLE_MS, BACKUP_READERS_MAX},
    home::partition::HomePartition,
    homes::Homes,
    peers::message::{Reply, SectionFault, SectionPage},
};
use parking_lot::Mutex;
use rollcall_cluster::{
    Role,
    backup::{BackupReader, ReadBackupError},
};
use rollcall_presence::PartitionId;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A section that is being read.
struct Held {
    reader: BackupReader,
    partition: PartitionId,
    used: Instant,
}

#[derive(Default)]
struct Table {
    held: HashMap<u64, Held>,
    /// Sections that are out of the table while a page of them is read.
    reading: usize,
    /// Counts sections.
    last: u64,
}

/// The sections that are being read here.
#[derive(Default)]
pub struct Readers(Mutex<Table>);

impl Readers {
    /// Forgets what nobody asked for in a while: rows are kept for it.
    pub fn drop_idle(&self) {
        let idle = Duration::from_millis(BACKUP_IDLE_MS);
        self.0.lock().held.retain(|_, held| held.used.elapsed() < idle);
    }

    fn begin(&self, home: &HomePartition, backup: u64) -> Result<SectionPage, SectionFault> {
        let ticket = {
            let mut table = self.0.lock();
            if table.held.len() + table.reading >= BACKUP_READERS_MAX {
                return Err(SectionFault::Busy);
            }
            table.reading += 1;
            table.last += 1;
            table.last
        };
        let begun = home.group().begin_backup(backup).map_err(|_| SectionFault::NoHome);
        self.read_on(home, ticket, begun)
    }

    fn next(&self, home: &HomePartition, ticket: u64) -> Result<SectionPage, SectionFault> {
        let reader = {
            let mut table = self.0.lock();
            match table.held.remove(&ticket) {
                Some(held) if held.partition == home.id() => {
                    table.reading += 1;
                    held.reader
                }
                _ => return Err(SectionFault::Broken),
            }
        };
        self.read_on(home, ticket, Ok(reader))
    }

    /// Reads a page of what is out of the table, and puts it back if there is more.
    fn read_on(
        &self,
        home: &HomePartition,
        ticket: u64,
        reader: Result<BackupReader, SectionFault>,
    ) -> Result<SectionPage, SectionFault> {
        let read = reader.and_then(|mut reader| match home.group().read_backup(&mut reader) {
            Ok(page) => Ok((page, reader)),
            Err(error) => {
                tracing::warn!(partition = %home.id(), %error, "a partition could not be read for a backup");
                Err(if matches!(error, ReadBackupError::NotHeld(_)) {
                    SectionFault::NoHome
                } else {
                    SectionFault::Broken
                })
            }
        });
        let mut table = self.0.lock();
        table.reading -= 1;
        let (page, reader) = read?;
        if !page.is_end {
            table.held.insert(ticket, Held { reader, partition: home.id(), used: Instant::now() });
        }
        Ok(SectionPage { ticket, page })
    }
}

impl Homes {
    /// Reads a page of a section at its home: the first one, which only a home that holds its lease may begin, or the one after.
    pub async fn section(&self, partition: PartitionId, backup: u64, ticket: Option<u64>) -> Reply {
        let Some(home) = self.partition(partition).map(Arc::clone) else { return Reply::NotHome { leader: None } };
        if let Some(ticket) = ticket {
            return Reply::Section(self.readers().next(&home, ticket));
        }
        match home.role() {
            Role::Follower { leader } => Reply::NotHome { leader },
            // So that everything that was acknowledged before is in it.
            Role::Home { .. } => match home.confirmed().await {
                Ok(()) => Reply::Section(self.readers().begin(&home, backup)),
                Err(_) => Reply::Section(Err(SectionFault::NoHome)),
            },
        }
    }
}
