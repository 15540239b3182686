//! A group's log, as openraft wants it, over the writer's queue.
//!
//! Entries are readable from memory as soon as they are appended; the writer makes them durable. Promises that a vote is
//! durable on return, and that no entry leaves memory before it can be read from disk.

use super::{
    erasure::{Erasure, deletes},
    tether::Tether,
    types::{LogId, RaftEntry, TypeConfig, Vote},
    wire::{self, StoredLogId, StoredVote},
};
use crate::{
    limits::{LOG_READ_MAX_BYTES, RECENT_MAX_ENTRIES},
    store::{
        checks::Extent,
        disk::Disk,
        envelope::{self, Kind},
        key,
        ledger::LogLedger,
        work::{Done, LogWork, SealedEntry, promise},
        writer::Writer,
    },
};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use rollcall_presence::PartitionId;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug, Clone)]
struct Recent {
    entry: RaftEntry,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Ends {
    vote: Option<StoredVote>,
    committed: Option<StoredLogId>,
    purged: Option<StoredLogId>,
    last: Option<StoredLogId>,
    /// Up to where entries are on disk.
    durable: u64,
    /// Up to where entries were applied.
    applied: u64,
    recent: BTreeMap<u64, Recent>,
    /// Appended since the last snapshot was asked for.
    grown_bytes: u64,
    grown_entries: u64,
}

impl Ends {
    /// Lets go of entries that can be read from disk and are not about to be applied.
    fn forget(&mut self) {
        while let Some((&index, _)) = self.recent.first_key_value() {
            let wanted = index > self.applied && self.recent.len() <= RECENT_MAX_ENTRIES;
            if index > self.durable || wanted {
                break;
            }
            self.recent.pop_first();
        }
    }
}

/// The log's ends and its newest entries, shared by whoever writes, reads and applies.
pub(crate) struct LogCell {
    partition: PartitionId,
    disk: Arc<dyn Disk>,
    ends: Mutex<Ends>,
    erasure: Mutex<Erasure>,
}

impl LogCell {
    /// The log of `partition` on `disk`, as `ledger` describes it, of which `extent` was seen.
    #[must_use]
    pub(crate) fn new(partition: PartitionId, disk: Arc<dyn Disk>, ledger: &LogLedger, extent: Extent) -> Arc<Self> {
        let ends = Ends {
            vote: ledger.vote,
            committed: ledger.committed,
            purged: ledger.purged,
            last: ledger.last,
            durable: ledger.last.map_or(0, |id| id.index),
            // What is read at a start is not read again.
            applied: ledger.last.map_or(0, |id| id.index),
            grown_bytes: extent.bytes,
            grown_entries: ledger.last.map_or(0, |id| id.index) - ledger.purged.map_or(0, |id| id.index),
            ..Ends::default()
        };
        let erasure = Mutex::new(Erasure::found(extent.last_deletion));
        Arc::new(Self { partition, disk, ends: Mutex::new(ends), erasure })
    }

    /// Notes that the entries up to `index` were applied.
    pub(crate) fn applied(&self, index: u64) {
        let mut ends = self.ends.lock();
        ends.applied = index;
        ends.forget();
    }

    /// Notes what an entry that was just applied means for the log.
    pub(crate) fn note_applied(&self, entry: &RaftEntry) {
        if deletes(entry) {
            self.erasure.lock().deleted(entry.log_id.index, Instant::now());
        }
    }

    /// Up to where the log is to be erased now, because of a deletion that was applied `after` ago or before this start.
    pub(crate) fn erasure_due(&self, after: Duration) -> Option<u64> {
        self.erasure.lock().due(Instant::now(), after)
    }

    fn durable(&self, index: u64) {
        let mut ends = self.ends.lock();
        ends.durable = ends.durable.max(index);
        ends.forget();
    }

    /// How much was appended since the last [`reset_growth`](Self::reset_growth), bytes and entries.
    #[must_use]
    pub(crate) fn growth(&self) -> (u64, u64) {
        let ends = self.ends.lock();
        (ends.grown_bytes, ends.grown_entries)
    }

    /// Starts counting afresh.
    pub(crate) fn reset_growth(&self) {
        let mut ends = self.ends.lock();
        (ends.grown_bytes, ends.grown_entries) = (0, 0);
    }

    /// The entries of `first..=last` that are there, up to about `bytes`, but at least one.
    fn read(&self, first: u64, last: u64, mut bytes: usize) -> io::Result<Vec<RaftEntry>> {
        let (first, last, recent) = {
            let ends = self.ends.lock();
            let first = first.max(ends.purged.map_or(0, |id| id.index + 1));
            let Some(end) = ends.last.filter(|end| end.index >= first && last >= first) else { return Ok(Vec::new()) };
            let last = last.min(end.index);
            let recent: Vec<Recent> = ends.recent.range(first..=last).map(|(_, recent)| recent.clone()).collect();
            (first, last, recent)
        };
        let memory_first = recent.first().map_or(last + 1, |recent| recent.entry.log_id.index);
        let mut entries = Vec::new();
        if first < memory_first {
            self.read_disk(first, memory_first, &mut bytes, &mut entries)?;
        }
        for recent in recent {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(recent.bytes);
            entries.push(recent.entry);
        }
        Ok(entries)
    }

    fn read_disk(&self, first: u64, end: u64, bytes: &mut usize, entries: &mut Vec<RaftEntry>) -> io::Result<()> {
        let mut sealed: Vec<u8> = Vec::new();
        let mut rows = self.disk.scan(&key::log(self.partition, first, 0), &key::log(self.partition, end, 0));
        while *bytes > 0
            && let Some(row) = rows.next()
        {
            sealed.extend_from_slice(&row?.1);
            let len = envelope::sealed_len(&sealed).map_err(|e| self.damaged(&e))?;
            if sealed.len() >= len {
                entries.push(open_entry(&sealed).map_err(|e| self.damaged(&e))?);
                *bytes = bytes.saturating_sub(sealed.len());
                sealed.clear();
            }
        }
        Ok(())
    }

    fn damaged(&self, why: &dyn std::fmt::Display) -> io::Error {
        let text = format!("an entry of the log of partition {} is damaged: {why}", self.partition);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// Opens and decodes an entry.
///
/// # Errors
/// With the reason, when it is not one.
pub(crate) fn open_entry(sealed: &[u8]) -> Result<RaftEntry, String> {
    let payload = envelope::open(Kind::LogEntry, sealed).map_err(|e| e.to_string())?;
    wire::decode_entry(payload).map_err(|e| e.to_string())
}

/// What openraft writes a group's log with.
#[derive(Clone)]
pub(crate) struct LogStore {
    pub(super) cell: Arc<LogCell>,
    writer: Arc<Writer>,
    _tether: Tether,
}

impl LogStore {
    /// Writes the log of `cell` with `writer`.
    #[must_use]
    pub(crate) fn new(cell: Arc<LogCell>, writer: Arc<Writer>, tether: Tether) -> Self {
        Self { cell, writer, _tether: tether }
    }

    /// Up to where entries are on disk.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn durable(&self) -> u64 {
        self.cell.ends.lock().durable
    }

    async fn durably(&self, work: impl FnOnce(Done) -> LogWork) -> io::Result<()> {
        let (done, wait) = promise();
        self.writer.queue().log(work(done));
        wait.await.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the writer has ended"))
    }
}

/// What openraft reads a group's log with.
#[derive(Clone)]
pub(crate) struct LogReader(Arc<LogCell>);

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => Some(*last),
            Bound::Excluded(after) => after.checked_sub(1),
            Bound::Unbounded => Some(u64::MAX),
        };
        last.map_or_else(|| Ok(Vec::new()), |last| self.0.read(first, last, usize::MAX))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.ends.lock().vote.map(Into::into))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        end.checked_sub(1).map_or_else(|| Ok(Vec::new()), |last| self.0.read(start, last, LOG_READ_MAX_BYTES))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let ends = self.cell.ends.lock();
        Ok(LogState { last_purged_log_id: ends.purged.map(Into::into), last_log_id: ends.last.map(Into::into) })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(Arc::clone(&self.cell))
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = StoredVote::from(*vote);
        self.durably(|done| LogWork::Vote(self.cell.partition, vote, done)).await?;
        self.cell.ends.lock().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed.map(StoredLogId::from) {
            self.cell.ends.lock().committed = Some(committed);
            self.writer.queue().committed(self.cell.partition, committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.cell.ends.lock().committed.map(Into::into))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let seal = |entry: RaftEntry| {
            let sealed = envelope::seal(Kind::LogEntry, &wire::encode_entry(&entry));
            (SealedEntry { id: entry.log_id.into(), sealed }, entry)
        };
        let entries: Vec<(SealedEntry, RaftEntry)> = entries.into_iter().map(seal).collect();
        let bytes = entries.iter().map(|(sealed, _)| sealed.sealed.len()).sum();
        let room = self.writer.append_room(bytes).await;
        let mut sealed = Vec::with_capacity(entries.len());
        {
            let mut ends = self.cell.ends.lock();
            ends.grown_bytes += bytes as u64;
            ends.grown_entries += entries.len() as u64;
            for (stored, entry) in entries {
                ends.last = Some(stored.id);
                ends.recent.insert(stored.id.index, Recent { entry, bytes: stored.sealed.len() });
                sealed.push(stored);
            }
        }
        let (cell, last) = (Arc::clone(&self.cell), sealed.last().map_or(0, |entry| entry.id.index));
        let done = Box::new(move || {
            cell.durable(last);
            callback.io_completed(Ok(()));
        });
        let partition = self.cell.partition;
        self.writer.queue().log(LogWork::Append { partition, entries: sealed, room, done });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let after = last.map(StoredLogId::from);
        {
            let mut ends = self.cell.ends.lock();
            let first = after.map_or(0, |id| id.index + 1);
            if ends.last.is_none_or(|end| end.index < first) {
                return Ok(());
            }
            ends.recent.split_off(&first);
            ends.last = after.max(ends.purged);
            ends.durable = ends.durable.min(first.saturating_sub(1));
        }
        self.durably(|done| LogWork::Truncate(self.cell.partition, after, done)).await?;
        // Appends that were under way meanwhile said that they are durable: what replaces them is not.
        let mut ends = self.cell.ends.lock();
        ends.durable = ends.durable.min(after.map_or(0, |id| id.index));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let upto = StoredLogId::from(upto);
        {
            let mut ends = self.cell.ends.lock();
            ends.purged = ends.purged.max(Some(upto));
            ends.last = ends.last.max(ends.purged);
            let kept = ends.recent.split_off(&(upto.index + 1));
            ends.recent = kept;
        }
        self.cell.erasure.lock().purged(upto.index);
        self.writer.queue().log(LogWork::Purge(self.cell.partition, upto));
        Ok(())
    }
}
