//! What is certain of one user in a replay through faults, and how much a fault may add to that.
//!
//! Owns the transitions that the server acknowledged, as they were read back, and the faults that befell the user. Promises
//! that a history which lacks something acknowledged, or has more than faults explain, is found. Pure: time comes in.

use super::chain::Shown;
use crate::program::frame::Status;
use serde::Deserialize;

/// How long the session of an opening without an answer may keep its user online, µs: the grace, the detection of a dead
/// node and a failover take half of it at the defaults.
const ORPHAN_MAX_US: u64 = 60_000_000;
/// Entries that one fault explains: an ending and an opening, as of a session that could not be resumed.
const ENTRIES_A_FAULT: usize = 2;

/// Why an entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    Connected,
    Disconnected,
    Expired,
    NodeLost,
    #[serde(other)]
    Other,
}

/// One change, as the server keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Entry {
    pub(crate) version: u64,
    pub(crate) status: Status,
    pub(crate) reason: Reason,
}

/// What the server keeps of a user, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) entries: Vec<Entry>,
    /// Whether nothing older was dropped.
    pub(crate) complete: bool,
}

/// A fault, as the user's client noticed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// A connection ended by itself; its session waits for a resume.
    Lost,
    /// Nobody knows whether a request was carried out; it may have left a session that nobody holds.
    Unknown,
}

/// A session that the server says it had ended before it could be resumed.
#[derive(Debug)]
struct Ended {
    /// The version known when its connection was lost.
    after: u64,
    /// How many transitions were acknowledged before.
    acknowledged: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Account {
    acknowledged: Vec<(u64, Status)>,
    /// The version known when each fault befell the user.
    faults: Vec<u64>,
    disturbed_us: Option<u64>,
    orphaned_us: Option<u64>,
    ended: Vec<Ended>,
}

impl Account {
    /// A fault befell the user, whose version was `known`.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance, known: u64, now_us: u64) {
        self.faults.push(known);
        self.disturbed_us = Some(now_us);
        if disturbance == Disturbance::Unknown {
            self.orphaned_us = Some(now_us);
        }
    }

    /// Whether a fault may still have consequences.
    pub(crate) fn is_disturbed(&self, now_us: u64) -> bool {
        self.disturbed_us.is_some_and(|at| now_us.saturating_sub(at) <= ORPHAN_MAX_US)
    }

    /// Whether a session that nobody holds may keep the user online.
    pub(crate) fn may_have_orphans(&self, now_us: u64) -> bool {
        self.orphaned_us.is_some_and(|at| now_us.saturating_sub(at) <= ORPHAN_MAX_US)
    }

    /// The server did not resume a session, and took the token for one of a session that had ended. Without orphans beside
    /// it that is an entry of the history.
    pub(crate) fn ended(&mut self, known: u64, now_us: u64) {
        if !self.may_have_orphans(now_us) {
            self.ended.push(Ended { after: known, acknowledged: self.acknowledged.len() });
        }
    }

    /// The server acknowledged a transition to `asked`, and answers `truth` since. `Err` says what is wrong with that.
    pub(crate) fn acknowledge(&mut self, asked: Status, truth: Shown, base: u64, now_us: u64) -> Result<(), String> {
        let known = self.acknowledged.last().copied().unwrap_or((base, Status::Offline));
        if truth.version < known.0 {
            return Err(format!("a read answers version {} after {}", truth.version, known.0));
        }
        self.acknowledged.push((truth.version, truth.status));
        if truth.status != asked && !(asked == Status::Offline && self.may_have_orphans(now_us)) {
            return Err(format!("{asked:?} was acknowledged, but a read answers {:?}", truth.status));
        }
        if truth.version == known.0 && truth.status != known.1 {
            return Err(format!("{asked:?} was acknowledged, but the version stayed {}", truth.version));
        }
        Ok(())
    }

    /// Compares all this with the server's history of what came after `base`. How many entries only faults explain; what
    /// is wrong goes to `wrong`.
    pub(crate) fn settle(&self, base: u64, history: &History, mut wrong: impl FnMut(String)) -> u64 {
        let entries = &history.entries;
        // What came before the oldest entry of a history that was cut short cannot be judged.
        let oldest = if history.complete { 0 } else { entries.first().map_or(0, |e| e.version) };
        for pair in entries.windows(2) {
            if pair[1].version <= pair[0].version || pair[1].status == pair[0].status {
                wrong(format!("the history has {:?} after {:?}", pair[1], pair[0]));
            }
        }
        for (version, status) in self.acknowledged.iter().filter(|(v, _)| *v > base && *v >= oldest) {
            let found = entries.iter().find(|e| e.version == *version);
            if found.is_none_or(|e| e.status != *status) {
                wrong(format!("{status:?} was acknowledged as version {version}, the history has {found:?}"));
            }
        }
        for ended in self.ended.iter().filter(|e| e.after >= oldest) {
            let next = self.acknowledged.get(ended.acknowledged).map_or(u64::MAX, |a| a.0);
            let same = || self.ended.iter().filter(|e| e.acknowledged == ended.acknowledged);
            let after = same().map(|e| e.after).min().unwrap_or(ended.after);
            let between = |e: &&Entry| e.version > after && e.version < next && e.status == Status::Offline;
            if entries.iter().filter(between).count() < same().count() {
                wrong(format!("after version {after} a session was not resumed, though the history has no end of it"));
            }
        }
        self.explained(entries, wrong)
    }

    /// Hands the entries that nobody acknowledged to the faults before them.
    fn explained(&self, entries: &[Entry], mut wrong: impl FnMut(String)) -> u64 {
        let mut explained = 0;
        for entry in entries.iter().filter(|e| self.acknowledged.iter().all(|(v, _)| *v != e.version)) {
            let room = self.faults.iter().filter(|known| **known < entry.version).count() * ENTRIES_A_FAULT;
            if explained < room && entry.reason != Reason::Other {
                explained += 1;
            } else {
                wrong(format!("no transition and no fault explains {entry:?} of the history"));
            }
        }
        explained as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Disturbance::{Lost, Unknown};
    use Status::{Offline, Online};

    fn read(version: u64, status: Status) -> Shown {
        Shown { version, status, stale: false, digest: None }
    }

    fn history(entries: &[(u64, Status, Reason)]) -> History {
        let entries = entries.iter().map(|&(version, status, reason)| Entry { version, status, reason }).collect();
        History { entries, complete: true }
    }

    /// Came as version 3 and went as version 5, both acknowledged.
    fn visited() -> Account {
        let mut account = Account::default();
        account.acknowledge(Online, read(3, Online), 0, 0).unwrap();
        account.acknowledge(Offline, read(5, Offline), 0, 0).unwrap();
        account
    }

    /// Entries explained by faults, and how many things are wrong.
    fn settle(account: &Account, history: &History) -> (u64, usize) {
        let mut wrong = 0;
        (account.settle(0, history, |_| wrong += 1), wrong)
    }

    const CAME: (u64, Status, Reason) = (3, Online, Reason::Connected);
    const WENT: (u64, Status, Reason) = (5, Offline, Reason::Disconnected);

    #[test]
    fn a_history_of_just_what_was_acknowledged_is_right() {
        assert_eq!(settle(&visited(), &history(&[CAME, WENT])), (0, 0));
    }

    #[test]
    fn a_lost_acknowledged_transition_is_caught() {
        assert_eq!(settle(&visited(), &history(&[CAME])), (0, 1));
        assert!(settle(&visited(), &history(&[WENT])).1 >= 1);
        let mut disturbed = visited();
        disturbed.disturb(Lost, 0, 0);
        assert!(settle(&disturbed, &history(&[CAME])).1 >= 1, "no fault excuses it");
        assert!(settle(&visited(), &history(&[CAME, (5, Online, Reason::Connected)])).1 >= 1, "another status");
    }

    #[test]
    fn only_a_fault_before_it_explains_more_in_the_history_and_no_more_than_two_entries() {
        let again = [(7, Online, Reason::Connected), (8, Offline, Reason::NodeLost)];
        let more = history(&[CAME, WENT, again[0], again[1]]);
        assert_eq!(settle(&visited(), &more), (0, 2));
        let mut disturbed = visited();
        disturbed.disturb(Lost, 8, 0);
        assert_eq!(settle(&disturbed, &more), (0, 2), "the fault came later");
        let mut disturbed = visited();
        disturbed.disturb(Lost, 5, 0);
        assert_eq!(settle(&disturbed, &more), (2, 0));
        let third = [(9, Online, Reason::Connected)];
        let most: Vec<_> = [CAME, WENT].into_iter().chain(again).chain(third).collect();
        assert_eq!(settle(&disturbed, &history(&most)), (2, 1));
        let set = history(&[CAME, WENT, (7, Online, Reason::Other)]);
        assert_eq!(settle(&disturbed, &set), (0, 1), "no fault sets a status");
    }

    #[test]
    fn an_entry_that_changes_nothing_or_does_not_rise_is_caught() {
        let mut disturbed = visited();
        disturbed.disturb(Unknown, 0, 0);
        assert_eq!(settle(&disturbed, &history(&[CAME, (4, Online, Reason::Connected), WENT])), (1, 1));
        assert!(settle(&visited(), &history(&[WENT, CAME])).1 >= 1);
    }

    #[test]
    fn a_session_that_was_not_resumed_must_have_ended_unless_another_kept_the_user_online() {
        for orphan in [false, true] {
            let mut account = Account::default();
            account.acknowledge(Online, read(3, Online), 0, 0).unwrap();
            account.disturb(if orphan { Unknown } else { Lost }, 3, 0);
            account.ended(3, 0);
            account.acknowledge(Offline, read(9, Offline), 0, 0).unwrap();
            let went = (9, Offline, Reason::Disconnected);
            let ended = [(5, Offline, Reason::Expired), (6, Online, Reason::Connected)];
            assert_eq!(settle(&account, &history(&[CAME, ended[0], ended[1], went])), (2, 0));
            assert_eq!(settle(&account, &history(&[CAME, went])), (0, usize::from(!orphan)));
        }
    }

    #[test]
    fn an_acknowledged_ending_shows_unless_an_orphan_may_keep_the_user_online() {
        let mut account = Account::default();
        account.acknowledge(Online, read(3, Online), 0, 0).unwrap();
        assert!(account.acknowledge(Offline, read(3, Online), 0, 0).is_err());
        account.disturb(Unknown, 3, 0);
        assert!(account.acknowledge(Offline, read(3, Online), 0, ORPHAN_MAX_US).is_ok());
        assert!(account.acknowledge(Offline, read(3, Online), 0, ORPHAN_MAX_US + 1).is_err());
        assert!(account.acknowledge(Online, read(3, Online), 0, 0).is_ok(), "the orphan is online already");
        assert!(account.acknowledge(Online, read(2, Online), 0, 0).is_err(), "the version fell");
        assert!(account.acknowledge(Offline, read(3, Offline), 0, 0).is_err(), "the version stayed");
    }

    #[test]
    fn what_a_history_no_longer_keeps_is_not_missed() {
        let cut = History { complete: false, ..history(&[WENT]) };
        assert_eq!(settle(&visited(), &cut), (0, 0));
    }
}
