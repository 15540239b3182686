//! What a bench counts: acknowledgements and notifications, with their times, and what watchers hold at the end.
//!
//! Owns the counters that all people of a run share. Relies on one clock for sending and seeing: both happen in this process.
//! Promises that a change is counted once for each watcher: seen, or covered by a later one that was.

use crate::program::latency::Latency;
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// See the module.
pub(super) struct Tally {
    started: Instant,
    acknowledged: Mutex<Latency>,
    seen: Mutex<Latency>,
    covered: AtomicU64,
    refused: AtomicU64,
    /// The number of the last change acknowledged, a person.
    latest: Vec<AtomicU64>,
}

/// A change as its text carries it: the person's how many-th, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) sent_us: u64,
}

impl Mark {
    pub(super) fn text(self) -> String {
        format!("{}:{}", self.number, self.sent_us)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (number, sent_us) = text.split_once(':')?;
        Some(Self { number: number.parse().ok()?, sent_us: sent_us.parse().ok()? })
    }
}

impl Tally {
    pub(super) fn new(people: usize) -> Self {
        Self {
            started: Instant::now(),
            acknowledged: Mutex::default(),
            seen: Mutex::default(),
            covered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            latest: (0..people).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A change of `person` was acknowledged.
    pub(super) fn acknowledge(&self, person: usize, mark: Mark) {
        self.acknowledged.lock().record(self.now_us().saturating_sub(mark.sent_us));
        self.latest[person].store(mark.number, Ordering::Relaxed);
    }

    /// A change was refused: it counts for nothing else.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A watcher that held the change of number `held` sees `mark`.
    pub(super) fn see(&self, held: u64, mark: Mark) {
        self.seen.lock().record(self.now_us().saturating_sub(mark.sent_us));
        self.covered.fetch_add(mark.number.saturating_sub(held + 1), Ordering::Relaxed);
    }

    pub(super) fn latest(&self, person: usize) -> u64 {
        self.latest[person].load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn covered(&self) -> u64 {
        self.covered.load(Ordering::Relaxed)
    }

    /// What `read` makes of the times of acknowledgements and of notifications.
    pub(super) fn times<T>(&self, read: impl Fn(&Latency) -> T) -> [T; 2] {
        [read(&self.acknowledged.lock()), read(&self.seen.lock())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        let mark = Mark { number: 7, sent_us: 123 };
        assert_eq!(Mark::read(&mark.text()), Some(mark));
        for other in ["", "7", "7:", "a:1", "in a call: back at 5"] {
            assert_eq!(Mark::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_later_change_covers_is_counted_once() {
        let tally = Tally::new(1);
        tally.see(0, Mark { number: 1, sent_us: 0 });
        tally.see(1, Mark { number: 4, sent_us: 0 });
        assert_eq!((tally.covered(), tally.times(Latency::count)[1]), (2, 2));
    }
}
