//! What the writer does in a round: the work of all groups becomes one batch, which is made durable.
//!
//! Promises that a round is answered only after it was synced and its number given to the watermark.

use super::{
    disk::{Batch, Disk, remove},
    key,
    ledger::Described,
    round_clock::RoundClock,
    watermark::Marker,
    work::{BulkWork, Done, LogWork, Queue, SealedEntry, StateWork, Taken},
    writer::Position,
};
use crate::{
    limits::VALUE_MAX_BYTES,
    planted::{self, Fault},
    raft::wire::StoredLogId,
};
use rollcall_presence::PartitionId;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::Arc,
};
use tokio::sync::OwnedSemaphorePermit;

/// What the thread owns.
pub(super) struct Rounds {
    disk: Arc<dyn Disk>,
    marker: Marker,
    position: Position,
    /// Up to where logs are to be given up.
    purges: BTreeMap<PartitionId, StoredLogId>,
    /// What is being removed; one range an installed snapshot.
    sweeps: VecDeque<(Vec<u8>, Vec<u8>, Done)>,
}

/// A round in the making.
#[derive(Default)]
pub(super) struct Round {
    batch: Batch,
    touched: BTreeSet<PartitionId>,
    done: Vec<Done>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Round {
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(super) fn answer(self) {
        drop(self.room);
        for done in self.done {
            done();
        }
    }
}

impl Rounds {
    pub(super) fn new(disk: Arc<dyn Disk>, marker: Marker, position: Position) -> Self {
        Self { disk, marker, position, purges: BTreeMap::new(), sweeps: VecDeque::new() }
    }

    pub(super) fn run(&mut self, queue: &Queue, clock: &RoundClock) -> io::Result<()> {
        while let Some(taken) = queue.take(self.has_bulk()) {
            clock.begin();
            let mut round = self.gather(taken)?;
            self.write(&mut round)?;
            clock.end();
            round.answer();
        }
        Ok(())
    }

    pub(super) fn has_bulk(&self) -> bool {
        !self.sweeps.is_empty() || self.purges.iter().any(|(p, upto)| self.may_purge(*p, *upto))
    }

    fn may_purge(&self, partition: PartitionId, upto: StoredLogId) -> bool {
        self.position.applied.get(&partition).is_some_and(|applied| applied.index >= upto.index)
    }

    /// One round's batch; it is empty when there is nothing to write.
    pub(super) fn gather(&mut self, taken: Taken) -> io::Result<Round> {
        let mut round = Round::default();
        for work in taken.log {
            self.log(&mut round, work)?;
        }
        for (partition, committed) in taken.committed {
            let log = self.position.logs.entry(partition).or_default();
            // What is not on this disk yet cannot be applied from it at the next start.
            if log.last.is_some_and(|last| committed.index <= last.index) && log.committed < Some(committed) {
                log.committed = Some(committed);
                round.touched.insert(partition);
            }
        }
        // A purge must not overtake the rows it relies on: it looks at what earlier rounds made durable.
        self.bulk(&mut round, taken.bulk)?;
        for work in taken.state {
            self.state(&mut round, work);
        }
        for partition in std::mem::take(&mut round.touched) {
            let sealed = self.position.logs.entry(partition).or_default().sealed();
            self.describe(&mut round.batch, key::log_ledger(partition), sealed);
        }
        if !round.batch.is_empty() {
            self.position.round.number += 1;
            round.batch.set(key::ROUND.to_vec(), Some(self.position.round.sealed()));
        }
        Ok(round)
    }

    fn write(&self, round: &mut Round) -> io::Result<()> {
        if round.batch.is_empty() {
            return Ok(());
        }
        self.apply(round)?;
        self.make_durable()?;
        self.mark()
    }

    pub(super) fn apply(&self, round: &mut Round) -> io::Result<()> {
        self.disk.apply(std::mem::take(&mut round.batch))
    }

    pub(super) fn mark(&self) -> io::Result<()> {
        self.marker.raise(self.position.round.number)
    }

    pub(super) fn make_durable(&self) -> io::Result<()> {
        self.disk.flush()?;
        if planted::is(Fault::NoSyncData) {
            return Ok(());
        }
        self.disk.sync()
    }

    fn describe(&mut self, batch: &mut Batch, key: Vec<u8>, sealed: Vec<u8>) {
        let digest = &mut self.position.round.digest;
        digest.add(&key, &sealed);
        if let Some(old) = self.position.described.insert(key.clone(), sealed.clone()) {
            digest.take(&key, &old);
        }
        batch.set(key, Some(sealed));
    }

    fn log(&mut self, round: &mut Round, work: LogWork) -> io::Result<()> {
        let done = match work {
            LogWork::Vote(partition, vote, done) => {
                self.position.logs.entry(partition).or_default().vote = Some(vote);
                round.touched.insert(partition);
                done
            }
            LogWork::Append { partition, entries, room, done } => {
                self.append(round, partition, entries);
                round.room.extend(room);
                done
            }
            LogWork::Truncate(partition, after, done) => {
                self.truncate(round, partition, after)?;
                done
            }
            LogWork::Purge(partition, upto) => {
                self.give_up(round, partition, upto);
                return Ok(());
            }
            LogWork::Forget(partition, done) => {
                self.forget(round, partition);
                done
            }
            LogWork::Describe(key, sealed, done) => {
                self.describe(&mut round.batch, key, sealed);
                done
            }
        };
        round.done.push(done);
        Ok(())
    }

    /// From this round on nothing says that there is a replica; rows that are left are nobody's.
    fn forget(&mut self, round: &mut Round, partition: PartitionId) {
        self.position.logs.remove(&partition);
        self.position.applied.remove(&partition);
        self.purges.remove(&partition);
        round.touched.remove(&partition);
        for key in [key::log_ledger(partition), key::state_header(partition)] {
            if let Some(old) = self.position.described.remove(&key) {
                self.position.round.digest.take(&key, &old);
                round.batch.set(key, None);
            }
        }
    }

    fn append(&mut self, round: &mut Round, partition: PartitionId, entries: Vec<SealedEntry>) {
        let log = self.position.logs.entry(partition).or_default();
        for entry in entries {
            for (piece, value) in (0..).zip(entry.sealed.chunks(VALUE_MAX_BYTES)) {
                let key = key::log(partition, entry.id.index, piece);
                log.digest.add(&key, value);
                round.batch.set(key, Some(value.to_vec()));
            }
            log.last = Some(entry.id);
        }
        round.touched.insert(partition);
    }

    fn truncate(&mut self, round: &mut Round, partition: PartitionId, after: Option<StoredLogId>) -> io::Result<()> {
        let log = self.position.logs.entry(partition).or_default();
        let first = after.map_or(0, |id| id.index + 1);
        for row in self.disk.scan(&key::log(partition, first, 0), &key::log(partition, u64::MAX, u16::MAX)) {
            let (key, value) = row?;
            log.digest.take(&key, &value);
            round.batch.set(key.to_vec(), None);
        }
        // Nothing is put after an end that was further back already.
        log.last = log.last.min(after.max(log.purged));
        round.touched.insert(partition);
        Ok(())
    }

    /// Entries up to `upto` count no more as soon as the state is durable that far; their rows are removed bit by bit.
    fn give_up(&mut self, round: &mut Round, partition: PartitionId, upto: StoredLogId) {
        let target = self.purges.entry(partition).or_insert(upto);
        *target = (*target).max(upto);
        if self.may_purge(partition, upto) {
            let log = self.position.logs.entry(partition).or_default();
            log.purged = log.purged.max(Some(upto));
            log.last = log.last.max(log.purged);
            round.touched.insert(partition);
        }
    }

    fn state(&mut self, round: &mut Round, work: StateWork) {
        for (key, value) in work.rows {
            round.batch.set(key, value);
        }
        self.describe(&mut round.batch, key::state_header(work.partition), work.header);
        if let Some(applied) = work.applied {
            self.position.applied.insert(work.partition, applied);
        }
        round.room.extend(work.room);
        round.done.push(work.done);
    }

    fn bulk(&mut self, round: &mut Round, work: Option<BulkWork>) -> io::Result<()> {
        match work {
            Some(BulkWork::Rows(rows, done)) => {
                for (key, value) in rows {
                    round.batch.set(key, value);
                }
                round.done.push(done);
                return Ok(());
            }
            Some(BulkWork::Sweep(from, to, done)) => self.sweeps.push_back((from, to, done)),
            None => {}
        }
        let next = self.purges.iter().find(|(p, upto)| self.may_purge(**p, **upto)).map(|(p, upto)| (*p, *upto));
        match next {
            Some((partition, upto)) => self.purge(round, partition, upto),
            None => self.sweep(round),
        }
    }

    /// Removes what fits into a round's bulk, and goes on in the next.
    fn purge(&mut self, round: &mut Round, partition: PartitionId, upto: StoredLogId) -> io::Result<()> {
        let log = self.position.logs.entry(partition).or_default();
        log.purged = log.purged.max(Some(upto));
        log.last = log.last.max(log.purged);
        let (from, to) = (key::log(partition, log.first, 0), key::log(partition, upto.index + 1, 0));
        let mut digest = log.digest;
        let next = remove(&*self.disk, &mut round.batch, &from, &to, |key, value| digest.take(key, value))?;
        log.digest = digest;
        match next.as_deref().and_then(key::log_index) {
            Some(index) => log.first = index,
            None => {
                log.first = upto.index + 1;
                self.purges.remove(&partition);
            }
        }
        round.touched.insert(partition);
        Ok(())
    }

    fn sweep(&mut self, round: &mut Round) -> io::Result<()> {
        if let Some((from, to, done)) = self.sweeps.pop_front() {
            match remove(&*self.disk, &mut round.batch, &from, &to, |_, _| {})? {
                Some(next) => self.sweeps.push_front((next, to, done)),
                None => round.done.push(done),
            }
        }
        Ok(())
    }
}
