//! The dead are shown offline once: whoever fell silent is offline at every watcher within two TTLs (or graces), failover and
//! batches after the last sign of life, exactly once, and stays so until a new sign.

use super::{Verdict, watches};
use crate::history::{History, Life, Micros, Presence, Sign};
use std::collections::BTreeSet;

/// Judges every watcher of everybody who fell silent or left long enough before the end.
#[must_use]
pub fn the_dead_are_shown_offline_once(history: &History) -> Verdict {
    let mut verdict = Verdict::of("the dead are shown offline in time, once");
    // What was written down after quiescence is not the watchers' doing.
    let end = history.quiet_at.unwrap_or(0);
    let watches = watches::all(history);
    for (user, lives) in history.lives_by_user() {
        for (at, life) in lives.iter().enumerate().filter(|(_, life)| life.sign != Sign::Alive) {
            let next = lives[at + 1..].iter().find(|next| next.sign == Sign::Alive);
            let until = next.map_or(end, |next| next.at.min(end));
            for watch in watches.iter().filter(|watch| watch.subject == user) {
                judge_death(history, watch, life, until, &mut verdict);
            }
        }
    }
    verdict
}

fn judge_death(history: &History, watch: &watches::Watch<'_>, life: &Life, until: Micros, verdict: &mut Verdict) {
    let deadline = life.at + history.promises.death_us();
    let (watcher, user) = (watch.watcher, watch.subject);
    let seen = |p: &Presence| !p.stale && p.version > 0;
    let deaths: BTreeSet<u64> = watch
        .shown_within(life.at, until)
        .iter()
        .filter_map(|s| s.presence.as_ref())
        .filter(|p| seen(p) && p.is_offline())
        .map(|p| p.version)
        .collect();
    verdict.judge((deaths.len() > 1).then(|| {
        format!("{watcher} is shown {user}, silent since {} µs, offline more than once: versions {deaths:?}", life.at)
    }));
    if deadline >= until {
        verdict.unjudged += 1;
        return;
    }
    let revived = watch
        .shown_within(deadline, until)
        .iter()
        .filter_map(|s| s.presence.as_ref())
        .find(|p| seen(p) && !p.is_offline());
    let held = watch.held_at(deadline).and_then(|s| s.presence.as_ref());
    let broken = match (revived, held) {
        (Some(shown), _) => Some(format!("as {} with version {} after {deadline} µs", shown.status, shown.version)),
        (None, Some(held)) if watch.is_connected(life.at, deadline) && seen(held) && !held.is_offline() => {
            Some(format!("still as {} with version {} at {deadline} µs", held.status, held.version))
        }
        _ => None,
    };
    verdict.judge(broken.map(|how| format!("{watcher} is shown {user}, silent since {} µs, {how}", life.at)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::Source,
        invariants::planted::{broken_by, holding, presence},
    };

    /// Carol's death as it was shown.
    fn death(history: &History) -> usize {
        let is_death = |s: &crate::history::Sighting| s.subject == "carol" && s.source == Source::Change;
        history.sightings.iter().position(is_death).expect("one")
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = the_dead_are_shown_offline_once(&holding());
        assert!(verdict.holds() && verdict.judged == 2, "{verdict:?}");
    }

    #[test]
    fn a_death_that_is_shown_too_late_or_never_is_seen() {
        let told = broken_by(the_dead_are_shown_offline_once, |h| {
            let death = death(h);
            h.sightings[death].at = 18_500_000;
            h.sightings.sort_by_key(|s| s.at);
        });
        assert!(told.contains("still as online"), "{told}");
        broken_by(the_dead_are_shown_offline_once, |h| {
            let death = death(h);
            h.sightings.remove(death);
        });
    }

    #[test]
    fn a_death_that_is_shown_twice_is_seen() {
        let told = broken_by(the_dead_are_shown_offline_once, |h| {
            let mut again = h.sightings[death(h)].clone();
            again.at += 1_000_000;
            again.presence = Some(presence("offline", None, 3));
            h.sightings.push(again);
            h.sightings.sort_by_key(|s| s.at);
        });
        assert!(told.contains("more than once"), "{told}");
    }

    #[test]
    fn a_dead_user_who_is_shown_again_is_seen() {
        let told = broken_by(the_dead_are_shown_offline_once, |h| {
            let mut again = h.sightings[death(h)].clone();
            again.at = 20_000_000;
            again.presence = Some(presence("online", None, 3));
            h.sightings.push(again);
            h.sightings.sort_by_key(|s| s.at);
        });
        assert!(told.contains("as online with version 3"), "{told}");
    }

    #[test]
    fn whoever_comes_back_may_be_shown_again() {
        let mut history = holding();
        let mut back = history.lives.iter().rev().find(|l| l.user == "carol").expect("one").clone();
        (back.at, back.sign) = (20_000_000, Sign::Alive);
        history.lives.push(back);
        let mut again = history.sightings[death(&history)].clone();
        again.at = 20_100_000;
        again.presence = Some(presence("online", None, 3));
        history.sightings.push(again);
        history.sightings.sort_by_key(|s| s.at);
        assert!(the_dead_are_shown_offline_once(&history).holds());
    }
}
