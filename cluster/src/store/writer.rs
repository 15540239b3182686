//! The one thread that writes; or one task, where the disk never blocks.
//!
//! Each round: the work of all groups in one batch, with the round's number; the database is synced; the number is given to
//! the watermark; then the callers are answered. A failure is never tried again: it ends the process.

use super::{
    disk::{self, Disk},
    ledger::{LogLedger, RoundRow},
    round_clock::RoundClock,
    rounds::Rounds,
    watermark::{Marker, Watermark},
    work::Queue,
};
use crate::{
    limits::{APPEND_QUEUE_MAX_BYTES, OVERLAY_MAX_BYTES},
    options::Pace,
    raft::wire::StoredLogId,
};
use parking_lot::Mutex;
use rollcall_presence::PartitionId;
use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    /// Of a writer that is a task: whether it has ended.
    ended: Option<watch::Receiver<bool>>,
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
        let writer = Self::idle();
        let mut rounds = Rounds::new(disk, marker, position);
        let (own_queue, own_clock) = (Arc::clone(&writer.queue), Arc::clone(&writer.clock));
        let thread = std::thread::Builder::new().name("rollcall-writer".into()).spawn(move || {
            let ran = catch_unwind(AssertUnwindSafe(|| rounds.run(&own_queue, &own_clock)));
            if let Err(error) = ran.unwrap_or_else(|_| Err(io::Error::other("the writer panicked"))) {
                own_queue.kill();
                own_clock.rest();
                on_fatal(&format!("{}; what was not acknowledged may be lost", disk::failure(&error)));
            }
        })?;
        *writer.thread.lock() = Some(thread);
        Ok(Arc::new(writer))
    }

    /// Starts a writer that is a task of the runtime, at `pace`.
    pub(crate) fn start_paced(
        disk: Arc<dyn Disk>,
        watermark: Watermark,
        position: Position,
        on_fatal: OnFatal,
        pace: Pace,
    ) -> Arc<Self> {
        let marker = Marker::here(watermark);
        let (ended, ends) = watch::channel(false);
        let writer = Self { ended: Some(ends), ..Self::idle() };
        let mut rounds = Rounds::new(disk, marker, position);
        let (queue, clock) = (Arc::clone(&writer.queue), Arc::clone(&writer.clock));
        tokio::spawn(async move {
            if let Err(error) = rounds.run_paced(&queue, &clock, &pace).await {
                queue.kill();
                clock.rest();
                on_fatal(&format!("{}; what was not acknowledged may be lost", disk::failure(&error)));
            }
            drop(rounds);
            ended.send_replace(true);
        });
        Arc::new(writer)
    }

    /// One whose work nobody does yet.
    fn idle() -> Self {
        Self {
            queue: Arc::default(),
            clock: Arc::new(RoundClock::new()),
            append_room: Arc::new(Semaphore::new(APPEND_QUEUE_MAX_BYTES)),
            overlay_room: Arc::new(Semaphore::new(OVERLAY_MAX_BYTES)),
            thread: Mutex::new(None),
            ended: None,
        }
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
        self.clock.busy_ms()
    }

    /// How many rounds were made.
    #[must_use]
    pub(crate) fn rounds(&self) -> u64 {
        self.clock.rounds()
    }

    /// Whether this is a task of the runtime.
    #[must_use]
    pub(crate) fn is_paced(&self) -> bool {
        self.ended.is_some()
    }

    /// Makes what waits durable and ends the task.
    pub(crate) async fn end_paced(&self) {
        self.queue.close();
        if let Some(mut ended) = self.ended.clone() {
            // A sender that is gone has ended too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
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
