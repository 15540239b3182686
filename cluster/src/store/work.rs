//! What the writer is asked to do, and the queue that it waits in.
//!
//! Promises: work on one group's log keeps its order; votes go first where that order allows; a round takes no more than
//! its bounds; applied rows wait for an append to take them along, but not longer than [`LAZY_MAX_MS`].

use crate::{
    limits::{LAZY_MAX_BYTES, LAZY_MAX_MS, ROUND_APPEND_MAX_BYTES, ROUND_STATE_MAX_BYTES},
    raft::wire::{StoredLogId, StoredVote},
};
use parking_lot::{Condvar, Mutex};
use rollcall_presence::PartitionId;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    time::Instant,
};

/// Called once the work is durable; dropped without a call when the writer ended before.
pub(crate) type Done = Box<dyn FnOnce() + Send>;

/// A [`Done`], and what to wait on for it.
pub(crate) fn promise() -> (Done, oneshot::Receiver<()>) {
    let (done, wait) = oneshot::channel();
    // Whoever no longer waits has lost nothing by it.
    let done = move || {
        let _ = done.send(());
    };
    (Box::new(done), wait)
}

/// A row to set, or to remove.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// An entry in its stored form.
#[derive(Debug, Clone)]
pub(crate) struct SealedEntry {
    /// Its place.
    pub id: StoredLogId,
    /// Its envelope.
    pub sealed: Vec<u8>,
}

/// Work on a group's log, or on who the node is.
pub(crate) enum LogWork {
    /// Remember a vote.
    Vote(PartitionId, StoredVote, Done),
    /// Append entries.
    Append {
        /// To whose log.
        partition: PartitionId,
        /// What.
        entries: Vec<SealedEntry>,
        /// Room in the queue.
        room: Option<OwnedSemaphorePermit>,
        /// When durable.
        done: Done,
    },
    /// Forget the entries after this one, or all.
    Truncate(PartitionId, Option<StoredLogId>, Done),
    /// Give up the entries up to this one, once the state is durable that far. In order with the appends: after a snapshot
    /// was installed, the next entry comes after a gap that only this explains. The rows go with the bulk.
    Purge(PartitionId, StoredLogId),
    /// Keep no replica any more: its rows are nobody's from here on, and removed by whoever asked.
    Forget(PartitionId, Done),
    /// Set a row that describes.
    Describe(Vec<u8>, Vec<u8>, Done),
}

impl LogWork {
    fn partition(&self) -> Option<PartitionId> {
        match self {
            Self::Vote(p, ..)
            | Self::Append { partition: p, .. }
            | Self::Truncate(p, ..)
            | Self::Purge(p, _)
            | Self::Forget(p, _) => Some(*p),
            Self::Describe(..) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|e| e.sealed.len()).sum(),
            _ => 0,
        }
    }
}

/// Rows that an entry changed, with the header that says so; they become visible on disk together.
pub(crate) struct StateWork {
    /// Whose state.
    pub partition: PartitionId,
    /// The rows.
    pub rows: Vec<Change>,
    /// The header, sealed.
    pub header: Vec<u8>,
    /// The last entry applied with it.
    pub applied: Option<StoredLogId>,
    /// Bytes of the rows.
    pub bytes: usize,
    /// Room in the overlay.
    pub room: Option<OwnedSemaphorePermit>,
    /// When durable.
    pub done: Done,
}

/// Work that may take its time.
pub(crate) enum BulkWork {
    /// Rows of a snapshot that is being installed; a chunk is at most half of a round's bulk.
    Rows(Vec<Change>, Done),
    /// Remove every row of `from..to`.
    Sweep(Vec<u8>, Vec<u8>, Done),
}

/// One round's work.
#[derive(Default)]
pub(crate) struct Taken {
    /// On logs.
    pub log: Vec<LogWork>,
    /// What is committed.
    pub committed: BTreeMap<PartitionId, StoredLogId>,
    /// On states.
    pub state: Vec<StateWork>,
    /// One piece of bulk work.
    pub bulk: Option<BulkWork>,
}

#[derive(Default)]
struct Waiting {
    log: VecDeque<LogWork>,
    committed: BTreeMap<PartitionId, StoredLogId>,
    state: VecDeque<StateWork>,
    state_bytes: usize,
    state_since: Option<Instant>,
    state_wanted: bool,
    bulk: VecDeque<BulkWork>,
    closing: bool,
    dead: bool,
}

/// The queue to the writer.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    wake_task: Notify,
    died: tokio::sync::watch::Sender<bool>,
}

impl Queue {
    fn put(&self, put: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        if !waiting.dead {
            put(&mut waiting);
            self.wake.notify_one();
            self.wake_task.notify_one();
        }
    }

    /// Adds work on a log.
    pub(crate) fn log(&self, work: LogWork) {
        self.put(|w| w.log.push_back(work));
    }

    /// Adds the end of a replica that nobody uses any more: what its state still waited for is not written.
    pub(crate) fn forget(&self, partition: PartitionId, done: Done) {
        self.put(|w| {
            w.committed.remove(&partition);
            w.state.retain(|work| work.partition != partition);
            w.state_bytes = w.state.iter().map(|work| work.bytes).sum();
            if w.state.is_empty() {
                (w.state_since, w.state_wanted) = (None, false);
            }
            w.log.push_back(LogWork::Forget(partition, done));
        });
    }

    /// Adds applied rows.
    pub(crate) fn state(&self, work: StateWork) {
        self.put(|w| {
            w.state_bytes += work.bytes;
            w.state_since.get_or_insert_with(Instant::now);
            w.state.push_back(work);
        });
    }

    /// Asks for applied rows to be made durable now.
    pub(crate) fn want_state(&self) {
        self.put(|w| w.state_wanted = !w.state.is_empty());
    }

    /// Adds bulk work.
    pub(crate) fn bulk(&self, work: BulkWork) {
        self.put(|w| w.bulk.push_back(work));
    }

    /// Notes what is committed. It goes along with the next round, and starts none.
    pub(crate) fn committed(&self, partition: PartitionId, committed: StoredLogId) {
        self.waiting.lock().committed.insert(partition, committed);
    }

    /// Takes no more than what waits, and then ends.
    pub(crate) fn close(&self) {
        self.put(|w| w.closing = true);
    }

    /// Drops what waits, and whatever comes: the writer is gone.
    pub(crate) fn kill(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting { dead: true, ..Waiting::default() };
        self.died.send_replace(true);
    }

    /// Whether the writer is gone before its time.
    #[must_use]
    pub(crate) fn is_dead(&self) -> bool {
        self.waiting.lock().dead
    }

    /// Returns when the writer is gone before its time, for those who wait for what it would have done.
    pub(crate) async fn died(&self) {
        // The sender lives as long as this queue, so that waiting cannot fail.
        let _ = self.died.subscribe().wait_for(|died| *died).await;
    }

    /// Waits for a round's work; `None` once closed and empty. With `at_once`, an empty round is returned rather than
    /// waiting. Blocks.
    pub(crate) fn take(&self, at_once: bool) -> Option<Taken> {
        let mut waiting = self.waiting.lock();
        while let Some(patience) = waiting.patience(at_once) {
            match patience {
                Patience::Left(left) => drop(self.wake.wait_for(&mut waiting, left)),
                Patience::Endless => self.wake.wait(&mut waiting),
            }
        }
        waiting.next()
    }

    /// The same, for a writer that is a task of the runtime.
    pub(crate) async fn next(&self, at_once: bool) -> Option<Taken> {
        loop {
            let patience = {
                let mut waiting = self.waiting.lock();
                match waiting.patience(at_once) {
                    None => return waiting.next(),
                    Some(patience) => patience,
                }
            };
            match patience {
                Patience::Left(left) => drop(tokio::time::timeout(left, self.wake_task.notified()).await),
                Patience::Endless => self.wake_task.notified().await,
            }
        }
    }
}

/// How long work may be waited for that is worth a round.
enum Patience {
    Left(Duration),
    Endless,
}

impl Waiting {
    /// `None` when a round is due.
    fn patience(&self, at_once: bool) -> Option<Patience> {
        let lazy = self.state_since.map(|since| Duration::from_millis(LAZY_MAX_MS).saturating_sub(since.elapsed()));
        let now = at_once
            || self.closing
            || self.state_wanted
            || !self.log.is_empty()
            || !self.bulk.is_empty()
            || self.state_bytes >= LAZY_MAX_BYTES
            || lazy.is_some_and(|left| left.is_zero());
        (!now).then(|| lazy.map_or(Patience::Endless, Patience::Left))
    }

    fn next(&mut self) -> Option<Taken> {
        let empty = self.log.is_empty() && self.state.is_empty() && self.bulk.is_empty();
        (!(self.closing && empty)).then(|| self.round())
    }

    fn round(&mut self) -> Taken {
        let mut taken = Taken { committed: std::mem::take(&mut self.committed), ..Taken::default() };
        self.take_log(&mut taken.log);
        let mut bytes = 0;
        while bytes < ROUND_STATE_MAX_BYTES
            && let Some(work) = self.state.pop_front()
        {
            bytes += work.bytes;
            self.state_bytes -= work.bytes;
            taken.state.push(work);
        }
        if self.state.is_empty() {
            self.state_since = None;
            self.state_wanted = false;
        }
        taken.bulk = self.bulk.pop_front();
        taken
    }

    fn take_log(&mut self, taken: &mut Vec<LogWork>) {
        let mut bytes = 0;
        let mut appended = BTreeSet::new();
        while bytes < ROUND_APPEND_MAX_BYTES {
            // What a truncation removes must be on disk by then: it waits for a round of its own.
            match self.log.front() {
                Some(LogWork::Truncate(partition, ..)) if appended.contains(partition) => break,
                Some(LogWork::Append { partition, .. }) => {
                    appended.insert(*partition);
                }
                Some(_) => {}
                None => break,
            }
            if let Some(work) = self.log.pop_front() {
                bytes += work.bytes();
                taken.push(work);
            }
        }
        // Votes decide elections: they overtake the appends of other groups, never their own group's.
        let mut held = BTreeSet::new();
        let mut rest = VecDeque::with_capacity(self.log.len());
        for work in self.log.drain(..) {
            let free = work.partition().is_none_or(|p| !held.contains(&p));
            if free && matches!(work, LogWork::Vote(..)) {
                taken.push(work);
            } else {
                held.extend(work.partition());
                rest.push_back(work);
            }
        }
        self.log = rest;
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
