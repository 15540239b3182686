//! Versions rise per watcher: over all its connections the version of a subject never falls, save to 0; one version is one
//! state for every watcher; and a connection is sent nothing twice.

use super::Verdict;
use crate::history::{History, Sighting, Source};
use std::collections::BTreeMap;

/// Judges every presence that a watcher was shown.
#[must_use]
pub fn versions_rise_per_watcher(history: &History) -> Verdict {
    let mut verdict = Verdict::of("versions rise per watcher");
    let mut states: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for ((watcher, subject), shown) in history.sightings_by_watch() {
        let mut highest = 0;
        let mut held: Option<&Sighting> = None;
        for sighting in shown {
            let Some(presence) = &sighting.presence else {
                held = None;
                continue;
            };
            let version = presence.version;
            let state = *states.entry((subject, version)).or_insert(presence.digest);
            let broken = if version > 0 && version < highest {
                Some(format!("version {version} after {highest}"))
            } else if state != presence.digest {
                Some(format!("version {version} in two states"))
            } else if held.is_some_and(|held| is_repeated(held, sighting)) {
                Some(format!("version {version} twice"))
            } else {
                None
            };
            let at = sighting.at;
            verdict.judge(broken.map(|how| format!("{watcher} is shown {subject} at {at} µs with {how}")));
            highest = highest.max(version);
            held = Some(sighting);
        }
    }
    verdict
}

/// Whether `sighting` is a change that tells nothing new: neither a version nor that it is stale, or no longer.
fn is_repeated(held: &Sighting, sighting: &Sighting) -> bool {
    let same = |one: &Sighting| one.presence.as_ref().map(|p| (p.version, p.stale));
    sighting.source == Source::Change
        && held.connection == sighting.connection
        && same(held) == same(sighting)
        && sighting.presence.as_ref().is_some_and(|p| p.version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding, shown_again};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = versions_rise_per_watcher(&holding());
        assert!(verdict.holds() && verdict.judged > 10, "{verdict:?}");
    }

    #[test]
    fn a_version_that_falls_is_seen_over_connections_too() {
        let told = broken_by(versions_rise_per_watcher, |h| {
            shown_again(h, |s| s.presence.as_mut().expect("shown").version = 2)
        });
        assert!(told.contains("version 2 after"), "{told}");
        let told = broken_by(versions_rise_per_watcher, |h| {
            shown_again(h, |s| {
                s.connection += 1;
                s.presence.as_mut().expect("shown").version = 2;
            });
        });
        assert!(told.contains("version 2 after"), "{told}");
    }

    #[test]
    fn a_version_that_is_low_after_a_fall_to_zero_is_seen() {
        let told = broken_by(versions_rise_per_watcher, |h| {
            shown_again(h, |s| {
                let presence = s.presence.as_mut().expect("shown");
                (presence.version, presence.digest) = (0, 0);
            });
            shown_again(h, |s| s.presence.as_mut().expect("shown").version = 3);
        });
        assert!(told.contains("version 3 after"), "{told}");
    }

    #[test]
    fn one_version_in_two_states_is_seen_of_two_watchers_too() {
        let told = broken_by(versions_rise_per_watcher, |h| {
            shown_again(h, |s| s.presence.as_mut().expect("shown").digest = 77)
        });
        assert!(told.contains("in two states"), "{told}");
        let told = broken_by(versions_rise_per_watcher, |h| {
            shown_again(h, |s| {
                s.watcher = "w9".into();
                s.presence.as_mut().expect("shown").digest = 77;
            });
        });
        assert!(told.contains("in two states"), "{told}");
    }

    #[test]
    fn a_change_that_is_sent_twice_is_seen() {
        let told = broken_by(versions_rise_per_watcher, |h| shown_again(h, |s| s.source = Source::Change));
        assert!(told.contains("twice"), "{told}");
        let mut history = holding();
        shown_again(&mut history, |s| s.presence.as_mut().expect("shown").stale = true);
        assert!(versions_rise_per_watcher(&history).holds(), "staleness may change alone");
    }
}
