//! What the judge does only in a replay through faults: watchers come back, and histories tell what was done.
//!
//! Owns the rules of a reconnect (never older than anything shown before, exactly what is newer than what was held) and
//! the comparison of each user's history with what was acknowledged. Pure, as all of the judge.

use super::{
    super::account::{Disturbance, History},
    Chain, Fault, Held, Judge, Shown, Stretch, Turn, UserIx,
};

impl Judge {
    /// A fault befell `user`: from here on its history may hold a little more than was asked for.
    pub(crate) fn disturb(&mut self, user: UserIx, disturbance: Disturbance, now_us: u64) {
        self.chains[user as usize].disturb(disturbance, now_us);
    }

    /// The server did not resume `user`'s session, because it had ended since the version `known`: the history must say so.
    pub(crate) fn ended(&mut self, user: UserIx, known: u64, now_us: u64) {
        self.chains[user as usize].ended(known, now_us);
    }

    /// Whether a fault of `user` may still have consequences.
    pub(crate) fn is_disturbed(&self, user: UserIx, now_us: u64) -> bool {
        self.chain(user).account().is_disturbed(now_us)
    }

    /// Whether a session that nobody holds may keep `user` online.
    pub(crate) fn may_have_orphans(&self, user: UserIx, now_us: u64) -> bool {
        self.chain(user).account().may_have_orphans(now_us)
    }

    /// Takes `history` for what `user` did, once it is compared with what was acknowledged.
    pub(crate) fn learn(&mut self, user: UserIx, history: &History) {
        let (chain, verdict): (&mut Chain, _) = (&mut self.chains[user as usize], &mut self.verdict);
        let explained = chain.learn(history, |wrong| verdict.add(Fault::Wrong, || format!("user #{user}: {wrong}")));
        verdict.explained += explained;
    }

    /// How many pairs of a connected watcher and a contact are not at the version of `truth`, by user.
    pub(crate) fn differences(&self, truth: &[Shown]) -> u64 {
        let connected = self.watchers.iter().zip(0..).filter(|(w, _)| w.connected);
        let differing = connected.map(|(watcher, user)| {
            let contacts = self.friends.of(user).iter();
            watcher.held.iter().zip(contacts).filter(|(h, c)| h.version != truth[**c as usize].version).count() as u64
        });
        differing.sum()
    }

    /// Raises `floors` to what `user` was shown of its contacts in earlier connections.
    pub(super) fn raise_to_seen(&self, user: UserIx, floors: &mut [u64]) {
        let watcher = &self.watchers[user as usize];
        for (floor, held) in floors.iter_mut().zip(&watcher.held) {
            *floor = held.version.max(*floor);
        }
        // Those of an attempt that failed before its snapshot was whole.
        for (floor, earlier) in floors.iter_mut().zip(&watcher.floors) {
            *floor = (*earlier).max(*floor);
        }
    }

    /// A snapshot showed `shown` to a watcher that held `before`.
    pub(super) fn taken_up(&mut self, turn: Turn, subject: UserIx, before: Held, shown: Shown) {
        let watcher = &mut self.watchers[turn.user as usize];
        let Ok(at) = self.friends.of(turn.user).binary_search(&subject) else { return };
        let floor = watcher.floors.get(at).copied().unwrap_or(0);
        let Some(held) = watcher.held.get_mut(at) else { return };
        // A client keeps the higher version, whatever it is shown.
        held.version = before.version.max(shown.version);
        if before.covered && shown.version < before.version {
            self.fault(Fault::OutOfOrder, turn, subject, shown, "was in the snapshot though something newer was known");
        } else if before.covered && shown.version == before.version {
            // The node cannot know which certainty the client was told by another one.
            if shown.stale || before.stale {
                self.verdict.restated += 1;
            } else {
                self.fault(Fault::Duplicated, turn, subject, shown, "was in the snapshot though known");
            }
        } else if shown.version < floor && !shown.stale {
            self.fault(Fault::OutOfOrder, turn, subject, shown, "was in the snapshot, older than what was known");
        } else if before.covered {
            let (watcher, first, last) = (turn.user, before.version, shown.version);
            let stretch = Stretch { watcher, subject, first, last, due: 0, received: 0, covered: true };
            self.stretches.push(stretch);
        }
    }
}

#[cfg(test)]
#[path = "judge_through_faults_tests.rs"]
mod tests;
