//! How long a client waits before it connects again.
//!
//! Owns the contract's rule: as a goodbye says; without one a random 0 to 5 s, doubling to 60 s. Randomness comes in
//! from outside as a fraction, so the rule is a pure function.

use std::time::Duration;

/// The longest first wait, ms. Contract, section 8.
const FIRST_MAX_MS: u64 = 5_000;
/// The longest wait of all, ms. Contract, section 8.
const LAST_MAX_MS: u64 = 60_000;

/// Counts the attempts since the last connection that worked.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A connection worked: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait; `fraction` is random, from 0 up to 1.
    pub(crate) fn next(&mut self, fraction: f64) -> Duration {
        let longest_ms = FIRST_MAX_MS.saturating_mul(1 << self.failures.min(8)).min(LAST_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(longest_ms).mul_f64(fraction.clamp(0.0, 1.0))
    }
}

/// A random fraction from 0 up to 1; a half where the system has no randomness to give.
pub(crate) fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_start_over() {
        let mut backoff = Backoff::default();
        let longest: Vec<u64> = (0..6).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(longest, [5, 10, 20, 40, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(2_500));
        assert_eq!(backoff.next(0.0), Duration::ZERO);
    }
}
