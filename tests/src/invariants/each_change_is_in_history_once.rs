//! Each change is in history once: acknowledged ones exactly once, unknown ones at most once, refused ones never, and the
//! versions of a history never fall.

use super::{Verdict, kept};
use crate::history::{History, OpKind, Outcome, Pages};

/// Judges every write of a user whose history was read.
#[must_use]
pub fn each_change_is_in_history_once(history: &History) -> Verdict {
    let mut verdict = Verdict::of("each change is in history once");
    for pages in &history.pages {
        judge_pages(history, pages, &mut verdict);
    }
    verdict
}

fn judge_pages(history: &History, pages: &Pages, verdict: &mut Verdict) {
    let named = kept::by_serial(pages);
    let mut unnamed = kept::unnamed(pages);
    for op in history.ops.iter().filter(|op| op.user == pages.user && op.kind == OpKind::SetStatus) {
        let Some(serial) = &op.serial else { continue };
        let mut count = named.get(serial.as_str()).map_or(0, Vec::len);
        if count == 0 && op.outcome == Outcome::Ok {
            count = usize::from(op.version.is_some_and(|version| kept::take(&mut unnamed, version)));
        }
        let shortened = !pages.complete && count == 0;
        let broken = match op.outcome {
            Outcome::Ok if shortened => {
                verdict.unjudged += 1;
                continue;
            }
            Outcome::Ok if count != 1 => Some(format!("acknowledged, is there {count} times")),
            Outcome::Unknown if count > 1 => Some(format!("without an answer, is there {count} times")),
            Outcome::Fail if count > 0 => Some(format!("refused, is there {count} times")),
            _ => None,
        };
        verdict.judge(broken.map(|how| format!("{serial} of {}, {how}", op.user)));
    }
    for pair in pages.entries.windows(2) {
        verdict.judge((pair[1].version < pair[0].version).then(|| {
            format!("in the history of {} version {} follows {}", pages.user, pair[1].version, pair[0].version)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = each_change_is_in_history_once(&holding());
        assert!(verdict.holds() && verdict.judged > 6, "{verdict:?}");
    }

    #[test]
    fn an_acknowledged_change_that_is_missing_or_there_twice_is_seen() {
        let told = broken_by(each_change_is_in_history_once, |h| {
            h.pages[0].entries.remove(1);
        });
        assert!(told.contains("acknowledged, is there 0 times"), "{told}");
        let told = broken_by(each_change_is_in_history_once, |h| {
            let again = h.pages[0].entries[1].clone();
            h.pages[0].entries.insert(2, again);
        });
        assert!(told.contains("acknowledged, is there 2 times"), "{told}");
    }

    #[test]
    fn an_unknown_change_may_be_missing_but_not_be_there_twice() {
        let mut history = holding();
        history.pages[0].entries.retain(|e| e.text.as_deref() != Some("s-a-3"));
        assert!(each_change_is_in_history_once(&history).holds(), "it never took effect");
        let told = broken_by(each_change_is_in_history_once, |h| {
            let again = h.pages[0].entries[3].clone();
            h.pages[0].entries.insert(4, again);
        });
        assert!(told.contains("without an answer, is there 2 times"), "{told}");
    }

    #[test]
    fn a_refused_change_in_history_is_seen() {
        let told = broken_by(each_change_is_in_history_once, |h| {
            h.pages[0].entries[3].text = Some("s-a-5".into());
        });
        assert!(told.contains("refused, is there 1 times"), "{told}");
    }

    #[test]
    fn versions_that_fall_in_a_history_are_seen() {
        let told = broken_by(each_change_is_in_history_once, |h| h.pages[0].entries.swap(1, 2));
        assert!(told.contains("version 2 follows 3"), "{told}");
    }
}
