//! What one user did in a replay, and what anybody was shown of it.
//!
//! Owns the user's transitions with the versions that the server gave them, and the bytes first shown under each
//! version. Promises that two different presences under one version, and versions that no transition explains, are found.

use super::account::{Account, Disturbance, History};
use crate::program::frame::Status;

/// A presence as somebody was shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) version: u64,
    pub(crate) status: Status,
    pub(crate) stale: bool,
    /// Of the presence's bytes; `None` where they are marked stale, and so differ for a good reason.
    pub(crate) digest: Option<u32>,
}

/// The transitions of one user, in order; they are made one after another.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// The version before the first transition.
    base: u64,
    begun: Vec<Status>,
    done: Vec<u64>,
    shown: Vec<Shown>,
    online_requested_us: u64,
    offline_requested_us: u64,
    /// Of a replay through faults.
    account: Account,
    /// Shown versions below this one cannot be judged: the server no longer keeps them.
    oldest: u64,
}

impl Chain {
    pub(crate) fn new(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// A transition is asked of the server.
    pub(crate) fn begin(&mut self, status: Status, now_us: u64) {
        self.begun.push(status);
        match status {
            Status::Offline => self.offline_requested_us = now_us,
            _ => self.online_requested_us = now_us,
        }
    }

    /// The transition begun last failed: it is taken for never made.
    pub(crate) fn cancel(&mut self) {
        if self.begun.len() > self.done.len() {
            self.begun.pop();
        }
    }

    /// The server gave the transition begun last this version. `Err` says what is wrong with that.
    pub(crate) fn done(&mut self, truth: Shown) -> Result<(), String> {
        let latest = self.latest();
        let Some(asked) = self.begun.get(self.done.len()).copied() else {
            return Err("a transition ended that never began".into());
        };
        if truth.version <= latest {
            self.cancel();
            return Err(format!("{asked:?} was acknowledged, but the version stayed {}", truth.version));
        }
        self.done.push(truth.version);
        if truth.status != asked {
            return Err(format!("{asked:?} was acknowledged, but a read answers {:?}", truth.status));
        }
        self.observe(truth)
    }

    /// Somebody was shown this. `Err` if somebody else was shown something else under the same version.
    pub(crate) fn observe(&mut self, seen: Shown) -> Result<(), String> {
        let at = self.shown.partition_point(|s| s.version < seen.version);
        match self.shown.get_mut(at) {
            Some(known) if known.version == seen.version => {
                if known.status != seen.status {
                    return Err(format!(
                        "version {} is {:?} here and {:?} there",
                        seen.version, seen.status, known.status
                    ));
                }
                match (known.digest, seen.digest) {
                    (Some(a), Some(b)) if a != b => {
                        return Err(format!("version {} has not the same bytes everywhere", seen.version));
                    }
                    (None, Some(_)) => known.digest = seen.digest,
                    _ => {}
                }
            }
            _ => self.shown.insert(at, seen),
        }
        Ok(())
    }

    /// As [`Chain::done`], in a replay through faults: a transition may have been made more than once, or not have shown.
    pub(crate) fn acknowledge(&mut self, truth: Shown, now_us: u64) -> Result<(), String> {
        let asked = self.begun.last().copied().unwrap_or(Status::Offline);
        if truth.version > self.latest() {
            self.done.push(truth.version);
        }
        let acknowledged = self.account.acknowledge(asked, truth, self.base, now_us);
        self.observe(truth).and(acknowledged)
    }

    /// A fault befell the user.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance, now_us: u64) {
        self.account.disturb(disturbance, self.latest(), now_us);
    }

    /// The server did not resume the user's session, because it had ended since the version `known`.
    pub(crate) fn ended(&mut self, known: u64, now_us: u64) {
        self.account.ended(known, now_us);
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Takes the server's history for what was done, once it is compared with what was acknowledged. How many entries
    /// only faults explain; what is wrong goes to `wrong`.
    pub(crate) fn learn(&mut self, history: &History, wrong: impl FnMut(String)) -> u64 {
        let explained = self.account.settle(self.base, history, wrong);
        self.oldest = if history.complete { 0 } else { history.entries.first().map_or(0, |e| e.version) };
        self.done = history.entries.iter().map(|e| e.version).collect();
        self.begun = history.entries.iter().map(|e| e.status).collect();
        explained
    }

    /// Whether the last transition begun was to `status`.
    pub(crate) fn asked(&self, status: Status) -> bool {
        self.begun.last() == Some(&status)
    }

    /// The version of the last transition that the server acknowledged.
    pub(crate) fn latest(&self) -> u64 {
        self.done.last().copied().unwrap_or(self.base)
    }

    /// How many transitions lead to `version`.
    pub(crate) fn index(&self, version: u64) -> usize {
        self.done.partition_point(|v| *v <= version)
    }

    /// When the last transition to `status` was asked for.
    pub(crate) fn requested_us(&self, status: Status) -> u64 {
        if status == Status::Offline { self.offline_requested_us } else { self.online_requested_us }
    }

    /// What was shown and no transition explains, and what was shown with the wrong status.
    pub(crate) fn unexplained(&self) -> impl Iterator<Item = Shown> + '_ {
        self.shown.iter().copied().filter(|s| s.version >= self.oldest).filter(|seen| {
            match self.done.binary_search(&seen.version) {
                Ok(index) => self.begun.get(index) != Some(&seen.status),
                Err(_) => (seen.version != self.base && seen.version != 0) || seen.status != Status::Offline,
            }
        })
    }

    /// The versions and statuses of the transitions, oldest first.
    pub(crate) fn made(&self) -> impl DoubleEndedIterator<Item = (u64, Status)> + '_ {
        self.done.iter().copied().zip(self.begun.iter().copied())
    }

    /// The version before the first transition.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(version: u64, status: Status, digest: u32) -> Shown {
        Shown { version, status, stale: false, digest: Some(digest) }
    }

    #[test]
    fn versions_must_rise_and_be_of_the_status_asked_for() {
        let mut chain = Chain::new(5);
        chain.begin(Status::Online, 0);
        assert!(chain.done(shown(5, Status::Online, 1)).is_err(), "the version did not rise");
        chain.begin(Status::Online, 0);
        assert!(chain.done(shown(6, Status::Offline, 1)).is_err(), "the status is another");
        chain.begin(Status::Offline, 0);
        assert!(chain.done(shown(9, Status::Offline, 2)).is_ok());
        assert_eq!((chain.index(5), chain.index(6), chain.index(8), chain.index(9)), (0, 1, 1, 2));
    }

    #[test]
    fn one_version_has_one_presence_and_one_reason() {
        let mut chain = Chain::new(0);
        chain.begin(Status::Online, 0);
        assert!(chain.observe(shown(3, Status::Online, 1)).is_ok());
        assert!(chain.observe(shown(3, Status::Online, 2)).is_err(), "other bytes");
        assert!(chain.observe(shown(3, Status::Away, 1)).is_err(), "other status");
        assert_eq!(chain.unexplained().count(), 1, "not yet acknowledged");
        assert!(chain.done(shown(3, Status::Online, 1)).is_ok());
        assert_eq!(chain.unexplained().count(), 0);
        assert!(chain.observe(shown(4, Status::Away, 1)).is_ok());
        assert_eq!(chain.unexplained().count(), 1, "nobody asked for that");
    }
}
