//! All is equal after quiescence: every node says the same of every user, none of it stale, and what every connected watcher
//! holds is just that.

use super::{Verdict, watches};
use crate::history::{FinalRead, History};
use std::collections::BTreeMap;

/// Judges every last read, and everything that a watcher held who was connected to the end. A watcher with eyes that
/// nobody read with in the end is not judged.
#[must_use]
pub fn all_is_equal_after_quiescence(history: &History) -> Verdict {
    let mut verdict = Verdict::of("all is equal after quiescence");
    let mut said: BTreeMap<(&str, &str), &FinalRead> = BTreeMap::new();
    for read in &history.reads {
        let first = *said.entry((&read.viewer, &read.user)).or_insert(read);
        let broken = if read.presence.stale {
            Some(format!("{} says of {} in the end that it is stale", read.node, read.user))
        } else if read.presence != first.presence {
            Some(format!(
                "{} says of {} {:?}, and {} says {:?}",
                read.node, read.user, read.presence, first.node, first.presence
            ))
        } else {
            None
        };
        verdict.judge(broken);
    }
    for watch in watches::all(history) {
        let connected = watch.connection_at(history.quiet_at.unwrap_or(0)).is_some_and(|c| c.until == u64::MAX);
        let last = watch.shown.last().and_then(|sighting| sighting.presence.as_ref());
        let (true, Some(held), Some(read)) = (connected, last, said.get(&(watch.viewer, watch.subject))) else {
            verdict.unjudged += 1;
            continue;
        };
        verdict.judge((*held != read.presence).then(|| {
            format!("{} holds of {} {held:?}, and {} says {:?}", watch.watcher, watch.subject, read.node, read.presence)
        }));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = all_is_equal_after_quiescence(&holding());
        assert!(verdict.holds() && verdict.judged == 12 && verdict.unjudged == 0, "{verdict:?}");
    }

    #[test]
    fn a_node_that_says_something_else_is_seen() {
        let told = broken_by(all_is_equal_after_quiescence, |h| h.reads[4].presence.version += 1);
        assert!(told.contains("says of"), "{told}");
        let told = broken_by(all_is_equal_after_quiescence, |h| h.reads[4].presence.digest += 1);
        assert!(told.contains("says of"), "another device or time: {told}");
    }

    #[test]
    fn a_node_that_is_stale_for_ever_is_seen() {
        let told = broken_by(all_is_equal_after_quiescence, |h| {
            h.reads.iter_mut().for_each(|read| read.presence.stale = true);
        });
        assert!(told.contains("in the end that it is stale"), "{told}");
    }

    #[test]
    fn a_watcher_that_missed_the_last_change_is_seen() {
        let told = broken_by(all_is_equal_after_quiescence, |h| {
            h.sightings.retain(|s| s.watcher != "w1" || s.presence.as_ref().is_none_or(|p| p.version != 6));
        });
        assert!(told.contains("w1 holds of alice"), "{told}");
    }

    #[test]
    fn a_watcher_that_holds_it_stale_is_seen() {
        let told = broken_by(all_is_equal_after_quiescence, |h| {
            h.sightings.last_mut().expect("one").presence.as_mut().expect("shown").stale = true;
        });
        assert!(told.contains("w2 holds of alice"), "{told}");
    }

    #[test]
    fn a_watcher_that_had_gone_is_not_judged() {
        let mut history = holding();
        let mut gone = history.links[0].clone();
        (gone.up, gone.at) = (false, 10_000_000);
        history.links.push(gone);
        history.sightings.retain(|s| s.at < 10_000_000 || s.watcher != "w1");
        let verdict = all_is_equal_after_quiescence(&history);
        assert!(verdict.holds() && verdict.unjudged == 2, "{verdict:?}");
    }
}
