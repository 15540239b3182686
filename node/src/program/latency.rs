//! How long notifications took, from the request to the watcher's frame.
//!
//! Owns a histogram of fixed size; three digits, up to a minute.

use hdrhistogram::Histogram;

/// Longer ones count as this long, µs.
const MAX_US: u64 = 60_000_000;
/// Digits kept of each value.
const DIGITS: u8 = 3;

/// The histogram; it has no room where the machine has no memory for it, and then counts nothing.
#[derive(Debug)]
pub(crate) struct Latency(Option<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, DIGITS).ok())
    }
}

impl Latency {
    pub(crate) fn record(&mut self, us: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(us.clamp(1, MAX_US));
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The value that `percent` of all are at or below, ms.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |h| h.value_at_percentile(percent) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_values() {
        let mut latency = Latency::default();
        for us in 1..=1_000 {
            latency.record(us * 1_000);
        }
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 1_001);
        assert!((latency.percentile_ms(50.0) - 500.0).abs() < 2.0);
        assert!(latency.percentile_ms(100.0) >= 60_000.0);
    }
}
