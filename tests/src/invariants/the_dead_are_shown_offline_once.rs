//! The dead are shown offline once: whoever fell silent is offline at every watcher within two TTLs (or graces), failover and
//! batches after the last sign of life, exactly once, and stays so until a new sign.

use super::{Verdict, watches};
use crate::history::{History, Life, Micros, Presence, Sign};
use std::collections::BTreeMap;

/// Judges every watcher of everybody who fell silent or left long enough before the end.
#[must_use]
pub fn the_dead_are_shown_offline_once(history: &History) -> Verdict {
    let mut verdict = Verdict::of("the dead are shown offline in time, once");
    // What was written down after quiescence is not the watchers' doing.
    let end = history.quiet_at.unwrap_or(0);
    let watches = watches::all(history);
    for (user, lives) in history.lives_by_user() {
        for (at, life) in lives.iter().enumerate().filter(|(_, life)| life.sign != Sign::Alive) {
            // Whoever comes back is shown before the answer is written down.
            let next = lives[at + 1..].iter().find(|next| next.sign == Sign::Alive);
            let until = next.map_or(end, |next| next.at.saturating_sub(history.promises.delivery_us).min(end));
            for watch in watches.iter().filter(|watch| watch.subject == user) {
                judge_death(history, watch, life, until, &mut verdict);
            }
        }
    }
    verdict
}

fn judge_death(history: &History, watch: &watches::Watch<'_>, life: &Life, until: Micros, verdict: &mut Verdict) {
    let deadline = life.at + history.promises.death_us();
    let (watcher, user, since) = (watch.watcher, watch.subject, life.at);
    let shown: Vec<(Micros, &Presence)> = watch
        .shown_within(since, until)
        .iter()
        .filter_map(|s| Some((s.at, s.presence.as_ref().filter(|p| !p.stale && p.version > 0)?)))
        .collect();
    let deaths: BTreeMap<u64, Micros> =
        shown.iter().rev().filter(|(_, p)| p.is_offline()).map(|(at, p)| (p.version, *at)).collect();
    let first = deaths.values().min().copied();
    if first.is_none() && deadline >= until {
        verdict.unjudged += 1;
        return;
    }
    let gone = first.unwrap_or(deadline).min(deadline);
    let revived = shown.iter().find(|(at, p)| *at > gone && !p.is_offline());
    let held = watch.held_at(deadline).and_then(|s| s.presence.as_ref()).filter(|p| !p.stale && p.version > 0);
    let kept = held.filter(|p| !p.is_offline() && deadline < until && watch.is_connected(since, deadline));
    let broken = if deaths.len() > 1 {
        Some(format!("offline more than once: versions and times {deaths:?}"))
    } else if let Some((at, presence)) = revived {
        Some(format!("as {} with version {} at {at} µs", presence.status, presence.version))
    } else {
        kept.map(|p| format!("still as {} with version {} at {deadline} µs", p.status, p.version))
    };
    verdict.judge(broken.map(|how| format!("{watcher} is shown {user}, silent since {since} µs, {how}")));
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
        assert!(verdict.holds() && verdict.judged == 1, "{verdict:?}");
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
    fn a_death_that_was_shown_counts_also_if_there_was_time_left() {
        let mut history = holding();
        history.promises.failover_us = 60_000_000;
        assert_eq!(the_dead_are_shown_offline_once(&history).judged, 1);
        let death = death(&history);
        history.sightings.remove(death);
        assert_eq!(the_dead_are_shown_offline_once(&history).unjudged, 1);
    }

    #[test]
    fn whoever_comes_back_may_be_shown_again() {
        let mut history = holding();
        let mut back = history.lives.iter().rev().find(|l| l.user == "carol").expect("one").clone();
        (back.at, back.sign) = (20_150_000, Sign::Alive);
        history.lives.push(back);
        let mut again = history.sightings[death(&history)].clone();
        again.at = 20_100_000;
        again.presence = Some(presence("online", None, 3));
        history.sightings.push(again);
        history.sightings.sort_by_key(|s| s.at);
        assert!(the_dead_are_shown_offline_once(&history).holds());
    }
}
