//! What a replay plays: people, who is whose contact, and transitions in order.
//!
//! Owns the order of steps (endings before openings within a second) and the count of notifications that a faultless
//! server makes of them. Promises that every user has at most one session at a time.

use std::{collections::BTreeSet, sync::Arc};

/// A user's place in the script.
pub(crate) type UserIx = u32;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// The session is ended by a clean close.
    End,
    /// A session is opened.
    Open,
    /// The connection is lost without a close; nobody is to see it.
    Drop,
    /// The lost connection's session is taken over by a new one; nobody is to see it.
    Resume,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// When, since the start of the trace, ms.
    pub(crate) at_ms: u64,
    pub(crate) user: UserIx,
    pub(crate) action: Action,
}

/// Who is whose contact: both ways, sorted, never oneself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Friends(Vec<Box<[UserIx]>>);

impl Friends {
    /// Each pair once, whichever way round and however often it is given.
    pub(crate) fn of_pairs(users: usize, pairs: &[(UserIx, UserIx)]) -> Self {
        let mut lists = vec![Vec::new(); users];
        for &(a, b) in pairs.iter().filter(|(a, b)| a != b) {
            lists[a as usize].push(b);
            lists[b as usize].push(a);
        }
        let sorted = |mut list: Vec<UserIx>| {
            list.sort_unstable();
            list.dedup();
            list.into_boxed_slice()
        };
        Self(lists.into_iter().map(sorted).collect())
    }

    pub(crate) fn of(&self, user: UserIx) -> &[UserIx] {
        &self.0[user as usize]
    }

    /// How many pairs there are.
    pub(crate) fn pairs(&self) -> usize {
        self.0.iter().map(|l| l.len()).sum::<usize>() / 2
    }

    /// The most contacts of one user.
    pub(crate) fn most(&self) -> usize {
        self.0.iter().map(|l| l.len()).max().unwrap_or(0)
    }
}

/// A whole play.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) users: Vec<String>,
    pub(crate) friends: Arc<Friends>,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// Puts `steps` in order: by second, endings before openings, otherwise as they were given.
    pub(crate) fn new(users: Vec<String>, friends: Friends, mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|s| (s.at_ms, s.action, s.user));
        Self { users, friends: Arc::new(friends), steps }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.steps.iter().filter(|s| s.action == Action::Open).count()
    }

    /// How many openings and endings there are.
    pub(crate) fn transitions(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Open | Action::End)).count()
    }

    pub(crate) fn flaps(&self) -> usize {
        self.steps.iter().filter(|s| s.action == Action::Drop).count()
    }

    /// The most users online at once, and after which step they first are.
    pub(crate) fn peak(&self) -> (usize, usize) {
        let mut online = 0_usize;
        let mut peak = (0, 0);
        for (index, step) in self.steps.iter().enumerate() {
            match step.action {
                Action::Open => online += 1,
                Action::End => online = online.saturating_sub(1),
                Action::Drop | Action::Resume => {}
            }
            if online > peak.0 {
                peak = (online, index);
            }
        }
        peak
    }

    /// After which step nobody opens any more.
    pub(crate) fn last_opening(&self) -> usize {
        self.steps.iter().rposition(|s| s.action == Action::Open).unwrap_or(0)
    }

    /// How many notifications a faultless server makes when every step waits for the last one: each transition once at
    /// each contact that is connected at that moment.
    pub(crate) fn expected(&self) -> u64 {
        let mut connected: BTreeSet<UserIx> = BTreeSet::new();
        let mut expected = 0;
        for step in &self.steps {
            if matches!(step.action, Action::End | Action::Drop) {
                connected.remove(&step.user);
            }
            if matches!(step.action, Action::Open | Action::End) {
                expected += self.friends.of(step.user).iter().filter(|f| connected.contains(f)).count() as u64;
            }
            if matches!(step.action, Action::Open | Action::Resume) {
                connected.insert(step.user);
            }
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at_ms: u64, user: UserIx, action: Action) -> Step {
        Step { at_ms, user, action }
    }

    #[test]
    fn each_connected_contact_is_told_once() {
        let friends = Friends::of_pairs(3, &[(0, 1), (1, 0), (1, 2), (2, 2)]);
        assert_eq!((friends.pairs(), friends.most()), (2, 2));
        let steps = vec![
            step(0, 0, Action::Open),
            step(1, 1, Action::Open), // seen by 0
            step(2, 0, Action::Drop),
            step(3, 2, Action::Open),   // seen by 1
            step(4, 1, Action::End),    // seen by 2; 0 is not connected
            step(5, 0, Action::Resume), // finds it in its snapshot
            step(6, 0, Action::End),
            step(7, 2, Action::End),
        ];
        let script = Script::new(vec!["a".into(), "b".into(), "c".into()], friends, steps);
        assert_eq!(script.expected(), 3);
        assert_eq!(script.peak(), (3, 3));
        assert_eq!(script.last_opening(), 3);
        assert_eq!((script.sessions(), script.transitions(), script.flaps()), (3, 6, 1));
    }
}
