//! Admission at connect: how many connections are opened at once, and when those that are refused come back.
//!
//! The queue is virtual: a refused client holds nothing here, it is only told when its turn is. Turns follow each other at the
//! measured pace of openings, so that a herd comes back in the order in which it was refused. [`Queue`] is pure, time comes in.

use parking_lot::Mutex;
use rollcall_api::service::ServiceError;
use std::time::Instant;

/// The soonest that a refused client may come back, ms: by then openings that are under way have ended.
const SOONEST_MS: u64 = 500;
/// The latest, ms: more clients than come back within it share its end, and are refused again in turn.
const LATEST_MS: u64 = 60_000;
/// What the pace is taken for before anything was measured, openings a second.
const FIRST_PACE_PER_S: u64 = 1_000;
/// The slowest pace that is believed, openings a second: a stall must not send everybody away for a minute.
const SLOWEST_PER_S: u64 = 50;
/// How long openings are counted before the pace is taken from them, ms.
const COUNTED_MS: u64 = 250;

/// Turns of clients that come back, from the pace of openings. Times are ms of any clock that does not fall.
#[derive(Debug)]
pub struct Queue {
    max: u32,
    in_flight: u32,
    pace_per_s: u64,
    counted_from_ms: u64,
    counted: u64,
    /// When the last turn given is, in µs: turns are closer to each other than 1 ms.
    last_turn_us: u64,
}

impl Queue {
    /// A queue for `max` openings at once.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max, in_flight: 0, pace_per_s: FIRST_PACE_PER_S, counted_from_ms: 0, counted: 0, last_turn_us: 0 }
    }

    /// Begins an opening.
    ///
    /// # Errors
    /// When the client's turn is, in ms from `now_ms`.
    pub fn enter(&mut self, now_ms: u64) -> Result<(), u64> {
        if self.in_flight >= self.max {
            return Err(self.turn(now_ms));
        }
        if self.in_flight == 0 {
            // Nothing was under way: the time before says nothing about the pace.
            (self.counted_from_ms, self.counted) = (now_ms, 0);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// An opening has ended, well or not.
    pub fn leave(&mut self, now_ms: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.counted += 1;
        let took_ms = now_ms.saturating_sub(self.counted_from_ms);
        if took_ms >= COUNTED_MS {
            let measured = (self.counted * 1_000 / took_ms).max(SLOWEST_PER_S);
            self.pace_per_s = (self.pace_per_s + measured) / 2;
            (self.counted_from_ms, self.counted) = (now_ms, 0);
        }
    }

    /// The next turn, ms from now.
    fn turn(&mut self, now_ms: u64) -> u64 {
        let (now_us, apart_us) = (now_ms * 1_000, 1_000_000 / self.pace_per_s.max(1));
        let soonest_us = now_us + SOONEST_MS * 1_000;
        let latest_us = now_us + LATEST_MS * 1_000;
        self.last_turn_us = (self.last_turn_us + apart_us).clamp(soonest_us, latest_us);
        (self.last_turn_us - now_us).div_ceil(1_000)
    }
}

/// The openings of a node.
#[derive(Debug)]
pub struct Openings {
    queue: Mutex<Queue>,
    started: Instant,
}

impl Openings {
    /// At most `max` at once.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { queue: Mutex::new(Queue::new(max)), started: Instant::now() }
    }

    /// Begins an opening, which ends when what is returned is dropped.
    ///
    /// # Errors
    /// `Unavailable` with the time of the client's turn.
    pub fn begin(&self) -> Result<Opening<'_>, ServiceError> {
        match self.queue.lock().enter(self.now_ms()) {
            Ok(()) => Ok(Opening(self)),
            Err(after_ms) => {
                let why = "too many connections are being opened; come back when it is your turn";
                Err(ServiceError::Unavailable { why, after_ms })
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A connection that is being opened.
#[derive(Debug)]
pub struct Opening<'a>(&'a Openings);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().leave(self.0.now_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_herd_comes_back_one_after_another_in_the_order_it_was_refused() {
        let mut queue = Queue::new(10);
        assert!((0..10).all(|_| queue.enter(0).is_ok()));
        let turns: Vec<u64> = (0..10_000).map(|_| queue.enter(0).unwrap_err()).collect();
        assert!(turns.is_sorted());
        assert_eq!(turns[0], SOONEST_MS);
        // At the first pace of 1,000 a second.
        assert_eq!(turns[9_999], SOONEST_MS + 9_999);
    }

    #[test]
    fn turns_follow_the_measured_pace() {
        let mut busy = Queue::new(2);
        busy.enter(0).unwrap();
        for n in 0..1_000u64 {
            busy.enter(n * 10).unwrap();
            busy.leave(n * 10 + 10);
        }
        busy.enter(10_000).unwrap();
        let first = busy.enter(10_000).unwrap_err();
        let later = (0..100).map(|_| busy.enter(10_000).unwrap_err()).last().unwrap();
        // 100 openings a second: a hundred turns take a second.
        assert!((900..=1_100).contains(&(later - first)), "{first} to {later}");
    }

    #[test]
    fn nobody_is_told_to_wait_for_more_than_a_minute_and_turns_that_passed_are_forgotten() {
        let mut queue = Queue::new(1);
        queue.enter(0).unwrap();
        let last = (0..200_000).map(|_| queue.enter(0).unwrap_err()).last().unwrap();
        assert_eq!(last, LATEST_MS);
        assert_eq!(queue.enter(LATEST_MS).unwrap_err(), SOONEST_MS);
        queue.leave(LATEST_MS);
        assert!(queue.enter(LATEST_MS).is_ok());
    }
}
