//! What the judge counts when things are quiet: states compared with reads, and the sights of whole connections.
//!
//! Owns the arithmetic from versions to notifications expected, received, superseded, covered and missing. Relies on every
//! transition's version being known by then.

use super::{Fault, Judge, Shown, Strictness, UserIx, Verdict};

impl Judge {
    /// Whether every connected watcher holds its contacts' last acknowledged versions.
    pub(crate) fn all_caught_up(&self) -> bool {
        let connected = self.watchers.iter().zip(0..).filter(|(w, _)| w.connected);
        connected.into_iter().all(|(watcher, user)| {
            let contacts = self.friends.of(user).iter();
            watcher.held.iter().zip(contacts).all(|(h, c)| h.version >= self.chains[*c as usize].latest())
        })
    }

    /// Compares what every connected watcher holds with `truth`, by user. How many pairs were compared.
    pub(crate) fn compare(&mut self, truth: &[Shown]) -> u64 {
        let mut pairs = 0;
        for (shown, user) in truth.iter().zip(0..) {
            self.observe(user, *shown);
        }
        for (user, watcher) in self.watchers.iter().enumerate().filter(|(_, w)| w.connected) {
            for (held, subject) in watcher.held.iter().zip(self.friends.of(user as UserIx)) {
                pairs += 1;
                let (version, shown) = (held.version, truth[*subject as usize]);
                if version == shown.version {
                    continue;
                }
                self.verdict.add(Fault::Missing, || {
                    format!(
                        "user #{user} holds version {version} of contact #{subject}, a read answers {}",
                        shown.version
                    )
                });
            }
        }
        pairs
    }

    /// The final counts, once everybody has left and every transition's version is known.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut verdict = self.verdict.clone();
        for stretch in &self.stretches {
            let chain = &self.chains[stretch.subject as usize];
            let (first, last, due) = (chain.index(stretch.first), chain.index(stretch.last), chain.index(stretch.due));
            let steps = (last - first.min(last)) as u64;
            if stretch.covered {
                verdict.covered += steps;
                continue;
            }
            let received = u64::from(stretch.received).min(steps);
            let skipped = steps - received;
            let mut missing = (due - due.min(last)) as u64;
            verdict.expected += steps + missing;
            verdict.received += received;
            match self.strictness {
                Strictness::EachTransition => missing += skipped,
                _ => verdict.superseded += skipped,
            }
            verdict.count(Fault::Missing, missing, || {
                format!("user #{} was not shown {missing} changes of contact #{}", stretch.watcher, stretch.subject)
            });
        }
        for (user, chain) in self.chains.iter().enumerate() {
            for shown in chain.unexplained() {
                verdict.add(Fault::Wrong, || format!("user #{user} was shown as {shown:?}, and never did that"));
            }
        }
        verdict
    }
}
