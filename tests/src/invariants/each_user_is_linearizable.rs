//! Each user is linearizable: the texts that reads show, other than stale ones, fit one order of all writes in which every op
//! takes effect between its request and its answer. todc-utils' checker (Wing and Gong, with Lowe's cache) searches for it.
//!
//! Its time rises steeply with the length of a history, so a user's ops are cut into windows, each after a write that was
//! alone in time: whatever happened before, its text is what the next window begins with. Where no such write comes
//! within [`WINDOW_MAX`] ops, the window is judged as far as it goes, and what follows up to the next such write is not.
//! A write without an answer takes effect at any time after its request or never: it belongs to the window in which it is read.

use super::Verdict;
use crate::history::{History, Micros, Op, OpKind, Outcome};
use std::collections::BTreeMap;
use todc_utils::{Action, History as Actions, Specification, WGLChecker};

/// Ops of a window, before one is looked for a write that ends it.
const WINDOW_MIN: usize = 48;
/// Most ops of a window: the checker's time is at least cubic in them.
const WINDOW_MAX: usize = 256;

/// A text by its number; 0 is none.
type Text = u32;

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(Text),
    Read(Text),
}

struct Register;

impl Specification for Register {
    type State = Text;
    type Operation = Step;

    fn init() -> Text {
        0
    }

    fn apply(step: &Step, state: &Text) -> (bool, Text) {
        match step {
            Step::Write(text) => (true, *text),
            Step::Read(text) => (text == state, *state),
        }
    }
}

/// An op as the checker sees it.
#[derive(Debug, Clone, Copy)]
struct Timed {
    step: Step,
    start: Micros,
    /// Never, if it may take effect later.
    end: Micros,
}

/// Judges every user with writes: the ops of windows that were searched count as judged.
#[must_use]
pub fn each_user_is_linearizable(history: &History) -> Verdict {
    let mut verdict = Verdict::of("each user is linearizable");
    for (user, ops) in history.ops_by_user() {
        let (known, unknown) = timed(&ops);
        Windows { user, known, unknown, window: Vec::new(), first: 0, open: true }.judge(&mut verdict);
    }
    verdict
}

/// A user's ops with an answer, and the writes without one; by the time of the request.
fn timed(ops: &[&Op]) -> (Vec<Timed>, Vec<Timed>) {
    let mut numbers: BTreeMap<String, Text> = BTreeMap::new();
    let mut number = |text: Option<&str>| match text {
        Some(text) => {
            let next = Text::try_from(numbers.len() + 1).unwrap_or(Text::MAX);
            *numbers.entry(text.to_owned()).or_insert(next)
        }
        None => 0,
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for op in ops {
        let step = match (op.kind, op.outcome) {
            (_, Outcome::Fail) | (OpKind::Read, Outcome::Unknown) => continue,
            (OpKind::SetStatus, _) => Step::Write(number(op.serial.as_deref())),
            (OpKind::ClearStatus, _) => Step::Write(0),
            (OpKind::Read, Outcome::Ok) => match &op.seen {
                // While somebody is shown offline the text is hidden, and what is stale promises nothing.
                Some(seen) if !seen.stale && !seen.is_offline() => Step::Read(number(seen.text.as_deref())),
                _ => continue,
            },
            _ => continue,
        };
        let timed = Timed { step, start: op.start, end: op.latest() };
        if op.outcome == Outcome::Unknown { unknown.push(timed) } else { known.push(timed) }
    }
    known.sort_by_key(|op| op.start);
    (known, unknown)
}

/// A user's ops on their way through windows.
struct Windows<'a> {
    user: &'a str,
    known: Vec<Timed>,
    /// Writes without an answer that nobody was shown so far.
    unknown: Vec<Timed>,
    window: Vec<Timed>,
    /// What the window begins with.
    first: Text,
    /// Whether that is known.
    open: bool,
}

impl Windows<'_> {
    fn judge(mut self, verdict: &mut Verdict) {
        let known = std::mem::take(&mut self.known);
        let mut latest = 0;
        for (at, op) in known.iter().enumerate() {
            let alone = op.start > latest && known.get(at + 1).is_none_or(|next| next.start > op.end);
            latest = latest.max(op.end);
            if self.open {
                self.window.push(*op);
            } else {
                verdict.unjudged += 1;
            }
            match op.step {
                Step::Write(text) if alone && (!self.open || self.window.len() >= WINDOW_MIN) => {
                    self.close(verdict, Micros::MAX);
                    self.first = text;
                    self.open = true;
                }
                _ if self.open && self.window.len() >= WINDOW_MAX => {
                    // What has no answer by the last request is judged as if it had none at all.
                    self.close(verdict, op.start);
                    self.open = false;
                }
                _ => {}
            }
        }
        self.close(verdict, Micros::MAX);
    }

    /// Searches the window as of `until`, and empties it.
    fn close(&mut self, verdict: &mut Verdict, until: Micros) {
        let window = std::mem::take(&mut self.window);
        let (mut ops, late): (Vec<Timed>, Vec<Timed>) = window.into_iter().partition(|op| op.end <= until);
        let begins = ops.iter().map(|op| op.start).min().unwrap_or(0);
        let ends = ops.iter().map(|op| op.end).max().unwrap_or(0);
        verdict.unjudged += late.len();
        verdict.judged += ops.len();
        // A write that nobody is shown may as well come last: only one that is shown makes a difference.
        let is_shown = |write: &Timed| match write.step {
            Step::Write(text) => ops.iter().any(|op| matches!(op.step, Step::Read(shown) if shown == text)),
            Step::Read(_) => false,
        };
        let (shown, unseen): (Vec<Timed>, Vec<Timed>) = self.unknown.drain(..).partition(is_shown);
        self.unknown = unseen;
        let late = late.into_iter().filter(is_shown).map(|op| Timed { end: Micros::MAX, ..op });
        let more: Vec<Timed> = shown.into_iter().chain(late).collect();
        ops.extend(more.into_iter().filter(|op| op.start <= ends));
        if !WGLChecker::<Register>::is_linearizable(actions(self.first, &ops)) {
            verdict.judged -= 1;
            let count = ops.len();
            let user = self.user;
            verdict.judge(Some(format!(
                "no order of the {count} ops on {user} from {begins} to {ends} µs fits what was read"
            )));
        }
    }
}

/// Requests and answers by time, after a write of `first`. At the same moment requests come first: they may be concurrent.
fn actions(first: Text, ops: &[Timed]) -> Actions<Step> {
    let mut events: Vec<(Micros, bool, usize)> = Vec::new();
    for (process, op) in (1..).zip(ops) {
        events.push((op.start, false, process));
        events.push((op.end, true, process));
    }
    events.sort_unstable();
    let begin = Step::Write(first);
    let mut actions = vec![(0, Action::Call(begin)), (0, Action::Response(begin))];
    actions.extend(events.into_iter().map(|(_, answered, process)| {
        let step = ops[process - 1].step;
        (process, if answered { Action::Response(step) } else { Action::Call(step) })
    }));
    Actions::from_actions(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding, presence, read, write};

    /// Shows Alice's text `number` to a read from `start_ms` on.
    fn shows(number: u32, start_ms: Micros) -> Op {
        read(start_ms, presence("dnd", Some(&format!("s-a-{number}")), u64::from(number)), "n1")
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = each_user_is_linearizable(&holding());
        assert!(verdict.holds() && verdict.judged == 7, "{verdict:?}");
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_seen() {
        let told = broken_by(each_user_is_linearizable, |h| h.ops.push(shows(1, 3_300)));
        assert!(told.contains("no order"), "{told}");
    }

    #[test]
    fn two_reads_that_disagree_about_the_order_of_concurrent_writes_are_seen() {
        broken_by(each_user_is_linearizable, |h| {
            let both = |number| Op { end: 52_000_000, ..write(number, 50_000, Outcome::Ok, Some(9), "n1") };
            h.ops.extend([both(20), both(21)]);
            h.ops.extend([shows(20, 50_200), shows(21, 50_400), shows(20, 50_600)]);
        });
    }

    #[test]
    fn a_write_without_an_answer_may_come_late_but_does_not_come_again() {
        let mut history = holding();
        // s-a-3 had no answer; it is shown long after, and once shown it stays.
        history.ops.extend([shows(3, 7_600), shows(3, 7_800)]);
        assert!(each_user_is_linearizable(&history).holds());
        history.ops.push(shows(2, 8_000));
        assert!(!each_user_is_linearizable(&history).holds(), "back to what it had overwritten");
    }

    #[test]
    fn a_fault_is_found_behind_any_number_of_windows() {
        let mut history = History::default();
        for number in 0..500 {
            let start = u64::from(number) * 1_000;
            history.ops.push(write(number, start, Outcome::Ok, Some(u64::from(number) + 1), "n1"));
            history.ops.push(shows(number, start + 300));
        }
        let verdict = each_user_is_linearizable(&history);
        assert!(verdict.holds() && verdict.judged == 1_000 && verdict.unjudged == 0, "{verdict:?}");
        history.ops.push(shows(350, 400_500));
        assert!(!each_user_is_linearizable(&history).holds());
    }

    #[test]
    fn a_write_without_an_answer_that_was_shown_in_one_window_does_not_come_again_in_another() {
        let mut history = History::default();
        history.ops.push(write(900, 0, Outcome::Unknown, None, "n1"));
        history.ops.push(shows(900, 500));
        for number in 1..200 {
            history.ops.push(write(number, u64::from(number) * 1_000, Outcome::Ok, Some(u64::from(number)), "n1"));
        }
        assert!(each_user_is_linearizable(&history).holds());
        history.ops.push(shows(900, 150_500));
        assert!(!each_user_is_linearizable(&history).holds());
    }

    #[test]
    fn what_never_comes_to_rest_is_judged_up_to_the_bound_and_said_to_be_unjudged_after_it() {
        let mut history = History::default();
        // Each write overlaps the next one.
        for number in 0..600 {
            let op = write(number, u64::from(number) * 80, Outcome::Ok, Some(u64::from(number) + 1), "n1");
            history.ops.push(op);
        }
        let verdict = each_user_is_linearizable(&history);
        assert!(verdict.holds() && verdict.unjudged > 300 && verdict.judged > 200, "{verdict:?}");
        let unread = shows(900, 10_050);
        history.ops.push(unread);
        assert!(!each_user_is_linearizable(&history).holds(), "within the bound all is searched");
    }
}
