//! Deadlines in a time of our own: it follows the monotonic clock that ticks bring in, but a tick that comes late (a paused
//! process, a starved core) does not count as silence of the clients.

use crate::limits::TICK_LATE_MAX_MS;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// Deadlines by key, at most one a key. All times are milliseconds of the caller's monotonic clock.
#[derive(Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(u64, K)>,
    by_key: BTreeMap<K, u64>,
    ticked_at: u64,
    every_ms: u64,
    shift_ms: u64,
}

impl<K: Ord + Clone> Deadlines<K> {
    /// No deadlines yet; ticks are to come every `every_ms` from `now` on.
    #[must_use]
    pub fn new(now: u64, every_ms: u64) -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new(), ticked_at: now, every_ms, shift_ms: 0 }
    }

    /// Sets the deadline of `key` to `at`, whatever it was. Costs O(log n).
    pub fn set(&mut self, key: K, at: u64) {
        self.clear(&key);
        let own = at.saturating_sub(self.shift_ms);
        self.by_time.insert((own, key.clone()));
        self.by_key.insert(key, own);
    }

    /// Forgets the deadline of `key`.
    pub fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// Whether `key` has a deadline.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Takes what is due at `now`, at most `most` keys; the rest stays due. A tick over a second late first moves every
    /// deadline by its delay.
    pub fn tick(&mut self, now: u64, most: usize) -> Vec<K> {
        let late = now.saturating_sub(self.ticked_at).saturating_sub(self.every_ms);
        if late > TICK_LATE_MAX_MS {
            self.shift_ms = self.shift_ms.saturating_add(late);
        }
        self.ticked_at = self.ticked_at.max(now);
        let own_now = now.saturating_sub(self.shift_ms);
        let mut due = Vec::new();
        while due.len() < most && self.by_time.first().is_some_and(|(at, _)| *at <= own_now) {
            if let Some((_, key)) = self.by_time.pop_first() {
                self.by_key.remove(&key);
                due.push(key);
            }
        }
        due
    }

    /// The caller's `now` in the time that deadlines are kept in: pauses do not count.
    #[must_use]
    pub fn own_time(&self, now: u64) -> u64 {
        now.saturating_sub(self.shift_ms)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_due_comes_in_order_of_time() {
        let mut deadlines = Deadlines::new(0, 100);
        deadlines.set("b", 200);
        deadlines.set("a", 150);
        deadlines.set("c", 900);
        deadlines.set("b", 120);
        assert_eq!(deadlines.tick(100, 10), Vec::<&str>::new());
        assert_eq!(deadlines.tick(200, 10), vec!["b", "a"]);
        deadlines.clear(&"c");
        assert_eq!(deadlines.tick(1_000, 10), Vec::<&str>::new());
        assert!(deadlines.is_empty());
    }

    #[test]
    fn a_late_tick_moves_every_deadline_by_its_delay() {
        let mut deadlines = Deadlines::new(0, 1_000);
        deadlines.set("a", 5_000);
        assert!(deadlines.tick(61_000, 10).is_empty(), "60 s of pause are not silence");
        deadlines.set("b", 66_500);
        for second in 62..65 {
            assert!(deadlines.tick(second * 1_000, 10).is_empty(), "{second}");
        }
        assert_eq!(deadlines.tick(65_000, 10), vec!["a"]);
        assert!(deadlines.tick(66_000, 10).is_empty());
        assert_eq!(deadlines.tick(67_000, 10), vec!["b"], "set after the pause: not moved by it");
    }

    #[test]
    fn no_more_than_asked_for_come_at_once() {
        let mut deadlines = Deadlines::new(0, 100);
        for key in 0..10 {
            deadlines.set(key, 50);
        }
        assert_eq!(deadlines.tick(100, 4).len(), 4);
        assert_eq!(deadlines.tick(200, 40).len(), 6);
    }
}
