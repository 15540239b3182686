//! Nothing is seen that nobody wrote: every text was sent by somebody, before it was seen, and was not refused; and it is
//! never shown with a lower version than it was acknowledged with.

use super::Verdict;
use crate::history::{History, Micros, Op, OpKind, Presence};
use std::collections::BTreeMap;

/// Judges every text in a frame, a read, and a history.
#[must_use]
pub fn nothing_is_seen_that_nobody_wrote(history: &History) -> Verdict {
    let mut verdict = Verdict::of("nothing is seen that nobody wrote");
    let writes = history.ops.iter().filter(|op| op.kind == OpKind::SetStatus);
    let written: BTreeMap<(&str, &str), &Op> =
        writes.filter_map(|op| Some(((op.user.as_str(), op.serial.as_deref()?), op))).collect();
    let mut judge = |by: &str, at: Micros, user: &str, text: Option<&str>, version: u64| {
        if let Some(text) = text {
            let broken = guilt(written.get(&(user, text)).copied(), at, version);
            verdict.judge(broken.map(|how| format!("{by} is shown {text:?} of {user} at {at} µs: {how}")));
        }
    };
    let of = |presence: &Presence| (presence.text.clone(), presence.version);
    for sighting in &history.sightings {
        if let Some((text, version)) = sighting.presence.as_ref().map(of) {
            judge(&sighting.watcher, sighting.at, &sighting.subject, text.as_deref(), version);
        }
    }
    for op in &history.ops {
        if let (OpKind::Read, Some((text, version))) = (op.kind, op.seen.as_ref().map(of)) {
            judge(&op.client, op.end, &op.user, text.as_deref(), version);
        }
    }
    for read in &history.reads {
        let (text, version) = of(&read.presence);
        judge(&read.viewer, read.at, &read.user, text.as_deref(), version);
    }
    for pages in &history.pages {
        for entry in &pages.entries {
            judge("who reads the history", Micros::MAX, &pages.user, entry.text.as_deref(), u64::MAX);
        }
    }
    verdict
}

/// What is wrong with seeing what `written` wrote.
fn guilt(written: Option<&Op>, at: Micros, version: u64) -> Option<String> {
    match written {
        None => Some("nobody wrote it".into()),
        Some(op) if !op.may_have_happened() => Some("it was refused".into()),
        Some(op) if at < op.start => Some(format!("it was sent at {} µs", op.start)),
        Some(op) => {
            let acknowledged = op.version.filter(|v| version < *v)?;
            Some(format!("with version {version}, and it was acknowledged with {acknowledged}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    fn text(history: &mut History, at: usize, text: &str) {
        history.sightings[at].presence.as_mut().expect("shown").text = Some(text.into());
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = nothing_is_seen_that_nobody_wrote(&holding());
        assert!(verdict.holds() && verdict.judged > 10, "{verdict:?}");
    }

    #[test]
    fn an_invented_text_is_seen_in_a_frame_a_read_and_a_history() {
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| text(h, 3, "torn"));
        assert!(told.contains("nobody wrote it"), "{told}");
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| h.reads[0].presence.text = Some("torn".into()));
        assert!(told.contains("nobody wrote it"), "{told}");
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| h.pages[1].entries[0].text = Some("s-a-1".into()));
        assert!(told.contains("nobody wrote it"), "another user's: {told}");
    }

    #[test]
    fn a_refused_text_is_seen() {
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| text(h, 3, "s-a-5"));
        assert!(told.contains("it was refused"), "{told}");
    }

    #[test]
    fn a_text_before_it_was_sent_is_seen() {
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| text(h, 0, "s-a-1"));
        assert!(told.contains("it was sent at"), "{told}");
    }

    #[test]
    fn a_text_under_a_lower_version_than_was_acknowledged_is_seen() {
        let told = broken_by(nothing_is_seen_that_nobody_wrote, |h| h.reads[0].presence.version = 5);
        assert!(told.contains("acknowledged with 6"), "{told}");
    }
}
