//! The one thread that writes.
//!
//! Each round: the work of all groups in one batch, with the round's number; the database is synced; the number is given to
//! the watermark; then the callers are answered. A failure is never tried again: it ends the process.

use super::{
    disk::{self, Batch, Disk, remove},
    key,
    ledger::{Described, LogLedger, RoundRow},
    watermark::{Marker, Watermark},
    work::{BulkWork, Done, LogWork, Queue, SealedEntry, StateWork, Taken},
};
use crate::{
    limits::{APPEND_QUEUE_MAX_BYTES, OVERLAY_MAX_BYTES, VALUE_MAX_BYTES},
    raft::wire::StoredLogId,
};
use parking_lot::Mutex;
use rollcall_presence::PartitionId;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Called with the reason when the process must end.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What the writer goes on from.
#[derive(Default)]
pub(crate) struct Position {
    /// The last round.
    pub round: RoundRow,
    /// The rows that describe, by key, as stored.
    pub described: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The logs, by partition.
    pub logs: BTreeMap<PartitionId, LogLedger>,
    /// How far each state is durable.
    pub applied: BTreeMap<PartitionId, StoredLogId>,
}

/// The handle to the thread.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    clock: Arc<RoundClock>,
    append_room: Arc<Semaphore>,
    overlay_room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Since when the present round runs, and how many there were.
#[derive(Debug)]
struct RoundClock {
    origin: Instant,
    /// Milliseconds since `origin` plus one; 0 between rounds.
    since_ms: AtomicU64,
    rounds: AtomicU64,
}

impl RoundClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        watermark: Watermark,
        position: Position,
        on_fatal: OnFatal,
    ) -> io::Result<Arc<Self>> {
        let marker = Marker::start(watermark, position.round.number)?;
        let queue = Arc::new(Queue::default());
        let clock =
            Arc::new(RoundClock { origin: Instant::now(), since_ms: AtomicU64::new(0), rounds: AtomicU64::new(0) });
        let mut rounds = Rounds { disk, marker, position, purges: BTreeMap::new(), sweeps: VecDeque::new() };
        let (own_queue, own_clock) = (Arc::clone(&queue), Arc::clone(&clock));
        let thread = std::thread::Builder::new().name("rollcall-writer".into()).spawn(move || {
            let ran = catch_unwind(AssertUnwindSafe(|| rounds.run(&own_queue, &own_clock)));
            if let Err(error) = ran.unwrap_or_else(|_| Err(io::Error::other("the writer panicked"))) {
                own_queue.kill();
                own_clock.since_ms.store(0, Ordering::Relaxed);
                on_fatal(&format!("{}; what was not acknowledged may be lost", disk::failure(&error)));
            }
        })?;
        Ok(Arc::new(Self {
            queue,
            clock,
            append_room: Arc::new(Semaphore::new(APPEND_QUEUE_MAX_BYTES)),
            overlay_room: Arc::new(Semaphore::new(OVERLAY_MAX_BYTES)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// The queue.
    #[must_use]
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits for room for `bytes` of appends.
    pub(crate) async fn append_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        room(&self.append_room, bytes, APPEND_QUEUE_MAX_BYTES).await
    }

    /// Waits for room for `bytes` of applied rows.
    pub(crate) async fn overlay_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        room(&self.overlay_room, bytes, OVERLAY_MAX_BYTES).await
    }

    /// How long the present round has been running, ms; 0 between rounds.
    #[must_use]
    pub(crate) fn busy_ms(&self) -> u64 {
        match self.clock.since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => self.clock.now_ms().saturating_sub(since - 1),
        }
    }

    /// How many rounds were made.
    #[must_use]
    pub(crate) fn rounds(&self) -> u64 {
        self.clock.rounds.load(Ordering::Relaxed)
    }

    /// Makes what waits durable and ends the thread. Blocks.
    pub(crate) fn stop(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            // A panic was turned into `on_fatal` already.
            let _ = thread.join();
        }
    }
}

/// More than the whole room is taken for the whole room, so that it is granted at all.
async fn room(semaphore: &Arc<Semaphore>, bytes: usize, most: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes.min(most)).unwrap_or(u32::MAX);
    Arc::clone(semaphore).acquire_many_owned(permits).await.ok()
}

/// What the thread owns.
struct Rounds {
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
struct Round {
    batch: Batch,
    touched: BTreeSet<PartitionId>,
    done: Vec<Done>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Rounds {
    fn run(&mut self, queue: &Queue, clock: &RoundClock) -> io::Result<()> {
        while let Some(taken) = queue.take(self.has_bulk()) {
            clock.since_ms.store(clock.now_ms() + 1, Ordering::Relaxed);
            let round = self.commit(taken)?;
            clock.since_ms.store(0, Ordering::Relaxed);
            clock.rounds.fetch_add(1, Ordering::Relaxed);
            drop(round.room);
            for done in round.done {
                done();
            }
        }
        Ok(())
    }

    fn has_bulk(&self) -> bool {
        !self.sweeps.is_empty() || self.purges.iter().any(|(p, upto)| self.may_purge(*p, *upto))
    }

    fn may_purge(&self, partition: PartitionId, upto: StoredLogId) -> bool {
        self.position.applied.get(&partition).is_some_and(|applied| applied.index >= upto.index)
    }

    fn commit(&mut self, taken: Taken) -> io::Result<Round> {
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
        if round.batch.is_empty() {
            return Ok(round);
        }
        self.position.round.number += 1;
        round.batch.set(key::ROUND.to_vec(), Some(self.position.round.sealed()));
        self.disk.apply(std::mem::take(&mut round.batch))?;
        self.disk.flush()?;
        self.disk.sync()?;
        self.marker.raise(self.position.round.number)?;
        Ok(round)
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
