//! Acknowledged is never lost: every acknowledged status is in its user's history with the version that was answered, and
//! no node shows an older state in the end.

use super::{Verdict, kept};
use crate::history::{History, OpKind, Outcome, Pages};
use std::collections::BTreeMap;

/// Judges every acknowledged write of a user whose history was read.
#[must_use]
pub fn acknowledged_is_never_lost(history: &History) -> Verdict {
    let mut verdict = Verdict::of("acknowledged is never lost");
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.kind.is_durable() && op.outcome == Outcome::Ok) {
        let newest = newest.entry(&op.user).or_default();
        *newest = (*newest).max(op.version.unwrap_or(0));
    }
    for pages in &history.pages {
        judge_pages(history, pages, &mut verdict);
    }
    for read in history.reads.iter().filter(|read| read.presence.version > 0) {
        let acknowledged = newest.get(read.user.as_str()).copied().unwrap_or(0);
        let shown = read.presence.version;
        verdict.judge((shown < acknowledged).then(|| {
            format!(
                "{} says of {} in the end version {shown}, and {acknowledged} was acknowledged",
                read.node, read.user
            )
        }));
    }
    verdict
}

fn judge_pages(history: &History, pages: &Pages, verdict: &mut Verdict) {
    let mut unnamed = kept::unnamed(pages);
    let named = kept::by_serial(pages);
    for op in history.acknowledged(OpKind::SetStatus).filter(|op| op.user == pages.user) {
        let (Some(serial), Some(version)) = (&op.serial, op.version) else {
            verdict.unjudged += 1;
            continue;
        };
        if !pages.complete && pages.entries.first().is_none_or(|oldest| version <= oldest.version) {
            verdict.unjudged += 1;
            continue;
        }
        let broken = match named.get(serial.as_str()) {
            Some(versions) if versions.contains(&version) => None,
            Some(versions) => Some(format!("was answered with version {version} and is there with {versions:?}")),
            // Of a user who is offline no text is kept: an entry of that version stands for it.
            None if kept::take(&mut unnamed, version) => None,
            None => Some(format!("with version {version}, acknowledged by {} at {} µs, is gone", op.node, op.end)),
        };
        verdict.judge(broken.map(|how| format!("{serial} of {} {how} ({}'s word)", op.user, pages.node)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = acknowledged_is_never_lost(&holding());
        assert!(verdict.holds() && verdict.judged >= 5, "{verdict:?}");
    }

    #[test]
    fn an_entry_that_is_gone_is_seen() {
        let told = broken_by(acknowledged_is_never_lost, |h| {
            h.pages[0].entries.retain(|e| e.text.as_deref() != Some("s-a-2"));
        });
        assert!(told.contains("is gone"), "{told}");
    }

    #[test]
    fn an_entry_of_another_version_than_was_answered_is_seen() {
        let told = broken_by(acknowledged_is_never_lost, |h| h.pages[0].entries[2].version = 9);
        assert!(told.contains("is there with [9]"), "{told}");
    }

    #[test]
    fn an_older_state_in_the_end_is_seen() {
        let told = broken_by(acknowledged_is_never_lost, |h| h.reads[0].presence.version = 3);
        assert!(told.contains("in the end version 3"), "{told}");
    }

    #[test]
    fn an_entry_without_text_stands_for_one_write_of_its_version_only() {
        let mut history = holding();
        history.pages[0].entries[2].text = None;
        assert!(acknowledged_is_never_lost(&history).holds(), "set while offline");
        let told = broken_by(acknowledged_is_never_lost, |h| {
            h.pages[0].entries[2].text = None;
            h.pages[0].entries[2].version = 1;
        });
        assert!(told.contains("is gone"), "{told}");
    }

    #[test]
    fn what_is_older_than_a_shortened_history_is_not_judged() {
        let mut history = holding();
        history.pages[0].complete = false;
        history.pages[0].entries.drain(..3);
        let verdict = acknowledged_is_never_lost(&history);
        assert!(verdict.holds() && verdict.unjudged > 0, "{verdict:?}");
    }
}
