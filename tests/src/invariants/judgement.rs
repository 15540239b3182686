//! All verdicts on a history, as a table and as one finding.

use super::{CHECKERS, Verdict, validity};
use crate::history::History;
use std::{fmt, process::ExitCode};

/// Most cases of a promise that the table shows.
const SHOWN_MAX: usize = 5;

/// What comes of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Every promise was kept.
    Holds,
    /// A promise was broken.
    Violated,
    /// Nothing was broken, but the run proves nothing.
    Invalid,
}

/// All verdicts on a history.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// A verdict a promise.
    pub verdicts: Vec<Verdict>,
    /// Why the run proves nothing, if so.
    pub invalid: Vec<String>,
}

/// Judges a history by every checker.
#[must_use]
pub fn judge(history: &History) -> Judgement {
    Judgement { verdicts: CHECKERS.iter().map(|check| check(history)).collect(), invalid: validity(history) }
}

impl Judgement {
    /// What comes of it. A broken promise counts in an invalid run too.
    #[must_use]
    pub fn finding(&self) -> Finding {
        if self.verdicts.iter().any(|v| !v.holds()) {
            Finding::Violated
        } else if self.invalid.is_empty() {
            Finding::Holds
        } else {
            Finding::Invalid
        }
    }

    /// 0 if all holds, 1 if something was broken, 3 if the run proves nothing.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.finding() {
            Finding::Holds => ExitCode::SUCCESS,
            Finding::Violated => ExitCode::from(1),
            Finding::Invalid => ExitCode::from(3),
        }
    }

    /// The verdict on a promise, by its sentence.
    #[must_use]
    pub fn verdict(&self, promise: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|v| v.promise == promise)
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<58} {:>9} {:>9} {:>9}", "promise", "judged", "unjudged", "broken")?;
        for verdict in &self.verdicts {
            let Verdict { promise, judged, unjudged, broken, .. } = verdict;
            let untried = if *judged == 0 { "  never tried" } else { "" };
            writeln!(f, "{promise:<58} {judged:>9} {unjudged:>9} {broken:>9}{untried}")?;
        }
        for verdict in self.verdicts.iter().filter(|v| !v.holds()) {
            writeln!(f, "\n{}:", verdict.promise)?;
            for violation in verdict.violations.iter().take(SHOWN_MAX) {
                writeln!(f, "  {}", violation.0)?;
            }
        }
        for reason in &self.invalid {
            writeln!(f, "\ninvalid: {reason}")?;
        }
        writeln!(f, "\n{:?}", self.finding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::Promises, invariants::planted::holding};

    #[test]
    fn the_holding_history_holds_and_every_promise_is_tried() {
        let judgement = judge(&holding());
        assert_eq!(judgement.finding(), Finding::Holds, "{judgement}");
        let untried: Vec<&str> = judgement.verdicts.iter().filter(|v| v.judged == 0).map(|v| v.promise).collect();
        assert_eq!(untried, [] as [&str; 0]);
    }

    #[test]
    fn a_broken_promise_is_violated_and_shown() {
        let mut history = holding();
        history.pages[0].entries.remove(1);
        history.quiet_at = None;
        let judgement = judge(&history);
        assert_eq!(judgement.finding(), Finding::Violated, "also where the run is invalid");
        assert!(judgement.to_string().contains("s-a-1 of alice"), "{judgement}");
    }

    #[test]
    fn an_empty_run_is_invalid_and_says_that_nothing_was_tried() {
        let judgement = judge(&History::new(Promises::default()));
        assert_eq!(judgement.finding(), Finding::Invalid);
        assert!(judgement.to_string().contains("never tried"), "{judgement}");
    }
}
