//! No revoked view is revived: once a viewer may no longer see a user, watchers with these eyes are shown the never-seen user
//! in time, and nothing else before the permission is given again.
//!
//! Judges clusters with `presence.visibility = "contacts"`, where taking a contact away and blocking each end the permission.

use super::{Verdict, watches};
use crate::history::{History, Micros, Op, OpKind, Outcome};

/// Judges everything that a watcher was shown after a permission of its eyes was taken away.
#[must_use]
pub fn no_revoked_view_is_revived(history: &History) -> Verdict {
    let mut verdict = Verdict::of("no revoked view is revived");
    let lists: Vec<&Op> = history.ops.iter().filter(|op| op.other.is_some() && op.may_have_happened()).collect();
    for watch in watches::all(history) {
        let between: Vec<&Op> = lists.iter().copied().filter(|op| concerns(op, watch.viewer, watch.subject)).collect();
        for revoke in between.iter().filter(|op| revokes(op, watch.viewer, watch.subject)) {
            // The first moment at which somebody may have given it again.
            let grants = between.iter().filter(|op| grants(op, watch.viewer, watch.subject));
            let again = grants.filter(|g| g.latest() >= revoke.start).map(|g| g.start).min().unwrap_or(Micros::MAX);
            judge_one(history, &watch, revoke, again, &mut verdict);
        }
    }
    verdict
}

fn judge_one(history: &History, watch: &watches::Watch<'_>, revoke: &Op, again: Micros, verdict: &mut Verdict) {
    let (watcher, subject) = (watch.watcher, watch.subject);
    let mut gone = false;
    for sighting in watch.shown_within(revoke.start, again.saturating_sub(1)) {
        let Some(presence) = &sighting.presence else { continue };
        if presence.version == 0 {
            gone = true;
        }
        if gone {
            let (at, version) = (sighting.at, presence.version);
            verdict.judge((version > 0).then(|| {
                format!("{watcher} is shown {subject} with version {version} at {at} µs, after the never-seen user")
            }));
        }
    }
    let until = revoke.latest().saturating_add(history.promises.delivery_us);
    let certain = revoke.outcome == Outcome::Ok
        && until < again
        && history.is_calm(revoke.start, until, history.promises.heal_us)
        && watch.is_connected(revoke.start, until);
    if certain {
        let held = watch.held_at(until).and_then(|sighting| sighting.presence.as_ref());
        verdict.judge(held.filter(|held| held.version > 0).map(|held| {
            let (version, end) = (held.version, revoke.end);
            format!(
                "{watcher} still holds {subject} with version {version} at {until} µs; it was taken away at {end} µs"
            )
        }));
    } else {
        verdict.unjudged += 1;
    }
}

fn concerns(op: &Op, viewer: &str, subject: &str) -> bool {
    let other = op.other.as_deref().unwrap_or_default();
    viewer != subject && ((op.user == subject && other == viewer) || (op.user == viewer && other == subject))
}

/// Whether it ends the permission, of an op between the two.
fn revokes(op: &Op, viewer: &str, subject: &str) -> bool {
    match op.kind {
        OpKind::RemoveContact => op.user == subject && op.other.as_deref() == Some(viewer),
        OpKind::Block => true,
        _ => false,
    }
}

/// Whether it may give the permission, of an op between the two.
fn grants(op: &Op, viewer: &str, subject: &str) -> bool {
    match op.kind {
        OpKind::AddContact => op.user == subject && op.other.as_deref() == Some(viewer),
        OpKind::Unblock => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Sighting, Source},
        invariants::planted::{broken_by, holding, presence},
    };

    /// Shows Bob's watcher Alice at this time.
    fn shown(history: &mut History, at_ms: Micros, version: u64) {
        let (watcher, subject) = ("w2".into(), "alice".into());
        let presence = Some(presence("dnd", Some("s-a-7"), version));
        let at = at_ms * 1_000;
        history.sightings.push(Sighting { watcher, connection: 1, at, source: Source::Change, subject, presence });
        history.sightings.sort_by_key(|s| s.at);
    }

    /// The holding history without its faults, so that times are promised.
    fn calm(history: &mut History) {
        history.faults.clear();
    }

    #[test]
    fn a_history_that_holds_passes() {
        let mut history = holding();
        calm(&mut history);
        let verdict = no_revoked_view_is_revived(&history);
        assert!(verdict.holds() && verdict.judged == 2, "{verdict:?}");
    }

    #[test]
    fn a_late_frame_that_revives_a_view_is_seen() {
        let told = broken_by(no_revoked_view_is_revived, |h| shown(h, 28_400, 6));
        assert!(told.contains("after the never-seen user"), "{told}");
    }

    #[test]
    fn a_view_that_is_never_taken_away_is_seen() {
        let told = broken_by(no_revoked_view_is_revived, |h| {
            calm(h);
            h.sightings.retain(|s| s.presence.as_ref().is_none_or(|p| p.version > 0));
        });
        assert!(told.contains("still holds alice"), "{told}");
    }

    #[test]
    fn a_block_ends_a_view_whoever_made_it() {
        for (user, other) in [("alice", "bob"), ("bob", "alice")] {
            let told = broken_by(no_revoked_view_is_revived, |h| {
                calm(h);
                let at = h.ops.iter().position(|op| op.kind == OpKind::RemoveContact).expect("one");
                let revoke = &mut h.ops[at];
                (revoke.kind, revoke.user, revoke.other) = (OpKind::Block, user.into(), Some(other.into()));
                h.sightings.retain(|s| s.presence.as_ref().is_none_or(|p| p.version > 0));
            });
            assert!(told.contains("still holds alice"), "{told}");
        }
    }

    #[test]
    fn a_view_that_is_given_again_may_come_back() {
        let mut history = holding();
        shown(&mut history, 30_300, 7);
        assert!(no_revoked_view_is_revived(&history).holds());
    }
}
