//! The judge of a replay: what every watcher should be shown, and what it was.
//!
//! Owns, per watcher and contact, the version held, and per user the chain of transitions. Pure: time comes in, nothing
//! goes out but answers. Promises that a notification that is missing, repeated, out of order, or of a version or status
//! that the user never had is counted, whatever else the server does right.

use super::{
    chain::{Chain, Shown},
    script::{Friends, UserIx},
    verdict::{Fault, Verdict},
};
use crate::program::{frame::Status, latency::Latency};
use std::{collections::BTreeSet, sync::Arc};

/// How strict the judge is about what came between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Each transition is shown by itself: steps wait for one another.
    EachTransition,
    /// A newer version may supersede an older one.
    LatestState,
    /// Besides, servers may die: connections are lost and taken up, and the history tells what was done.
    ThroughFaults,
}

/// One connection of a user; an older one of the same user is not heard any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) user: UserIx,
    number: u32,
}

/// What a watcher holds of one contact.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    first: u64,
    version: u64,
    received: u32,
    covered: bool,
    stale: bool,
}

#[derive(Debug, Default)]
struct Watcher {
    number: u32,
    connected: bool,
    resuming: bool,
    held: Box<[Held]>,
    /// The contacts' last acknowledged versions when this connection was asked for.
    floors: Box<[u64]>,
}

/// One watcher's time with one contact, to be counted when all versions are known.
#[derive(Debug)]
struct Stretch {
    watcher: UserIx,
    subject: UserIx,
    first: u64,
    last: u64,
    due: u64,
    received: u32,
    /// It was between two connections, and a snapshot brought it.
    covered: bool,
}

/// A transition that connected contacts have yet to see.
#[derive(Debug)]
struct Awaited {
    user: UserIx,
    status: Status,
    by: BTreeSet<UserIx>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Judge {
    strictness: Strictness,
    friends: Arc<Friends>,
    chains: Vec<Chain>,
    watchers: Vec<Watcher>,
    stretches: Vec<Stretch>,
    awaited: Option<Awaited>,
    latency: Latency,
    verdict: Verdict,
}

impl Judge {
    /// A judge of users who are all offline, at the versions `bases`.
    pub(crate) fn new(strictness: Strictness, friends: Arc<Friends>, bases: &[u64]) -> Self {
        Self {
            strictness,
            friends,
            chains: bases.iter().map(|base| Chain::new(*base)).collect(),
            watchers: bases.iter().map(|_| Watcher::default()).collect(),
            stretches: Vec::new(),
            awaited: None,
            latency: Latency::default(),
            verdict: Verdict::default(),
        }
    }

    // --- transitions ---

    /// `user` asks the server for a transition. Under [`Strictness::EachTransition`] every connected contact now owes a sight of it.
    pub(crate) fn begin(&mut self, user: UserIx, status: Status, now_us: u64) {
        self.chains[user as usize].begin(status, now_us);
        if self.strictness == Strictness::EachTransition {
            let by = self.friends.of(user).iter().copied().filter(|f| self.watchers[*f as usize].connected).collect();
            self.awaited = Some(Awaited { user, status, by });
        }
    }

    /// The transition begun last was not made.
    pub(crate) fn cancel(&mut self, user: UserIx) {
        self.chains[user as usize].cancel();
        self.awaited = None;
    }

    /// The server says what the transition begun last led to.
    pub(crate) fn done(&mut self, user: UserIx, truth: Shown, now_us: u64) {
        let chain = &mut self.chains[user as usize];
        let done = match self.strictness {
            Strictness::ThroughFaults => chain.acknowledge(truth, now_us),
            _ => chain.done(truth),
        };
        if let Err(wrong) = done {
            self.verdict.add(Fault::Wrong, || format!("user #{user}: {wrong}"));
        }
    }

    /// Whether every contact that owed a sight of the last transition has had it.
    pub(crate) fn all_seen(&self) -> bool {
        self.awaited.as_ref().is_none_or(|a| a.by.is_empty())
    }

    /// Nobody waits any longer for the last transition. How many had not seen it in time; that counts against the server
    /// even if they see it later.
    pub(crate) fn give_up(&mut self) -> usize {
        let Some(awaited) = self.awaited.take() else { return 0 };
        for watcher in &awaited.by {
            self.verdict.add(Fault::Wrong, || {
                format!("user #{} {:?}: contact #{watcher} did not see it in time", awaited.user, awaited.status)
            });
        }
        awaited.by.len()
    }

    // --- watchers ---

    /// `user` is about to connect, and knows nothing.
    pub(crate) fn arriving(&mut self, user: UserIx) -> Turn {
        let contacts = self.friends.of(user).len();
        let number = self.watchers[user as usize].number + 1;
        let held = vec![Held::default(); contacts].into_boxed_slice();
        let floors = self.floors(user);
        self.watchers[user as usize] = Watcher { number, held, floors, ..Watcher::default() };
        Turn { user, number }
    }

    /// `user` is about to take up its lost connection, and knows what it held.
    pub(crate) fn resuming(&mut self, user: UserIx) -> Turn {
        let floors = self.latest_of_contacts(user);
        let watcher = &mut self.watchers[user as usize];
        watcher.number += 1;
        watcher.resuming = true;
        watcher.floors = floors;
        Turn { user, number: watcher.number }
    }

    /// The contacts of `turn`'s user with the versions held.
    pub(crate) fn known(&self, turn: Turn) -> Vec<(UserIx, u64)> {
        let held = self.watchers[turn.user as usize].held.iter().map(|h| h.version);
        self.friends.of(turn.user).iter().copied().zip(held).collect()
    }

    /// A part of the snapshot; the last one, if not `more`.
    pub(crate) fn snapshot(&mut self, turn: Turn, seen: &[(UserIx, Shown)], more: bool) {
        for &(subject, shown) in seen {
            let Some(held) = self.held(turn, subject) else { continue };
            let before = *held;
            held.covered = true;
            held.stale = shown.stale;
            held.version = shown.version;
            self.observe(subject, shown);
            if self.strictness == Strictness::ThroughFaults {
                self.taken_up(turn, subject, before, shown);
            } else if before.covered && shown.version <= before.version {
                self.fault(Fault::Duplicated, turn, subject, shown, "was in the snapshot though known");
            }
        }
        if more {
            return;
        }
        let watcher = &mut self.watchers[turn.user as usize];
        if watcher.number != turn.number {
            return;
        }
        watcher.connected = true;
        watcher.resuming = false;
        for ((held, floor), subject) in watcher.held.iter_mut().zip(&watcher.floors).zip(self.friends.of(turn.user)) {
            (held.first, held.received) = (held.version, 0);
            let (covered, user, version) = (held.covered, turn.user, held.version);
            // Through faults each presence is held against its floor as it comes, for it may be marked stale.
            if !covered || (version < *floor && self.strictness != Strictness::ThroughFaults) {
                held.covered = true;
                self.verdict.add(Fault::Wrong, || {
                    format!("user #{user}: the snapshot has version {version} of contact #{subject}, not {floor}")
                });
            }
        }
        watcher.floors = Box::default();
    }

    /// Changes that were shown. Whether the last contact that owed a sight of a transition has now had it.
    pub(crate) fn change(&mut self, turn: Turn, seen: &[(UserIx, Shown)], now_us: u64) -> bool {
        let mut completed = false;
        for &(subject, shown) in seen {
            let Some(held) = self.held(turn, subject) else { continue };
            let before = *held;
            if before.covered && shown.version == before.version {
                held.stale = shown.stale;
                if before.stale == shown.stale {
                    self.fault(Fault::Duplicated, turn, subject, shown, "was shown twice");
                } else {
                    self.verdict.restated += 1;
                }
            } else if !before.covered || shown.version < before.version {
                let fault = if before.covered { Fault::OutOfOrder } else { Fault::Wrong };
                self.fault(fault, turn, subject, shown, "was shown out of order");
            } else {
                *held = Held { version: shown.version, stale: shown.stale, received: before.received + 1, ..before };
                self.observe(subject, shown);
                let chain = &self.chains[subject as usize];
                // What a fault brought about, nobody asked for.
                if self.strictness != Strictness::ThroughFaults || chain.asked(shown.status) {
                    self.latency.record(now_us.saturating_sub(chain.requested_us(shown.status)));
                }
                completed |= self.credit(turn, subject, shown);
            }
        }
        completed
    }

    /// Strikes a sight off what is owed. Whether it was the last.
    fn credit(&mut self, turn: Turn, subject: UserIx, shown: Shown) -> bool {
        if self.strictness != Strictness::EachTransition {
            return false;
        }
        let owed = self
            .awaited
            .as_mut()
            .is_some_and(|a| a.user == subject && a.status == shown.status && a.by.remove(&turn.user));
        if !owed {
            self.fault(Fault::Wrong, turn, subject, shown, "was shown though nothing was due");
        }
        owed && self.all_seen()
    }

    /// What `turn` must have been shown before it may leave: its contacts' last acknowledged versions.
    pub(crate) fn due(&self, turn: Turn) -> Box<[u64]> {
        self.latest_of_contacts(turn.user)
    }

    /// Whether `turn` holds all that is due.
    pub(crate) fn caught_up(&self, turn: Turn, due: &[u64]) -> bool {
        self.watchers[turn.user as usize].held.iter().zip(due).all(|(held, due)| held.version >= *due)
    }

    /// `turn` is over. With `due`, it should have been shown that much; without, a later snapshot will cover it.
    pub(crate) fn left(&mut self, turn: Turn, due: Option<&[u64]>) {
        let watcher = &mut self.watchers[turn.user as usize];
        if watcher.number != turn.number || !watcher.connected {
            return;
        }
        watcher.connected = false;
        for (at, (held, subject)) in watcher.held.iter_mut().zip(self.friends.of(turn.user)).enumerate() {
            let due = due.and_then(|d| d.get(at)).copied().unwrap_or(0);
            if held.first != held.version || due > held.version {
                let (first, last, received) = (held.first, held.version, held.received);
                let (watcher, subject) = (turn.user, *subject);
                self.stretches.push(Stretch { watcher, subject, first, last, due, received, covered: false });
            }
            (held.first, held.received) = (held.version, 0);
        }
    }

    // --- findings ---

    /// Counts what only the player can see.
    pub(crate) fn report(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        self.verdict.add(fault, words);
    }

    pub(crate) fn chain(&self, user: UserIx) -> &Chain {
        &self.chains[user as usize]
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }

    /// How many differences were found while playing.
    pub(crate) fn faults(&self) -> u64 {
        self.verdict.faults()
    }

    /// What a watcher of `user`'s contacts must be shown at least, from now on.
    fn floors(&self, user: UserIx) -> Box<[u64]> {
        let mut floors = self.latest_of_contacts(user);
        if self.strictness == Strictness::ThroughFaults {
            self.raise_to_seen(user, &mut floors);
        }
        floors
    }

    fn latest_of_contacts(&self, user: UserIx) -> Box<[u64]> {
        self.friends.of(user).iter().map(|f| self.chains[*f as usize].latest()).collect()
    }

    /// What `turn` holds of `subject`; `None`, and a fault unless the turn is over, where it should hold nothing.
    fn held(&mut self, turn: Turn, subject: UserIx) -> Option<&mut Held> {
        let watcher = &mut self.watchers[turn.user as usize];
        if watcher.number != turn.number {
            return None;
        }
        match self.friends.of(turn.user).binary_search(&subject) {
            Ok(at) => watcher.held.get_mut(at),
            Err(_) => {
                self.verdict.add(Fault::Wrong, || format!("user #{} was shown #{subject}, no contact", turn.user));
                None
            }
        }
    }

    fn observe(&mut self, subject: UserIx, shown: Shown) {
        if let Err(wrong) = self.chains[subject as usize].observe(shown) {
            self.verdict.add(Fault::Wrong, || format!("user #{subject}: {wrong}"));
        }
    }

    fn fault(&mut self, fault: Fault, turn: Turn, subject: UserIx, shown: Shown, what: &str) {
        self.verdict.add(fault, || {
            format!("user #{}: contact #{subject} {:?} version {} {what}", turn.user, shown.status, shown.version)
        });
    }
}

#[path = "judge_counts.rs"]
mod counts;
#[path = "judge_through_faults.rs"]
mod through_faults;

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
