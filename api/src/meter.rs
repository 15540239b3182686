//! What one route counts of its answers: found once when the router is built, so that a request looks nothing up.

use http::StatusCode;
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};
use std::time::Duration;

/// The classes of HTTP statuses that answers come in.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of a route. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    answers: [Counter; CLASSES.len()],
    took_s: Histogram,
}

impl Meter {
    /// Counts into `answers`, one of each of [`CLASSES`], and into `took_s`.
    pub(crate) fn new(answers: [Counter; CLASSES.len()], took_s: Histogram) -> Self {
        Self { answers, took_s }
    }

    /// An answer of this status went out, `took` after its request had come in.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.answers.get(class) {
            counter.inc();
        }
        self.took_s.observe(took.as_secs_f64());
    }
}
