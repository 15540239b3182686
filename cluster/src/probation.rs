//! The probation of a replica that began with nothing: until it holds what its group had committed when a leader first spoke to
//! it, it neither votes nor stands for election.
//!
//! A node may have kept a replica of the same group before, under the same identity, and have dropped it with its log and votes. The
//! beginning of the log that it is sent may hold memberships of that time: by one of them it could elect itself, or somebody who was
//! left behind, against what was committed since. Whoever holds the log up to the bar also holds the membership without it, which was
//! committed before anything was dropped. Promises that the bar is what a leader knew to be committed in its own term, and thus all
//! that was.
//!
//! It is not kept on disk: a replica that is started again half-way is taken for a whole one.

use parking_lot::Mutex;

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No leader has said yet what is committed.
    Unheard,
    /// Until the log reaches this index.
    Until(u64),
    /// It takes part.
    Over,
}

/// The probation of one replica.
#[derive(Debug)]
pub(crate) struct Probation(Mutex<Stage>);

impl Probation {
    /// Of a replica that is `empty`, or of one that has taken part before.
    pub(crate) fn new(empty: bool) -> Self {
        Self(Mutex::new(if empty { Stage::Unheard } else { Stage::Over }))
    }

    /// Whether the replica takes part.
    pub(crate) fn is_over(&self) -> bool {
        *self.0.lock() == Stage::Over
    }

    /// The replica is the first of its group.
    pub(crate) fn end(&self) {
        *self.0.lock() = Stage::Over;
    }

    /// A leader of `term` said that it has committed up to `committed`, a term and an index, and the log here reaches to `last`.
    /// Answers whether the probation is over by that.
    pub(crate) fn heard(&self, term: u64, committed: Option<(u64, u64)>, last: Option<u64>) -> bool {
        let mut stage = self.0.lock();
        if *stage == Stage::Unheard
            && let Some((_, index)) = committed.filter(|(of, _)| *of == term)
        {
            *stage = Stage::Until(index);
        }
        let is_there = matches!(*stage, Stage::Until(bar) if last >= Some(bar));
        if is_there {
            *stage = Stage::Over;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_with_the_log_up_to_what_the_first_leader_had_committed() {
        let probation = Probation::new(true);
        assert!(!probation.heard(4, Some((4, 36)), None));
        assert!(!probation.heard(4, Some((4, 50)), Some(35)) && !probation.is_over());
        assert!(probation.heard(4, Some((4, 50)), Some(36)) && probation.is_over());
        assert!(!probation.heard(4, Some((4, 51)), Some(51)), "over once");
    }

    #[test]
    fn what_was_committed_in_an_earlier_term_may_not_be_all() {
        let probation = Probation::new(true);
        assert!(!probation.heard(5, Some((4, 7)), Some(7)) && !probation.heard(5, None, Some(7)));
        assert!(!probation.heard(5, Some((5, 9)), Some(7)));
        assert!(probation.heard(5, Some((5, 9)), Some(9)));
    }

    #[test]
    fn who_has_taken_part_before_and_who_founds_has_none() {
        assert!(Probation::new(false).is_over());
        let founder = Probation::new(true);
        founder.end();
        assert!(founder.is_over());
    }
}
