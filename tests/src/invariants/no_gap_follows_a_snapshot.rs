//! No gap follows a snapshot: what is acknowledged after a connection's snapshot of its user reaches that connection in time,
//! it or something newer. While something is broken, and until it is healed, nobody promises how soon; what is missed
//! for good is found by `all_is_equal_after_quiescence`.

use super::{Verdict, watches};
use crate::history::{History, Micros, Op, OpKind, Sighting, Source};
use std::collections::BTreeMap;

/// Judges every acknowledged status and every connection that had a snapshot of its user: by what is held when the time is
/// over, or when the connection ends.
#[must_use]
pub fn no_gap_follows_a_snapshot(history: &History) -> Verdict {
    let mut verdict = Verdict::of("no gap follows a snapshot");
    let promises = &history.promises;
    let mut writes: BTreeMap<&str, Vec<Write<'_>>> = BTreeMap::new();
    for op in history.acknowledged(OpKind::SetStatus) {
        let Some(version) = op.version else { continue };
        let until = op.end + promises.delivery_us;
        // Asked once a write, not once a watcher.
        let promised = history.is_calm(op.start, until, promises.heal_us);
        writes.entry(&op.user).or_default().push(Write { op, version, until, promised });
    }
    for watch in watches::all(history) {
        for write in writes.get(watch.subject).into_iter().flatten() {
            match judge_one(&watch, write) {
                Some(broken) => verdict.judge(broken),
                None => verdict.unjudged += 1,
            }
        }
    }
    verdict
}

/// An acknowledged status.
struct Write<'a> {
    op: &'a Op,
    version: u64,
    /// When it must have come.
    until: Micros,
    /// Whether that is promised.
    promised: bool,
}

/// How it is broken, if it is; `None` if it cannot be told.
fn judge_one(watch: &watches::Watch<'_>, write: &Write<'_>) -> Option<Option<String>> {
    let Write { op, version, until, promised } = write;
    let connection = watch.connection_at(op.end)?;
    let of_connection = |s: &&Sighting| s.connection == connection.link.connection;
    let mut before = watch.shown_within(connection.link.at, op.end).iter().copied().filter(of_connection);
    before.find(|s| s.source == Source::Snapshot)?;
    let held = watch.held_at((*until).min(connection.until)).filter(of_connection)?;
    let held = held.presence.as_ref().filter(|held| held.version > 0)?;
    if held.version >= *version {
        return Some(None);
    }
    let (watcher, subject, node) = (watch.watcher, watch.subject, &connection.link.node);
    let certain = *promised && !held.stale && connection.until > *until;
    certain.then(|| {
        Some(format!(
            "{watcher} at {node} still holds {subject} with version {} at {until} µs, and {version} was acknowledged at {} µs",
            held.version, op.end
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = no_gap_follows_a_snapshot(&holding());
        assert!(verdict.holds() && verdict.judged == 8, "{verdict:?}");
    }

    #[test]
    fn a_change_that_does_not_come_is_seen_also_if_the_next_one_does() {
        let told = broken_by(no_gap_follows_a_snapshot, |h| {
            h.sightings.retain(|s| s.watcher != "w2" || s.presence.as_ref().is_none_or(|p| p.version != 2));
        });
        assert!(told.contains("w2 at n2 still holds alice with version 1"), "{told}");
    }

    #[test]
    fn what_comes_late_because_of_a_fault_is_not_judged() {
        let mut history = holding();
        history.faults[0].start = 2_050_000;
        history.sightings.retain(|s| s.presence.as_ref().is_none_or(|p| p.version != 2));
        assert!(no_gap_follows_a_snapshot(&history).holds());
    }
}
