//! What a replay found: counts, and the first faults in words.
//!
//! Owns the rule that a replay is faultless when every count of a difference is zero.

/// Faults told in words; the rest is only counted.
const NOTES_MAX: usize = 20;

/// A difference between what should have been seen and what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A connected contact was never shown a transition, nor anything newer.
    Missing,
    /// The same version was shown twice.
    Duplicated,
    /// An older version was shown after a newer one.
    OutOfOrder,
    /// Something was shown that no transition explains, or that others were shown differently.
    Wrong,
    /// A connection ended by itself, or a session was not resumed.
    Lost,
    /// The server refused a request, or did not answer.
    Failed,
}

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) superseded: u64,
    /// Happened between two connections of a watcher, and was in the snapshot of the later one or superseded by it.
    pub(crate) covered: u64,
    /// Entries of histories that only faults explain.
    pub(crate) explained: u64,
    pub(crate) missing: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) failed: u64,
    /// Shown again only because the node's certainty about it changed.
    pub(crate) restated: u64,
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    /// Counts a fault, and keeps its words if there is room.
    pub(crate) fn add(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        self.count(fault, 1, words);
    }

    /// Counts a fault `times` over.
    pub(crate) fn count(&mut self, fault: Fault, times: u64, words: impl FnOnce() -> String) {
        if times == 0 {
            return;
        }
        *match fault {
            Fault::Missing => &mut self.missing,
            Fault::Duplicated => &mut self.duplicated,
            Fault::OutOfOrder => &mut self.out_of_order,
            Fault::Wrong => &mut self.wrong,
            Fault::Lost => &mut self.lost,
            Fault::Failed => &mut self.failed,
        } += times;
        if self.notes.len() < NOTES_MAX {
            self.notes.push(words());
        }
    }

    /// How many differences there are.
    pub(crate) fn faults(&self) -> u64 {
        self.missing + self.duplicated + self.out_of_order + self.wrong + self.lost + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_counts_and_only_the_first_are_told() {
        let mut verdict = Verdict::default();
        for fault in [Fault::Missing, Fault::Duplicated, Fault::OutOfOrder, Fault::Wrong, Fault::Lost, Fault::Failed] {
            verdict.count(fault, 10, || "x".into());
        }
        verdict.count(Fault::Wrong, 0, || unreachable!());
        assert_eq!((verdict.faults(), verdict.notes.len()), (60, 6));
        for _ in 0..100 {
            verdict.add(Fault::Wrong, || "y".into());
        }
        assert_eq!(verdict.notes.len(), NOTES_MAX);
    }
}
