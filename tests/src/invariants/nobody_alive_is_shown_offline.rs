//! Nobody alive is shown offline: whose evidence reaches the home without a break is offline at no watcher, and no session of
//! theirs ends in their history.
//!
//! A sign of life that a node heard while it was under a fault, or before its links were back after one, reached nobody else for
//! certain, and is no evidence.

use super::{
    Verdict,
    watches::{self, Watch},
};
use crate::history::{Fault, History, Life, Micros, OpKind, Sign};
use std::collections::{BTreeMap, BTreeSet};

/// The reasons of the end of the last session.
const ENDS: [&str; 3] = ["disconnected", "expired", "node_lost"];

/// Judges everything that watchers were shown of users while these were certainly alive, and the histories of those who
/// were so from their first sign to the end. Who made themselves invisible is not judged.
#[must_use]
pub fn nobody_alive_is_shown_offline(history: &History) -> Verdict {
    let mut verdict = Verdict::of("nobody alive is shown offline");
    let hidden: BTreeSet<&str> =
        history.ops.iter().filter(|op| op.status.as_deref() == Some("invisible")).map(|op| op.user.as_str()).collect();
    let mut alive: BTreeMap<&str, Vec<(Micros, Micros)>> = BTreeMap::new();
    for (user, lives) in history.lives_by_user() {
        alive.insert(user, spans(&lives, &history.faults, history.promises.relink_us));
    }
    for watch in watches::all(history).into_iter().filter(|watch| !hidden.contains(watch.subject)) {
        let spans = alive.get(watch.subject).map_or(&[] as &[_], Vec::as_slice);
        judge_watch(&watch, spans, history.promises.delivery_us, &mut verdict);
    }
    let left: BTreeSet<&str> =
        history.ops.iter().filter(|op| op.kind == OpKind::EndSession).map(|op| op.user.as_str()).collect();
    for pages in &history.pages {
        let user = pages.user.as_str();
        let lasting = alive.get(user).is_some_and(
            |spans| matches!(spans.as_slice(), [(_, to)] if history.quiet_at.is_some_and(|quiet| *to >= quiet)),
        );
        if !lasting || left.contains(user) {
            verdict.unjudged += 1;
            continue;
        }
        let end = pages.entries.iter().find(|entry| ENDS.contains(&entry.reason.as_str()));
        verdict.judge(end.map(|entry| {
            format!("in the history of {user}, who was never away, version {} is {:?}", entry.version, entry.reason)
        }));
    }
    verdict
}

/// What was true before the first sign may still be on its way for a while, but not behind a sight of the living.
fn judge_watch(watch: &Watch<'_>, spans: &[(Micros, Micros)], settled: Micros, verdict: &mut Verdict) {
    let mut seen_alive = None;
    for sighting in &watch.shown {
        let Some(presence) = sighting.presence.as_ref().filter(|p| p.version > 0) else { continue };
        let at = sighting.at;
        let Some((from, _)) = spans.iter().find(|(from, to)| *from <= at && at <= *to) else {
            verdict.unjudged += 1;
            continue;
        };
        if !presence.is_offline() {
            seen_alive = Some(*from);
            verdict.judge(None);
        } else if seen_alive == Some(*from) || from.saturating_add(settled) <= at {
            let (watcher, user, version) = (watch.watcher, watch.subject, presence.version);
            verdict.judge(Some(format!("{watcher} is shown {user} offline with version {version} at {at} µs")));
        } else {
            verdict.unjudged += 1;
        }
    }
}

/// From when to when a user was certainly alive: signs that follow each other before the session could have ended.
fn spans(lives: &[&Life], faults: &[Fault], relink: Micros) -> Vec<(Micros, Micros)> {
    let mut spans: Vec<(Micros, Micros)> = Vec::new();
    // Until when the session lives by the last sign.
    let mut lasts = None;
    for life in lives {
        match life.sign {
            Sign::Alive if faults.iter().any(|fault| fault.befalls(&life.node, life.at, relink)) => {}
            Sign::Alive => {
                match spans.last_mut() {
                    Some((_, to)) if lasts.is_some_and(|until| life.at < until) => *to = life.at,
                    _ => spans.push((life.at, life.at)),
                }
                lasts = Some(life.at.saturating_add(life.lasts_us));
            }
            Sign::Left | Sign::Silent => lasts = None,
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding, presence};

    fn offline(history: &mut History, at: Micros) {
        let shown = history.sightings.iter_mut().find(|s| s.subject == "alice" && s.at == at).expect("one");
        shown.presence = Some(presence("offline", None, 5));
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = nobody_alive_is_shown_offline(&holding());
        assert!(verdict.holds() && verdict.judged > 8, "{verdict:?}");
    }

    #[test]
    fn a_false_death_is_seen_also_if_it_is_stale() {
        let told = broken_by(nobody_alive_is_shown_offline, |h| offline(h, 9_200_000));
        assert!(told.contains("shown alice offline"), "{told}");
        broken_by(nobody_alive_is_shown_offline, |h| {
            offline(h, 9_200_000);
            h.sightings.iter_mut().filter(|s| s.at == 9_200_000).for_each(|s| {
                s.presence.as_mut().expect("shown").stale = true;
            });
        });
    }

    #[test]
    fn an_end_in_the_history_of_somebody_who_was_never_away_is_seen() {
        for reason in ENDS {
            let told = broken_by(nobody_alive_is_shown_offline, |h| h.pages[0].entries[2].reason = reason.into());
            assert!(told.contains("never away"), "{told}");
        }
    }

    #[test]
    fn what_is_shown_of_before_the_first_sign_is_seen_only_behind_a_sight_of_the_living() {
        let mut history = holding();
        offline(&mut history, 1_100_000);
        assert!(nobody_alive_is_shown_offline(&history).holds(), "just come");
        broken_by(nobody_alive_is_shown_offline, |h| {
            h.promises.delivery_us = 60_000_000;
            offline(h, 2_200_000);
        });
    }

    #[test]
    fn a_break_in_the_signs_is_no_life() {
        let mut history = holding();
        offline(&mut history, 9_200_000);
        history.lives.retain(|l| l.at < 8_000_000 || l.at > 9_500_000);
        assert!(nobody_alive_is_shown_offline(&history).holds());
    }

    #[test]
    fn signs_that_only_a_cut_off_node_heard_are_no_evidence() {
        let mut history = holding();
        offline(&mut history, 9_200_000);
        history.lives.iter_mut().for_each(|l| l.node = "n3".into());
        history.faults[0].end = Some(12_000_000);
        assert!(nobody_alive_is_shown_offline(&history).holds());
    }

    #[test]
    fn signs_that_a_node_heard_before_its_links_were_back_are_no_evidence() {
        let mut history = holding();
        offline(&mut history, 9_200_000);
        history.lives.iter_mut().for_each(|l| l.node = "n3".into());
        history.promises.delivery_us = 100_000;
        // The node was killed until 8 s, and its links may take until after the offline presence.
        history.promises.relink_us = 2_000_000;
        assert!(nobody_alive_is_shown_offline(&history).holds());
        history.promises.relink_us = 100_000;
        assert!(!nobody_alive_is_shown_offline(&history).holds(), "they were back by then");
    }
}
