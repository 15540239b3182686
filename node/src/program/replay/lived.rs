//! What a replay lived through: connections lost and taken up, steps repeated, and how long that took.
//!
//! Owns the counters. They are no differences: the judge alone says what is.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lived {
    away: AtomicU64,
    reconnects: AtomicU64,
    resumed: AtomicU64,
    not_resumed: AtomicU64,
    openings_repeated: AtomicU64,
    closes_repeated: AtomicU64,
    longest_away_ms: AtomicU64,
    longest_repeated_ms: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections that ended by themselves and were taken up again.
    pub(crate) reconnects: u64,
    /// Sessions that went on in another connection, as they were asked to.
    pub(crate) resumed: u64,
    /// Sessions that had ended before another connection could take them over.
    pub(crate) not_resumed: u64,
    pub(crate) openings_repeated: u64,
    pub(crate) closes_repeated: u64,
    /// The longest time without a connection.
    pub(crate) longest_away_ms: u64,
    /// The longest time until a step that had to be repeated was acknowledged.
    pub(crate) longest_repeated_ms: u64,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Lived {
    /// A connection ended by itself.
    pub(crate) fn lost(&self) {
        self.away.fetch_add(1, Relaxed);
    }

    /// Its user is connected again after `time`, or has given up.
    pub(crate) fn found(&self, time: Duration, connected: bool) {
        self.away.fetch_sub(1, Relaxed);
        self.reconnects.fetch_add(u64::from(connected), Relaxed);
        self.longest_away_ms.fetch_max(ms(time), Relaxed);
    }

    /// How many users are without a connection that they should have.
    pub(crate) fn away(&self) -> u64 {
        self.away.load(Relaxed)
    }

    /// A session was asked for with a token of an earlier connection.
    pub(crate) fn took_up(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.not_resumed };
        counter.fetch_add(1, Relaxed);
    }

    /// An opening took `time`, with repeats.
    pub(crate) fn opening_repeated(&self, time: Duration) {
        self.openings_repeated.fetch_add(1, Relaxed);
        self.longest_repeated_ms.fetch_max(ms(time), Relaxed);
    }

    /// A close took `time`, with repeats.
    pub(crate) fn close_repeated(&self, time: Duration) {
        self.closes_repeated.fetch_add(1, Relaxed);
        self.longest_repeated_ms.fetch_max(ms(time), Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            reconnects: self.reconnects.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            not_resumed: self.not_resumed.load(Relaxed),
            openings_repeated: self.openings_repeated.load(Relaxed),
            closes_repeated: self.closes_repeated.load(Relaxed),
            longest_away_ms: self.longest_away_ms.load(Relaxed),
            longest_repeated_ms: self.longest_repeated_ms.load(Relaxed),
        }
    }
}
