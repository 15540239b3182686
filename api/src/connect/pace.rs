//! When a connection has to do something by itself: ping, notice death, notice an expired token, send again, and look at its key
//! again when keys were replaced.
//!
//! One timer serves the first four; it is only moved when something comes due earlier than it stands.

use crate::{api::now_ms, key_changes::Hearing, stall::STALL_MAX};
use rollcall_presence::UnixMs;
use std::{
    hash::{BuildHasher, RandomState},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Silence that is dead, beyond two pings. Contract, section 8.
const DEAD_SLACK: Duration = Duration::from_secs(5);

/// A timer that goes off later than this was not looked at: more than scheduling noise, less than any ping.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Over how long the connections of a key that is gone end, ms: a key may carry all of a node's, and their ends at once would be
/// a herd that comes back at once.
const REVOKED_SPREAD_MS: UnixMs = 2_000;

/// What came due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing but the pause between two sendings.
    Nothing,
    /// The client is to be asked for a sign of life.
    Ping,
    /// The client has been silent for too long.
    Dead,
    /// The token's time is over.
    Expired,
    /// Keys were replaced: the one that signed may be gone.
    Keys,
}

/// The times of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    timer: Pin<Box<Sleep>>,
    ping_every: Duration,
    flush_every: Duration,
    ping_at: Instant,
    heard_at: Instant,
    rests_until: Instant,
    expires_at: UnixMs,
    keys: Hearing,
    keys_changed: bool,
}

impl Pace {
    pub(crate) fn new(ping_every: Duration, flush_every: Duration, expires_at: UnixMs, keys: Hearing) -> Self {
        let now = Instant::now();
        let ping_at = now + ping_every;
        let timer = Box::pin(sleep_until(ping_at));
        let (heard_at, rests_until, keys_changed) = (now, now, false);
        let mut pace =
            Self { timer, ping_every, flush_every, ping_at, heard_at, rests_until, expires_at, keys, keys_changed };
        pace.arm();
        pace
    }

    /// The client gave a sign of life.
    pub(crate) fn heard(&mut self) {
        self.heard_at = Instant::now();
    }

    /// Changes were sent; the next ones have to wait a little, so that a busy connection is written to less often.
    pub(crate) fn sent(&mut self) {
        self.rests_until = Instant::now() + self.flush_every;
    }

    /// Whether changes may be sent now.
    pub(crate) fn may_send(&self) -> bool {
        Instant::now() >= self.rests_until
    }

    /// Something waits for the end of the pause.
    pub(crate) fn resume(&mut self) {
        self.no_later_than(self.rests_until);
    }

    /// The token was replaced.
    pub(crate) fn expires(&mut self, at: UnixMs) {
        self.expires_at = at;
        self.arm();
    }

    /// The key that signed the token is gone: it counts as expired soon, unless a fresh one comes before.
    pub(crate) fn revoked(&mut self) {
        let after = RandomState::new().hash_one(()) % REVOKED_SPREAD_MS;
        self.expires(self.expires_at.min(now_ms().saturating_add(after)));
    }

    /// Ready when anything may have come due.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.keys.poll(cx).is_ready() {
            self.keys_changed = true;
            return Poll::Ready(());
        }
        self.timer.as_mut().poll(cx)
    }

    /// What came due; sets the timer for what comes next.
    pub(crate) fn take(&mut self) -> Due {
        if std::mem::take(&mut self.keys_changed) {
            // The timer stands as it did; if it has gone off, it says so the next time.
            return Due::Keys;
        }
        let now = Instant::now();
        // Whoever was not listening, because the process stood still or a frame took long to send, knows of no silence.
        let late = now.saturating_duration_since(self.timer.deadline());
        if late > LATE_MAX {
            self.heard_at = now.min(self.heard_at + late);
        }
        let due = if now_ms() >= self.expires_at {
            Due::Expired
        } else if now >= self.dead_at() {
            Due::Dead
        } else if now >= self.ping_at {
            self.ping_at = now + self.ping_every;
            Due::Ping
        } else {
            Due::Nothing
        };
        self.timer.as_mut().reset(self.ping_at);
        self.arm();
        due
    }

    fn dead_at(&self) -> Instant {
        self.heard_at + self.ping_every * 2 + DEAD_SLACK
    }

    fn arm(&mut self) {
        // The wall clock may jump; looked at anew every ping, a token never outlives its time by more than that.
        let left = Duration::from_millis(self.expires_at.saturating_sub(now_ms())).min(STALL_MAX.max(self.ping_every));
        self.no_later_than(Instant::now() + left);
        self.no_later_than(self.ping_at);
        self.no_later_than(self.dead_at());
    }

    fn no_later_than(&mut self, at: Instant) {
        if at < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_changes::KeyChanges;
    use std::sync::Arc;
    use tokio::time::advance;

    const PING: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_this_process_is_no_silence_of_the_client() {
        let mut pace = Pace::new(PING, Duration::ZERO, UnixMs::MAX, Arc::new(KeyChanges::default()).hear());
        advance(Duration::from_secs(60)).await;
        assert_eq!(pace.take(), Due::Ping);
        let mut dead = Duration::ZERO;
        while dead < Duration::from_secs(20) {
            advance(PING).await;
            dead += PING;
            match pace.take() {
                Due::Ping => {}
                due => return assert!(due == Due::Dead && dead > PING * 2, "{due:?} after {dead:?}"),
            }
        }
        unreachable!("a silent client is never dead");
    }
}
