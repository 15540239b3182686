//! Waiting for a condition, with a deadline: the only place of the tests where time passes by itself.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what must happen. Generous: it is only ever used up by a failure, and machines are slow.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two looks at a condition that cannot be waited for otherwise.
const PAUSE: Duration = Duration::from_millis(15);

/// Looks again and again until `attempt` gives something, and fails the test after [`DEADLINE`], naming `what`.
///
/// # Panics
/// When the deadline passes.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, attempt).await
}

/// As [`eventually`], for what may rightly take longer.
///
/// # Panics
/// When the deadline passes.
pub async fn eventually_within<T>(deadline: Duration, what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    looked_for(deadline, attempt).await.unwrap_or_else(|| panic!("waited {deadline:?} in vain: {what}"))
}

/// As [`eventually_within`], for what may rightly not be found: `None` after the deadline.
pub(crate) async fn looked_for<T>(deadline: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(deadline, looking).await.ok()
}

/// As [`eventually`], for code that may block; `None` after the deadline.
pub(crate) fn poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if let Some(found) = attempt() {
            return Some(found);
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Says more when a test fails.
pub(crate) struct OnPanic<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)();
        }
    }
}
