//! Since when the writer's present round runs, and how many rounds there were.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Written by the writer, read by whoever watches it.
#[derive(Debug)]
pub(super) struct RoundClock {
    origin: Instant,
    /// Milliseconds since `origin` plus one; 0 between rounds.
    since_ms: AtomicU64,
    rounds: AtomicU64,
}

impl RoundClock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), since_ms: AtomicU64::new(0), rounds: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A round begins.
    pub(super) fn begin(&self) {
        self.since_ms.store(self.now_ms() + 1, Ordering::Relaxed);
    }

    /// A round has ended well.
    pub(super) fn end(&self) {
        self.rest();
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// No round runs.
    pub(super) fn rest(&self) {
        self.since_ms.store(0, Ordering::Relaxed);
    }

    /// How long the present round has been running, ms; 0 between rounds.
    pub(super) fn busy_ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => self.now_ms().saturating_sub(since - 1),
        }
    }

    /// How many rounds were made.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}
