//! How long what failed is tried again, and what is worth it.
//!
//! Owns the bound of all repeats and their jittered pauses. Promises that without patience nothing is tried twice, as in
//! every replay that expects no faults.

use crate::program::{backoff::fraction, client::ClientError, socket::SocketError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a request or a connection is tried again: a killed node that is started by hand needs less.
pub(crate) const REPEATED_MAX: Duration = Duration::from_secs(60);
/// The longest first pause, ms: another node takes over within seconds, and the wait for it should not double them.
const FIRST_PAUSE_MAX_MS: u64 = 50;
/// The longest pause of all, ms.
const PAUSE_MAX_MS: u64 = 1_000;
const UNAVAILABLE: u16 = 503;

/// See the module.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Option<Instant>,
    failures: u32,
}

impl Patience {
    /// Repeats from now on, or never.
    pub(crate) fn new(repeats: bool) -> Self {
        Self { until: repeats.then(|| Instant::now() + REPEATED_MAX), failures: 0 }
    }

    /// Waits a random moment, longer each time. Whether it is to be tried again.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(until) = self.until else { return false };
        let longest_ms = FIRST_PAUSE_MAX_MS.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_millis(longest_ms).mul_f64(fraction());
        if Instant::now() + pause >= until {
            return false;
        }
        sleep(pause).await;
        true
    }
}

/// Whether a dying, starting or cut-off node explains the error.
pub(crate) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::CutOff { .. } => true,
        ClientError::Refused { status, code, .. } => *status == UNAVAILABLE || code == "unavailable",
        _ => false,
    }
}

/// As [`may_pass`], of a connection.
pub(crate) fn connection_may_pass(error: &SocketError) -> bool {
    match error {
        SocketError::Refused(error) => may_pass(error),
        SocketError::Broken { .. } | SocketError::Later { .. } => true,
        SocketError::Unreadable(_) => false,
    }
}

/// Whether the server surely did nothing of what was asked.
pub(crate) fn touched_nothing(error: &SocketError) -> bool {
    matches!(error, SocketError::Refused(ClientError::Unreachable { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_end_and_need_patience() {
        assert!(!Patience::new(false).again().await);
        let (mut patience, started) = (Patience::new(true), Instant::now());
        let mut repeats = 0;
        while patience.again().await {
            repeats += 1;
        }
        assert!(repeats > 50 && started.elapsed() < REPEATED_MAX, "{repeats} in {:?}", started.elapsed());
    }

    #[test]
    fn a_refusal_that_a_fault_does_not_explain_is_final() {
        let refused = |status, code: &str| ClientError::Refused { status, code: code.into(), detail: String::new() };
        assert!(may_pass(&refused(503, "unavailable")) && may_pass(&refused(0, "unavailable")));
        assert!(!may_pass(&refused(500, "internal")) && !may_pass(&refused(422, "limit_exceeded")));
        let gone = ClientError::Unreachable { url: String::new() };
        assert!(may_pass(&gone) && touched_nothing(&gone.into()));
        assert!(!touched_nothing(&refused(503, "unavailable").into()), "it may be carried out later");
    }
}
