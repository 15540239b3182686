//! No ghost stays after healing: once all is quiet every node says of whoever is dead that they are offline, and of whoever is
//! alive that they are not.

use super::Verdict;
use crate::history::{History, Sign};
use std::collections::BTreeSet;

/// Judges every last read of a user of whose life something is known. Who made themselves invisible is not judged.
#[must_use]
pub fn no_ghost_stays_after_healing(history: &History) -> Verdict {
    let mut verdict = Verdict::of("no ghost stays after healing");
    let lives = history.lives_by_user();
    let hidden: BTreeSet<&str> =
        history.ops.iter().filter(|op| op.status.as_deref() == Some("invisible")).map(|op| op.user.as_str()).collect();
    for read in history.reads.iter().filter(|read| read.presence.version > 0) {
        let (user, at) = (read.user.as_str(), read.at);
        let signs = lives.get(user).map_or(&[] as &[_], Vec::as_slice);
        let Some(last) = signs.iter().rev().find(|life| life.at <= at) else {
            verdict.unjudged += 1;
            continue;
        };
        let dead = last.sign != Sign::Alive && at > last.at + history.promises.death_us();
        let alive = last.sign == Sign::Alive && at < last.at.saturating_add(last.lasts_us) && !hidden.contains(user);
        let shown = read.presence.is_offline();
        match (dead, alive) {
            (true, _) => verdict.judge((!shown).then(|| {
                format!(
                    "{} says in the end that {user} is {}, who ended at {} µs",
                    read.node, read.presence.status, last.at
                )
            })),
            (_, true) => verdict.judge(shown.then(|| {
                format!("{} says in the end that {user} is offline, who was heard at {} µs", read.node, last.at)
            })),
            _ => verdict.unjudged += 1,
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = no_ghost_stays_after_healing(&holding());
        assert!(verdict.holds() && verdict.judged == 9 && verdict.unjudged == 0, "{verdict:?}");
    }

    #[test]
    fn a_ghost_on_one_node_is_seen() {
        let told = broken_by(no_ghost_stays_after_healing, |h| {
            let ghost = h.reads.iter_mut().find(|r| r.user == "carol" && r.node == "n3").expect("one");
            ghost.presence.status = "online".into();
        });
        assert!(told.contains("n3 says in the end that carol is online"), "{told}");
    }

    #[test]
    fn somebody_alive_who_is_offline_in_the_end_is_seen() {
        let told = broken_by(no_ghost_stays_after_healing, |h| h.reads[0].presence.status = "offline".into());
        assert!(told.contains("alice is offline"), "{told}");
    }

    #[test]
    fn whoever_has_just_fallen_silent_may_be_either() {
        let mut history = holding();
        history.lives.iter_mut().filter(|l| l.sign == Sign::Silent).for_each(|l| l.at = 34_000_000);
        history.lives.sort_by_key(|l| l.at);
        let verdict = no_ghost_stays_after_healing(&history);
        assert!(verdict.holds() && verdict.unjudged == 3, "{verdict:?}");
    }
}
