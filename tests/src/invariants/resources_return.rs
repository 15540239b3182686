//! Resources return: memory, file descriptors and actors of every node are, with all healed and the same load, where they were
//! before the first fault, give or take the slack that the run promises.

use super::Verdict;
use crate::history::{History, Phase, Sample};

/// One of a sample's figures, if it was taken.
type Figure = fn(&Sample) -> Option<u64>;

/// Judges every node's last sample of afterwards by the highest of before.
#[must_use]
pub fn resources_return(history: &History) -> Verdict {
    let mut verdict = Verdict::of("memory, file descriptors and actors return");
    let promises = &history.promises;
    for node in &promises.nodes {
        let of = |phase: Phase| history.samples.iter().filter(move |s| s.node == *node && s.phase == phase);
        let Some(after) = of(Phase::After).next_back() else {
            verdict.unjudged += 1;
            continue;
        };
        let figures: [(&str, Figure, u64); 3] = [
            ("bytes of memory", |s| s.rss_bytes, promises.rss_slack_bytes),
            ("file descriptors", |s| s.fds, promises.fds_slack),
            ("actors", |s| s.actors, promises.actors_slack),
        ];
        for (what, figure, slack) in figures {
            let (Some(before), Some(now)) = (of(Phase::Before).filter_map(figure).max(), figure(after)) else {
                verdict.unjudged += 1;
                continue;
            };
            verdict.judge((now > before.saturating_add(slack)).then(|| {
                format!("{node} had {before} {what} before, and has {now} afterwards; {slack} more are allowed")
            }));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    fn last(history: &mut History) -> &mut Sample {
        history.samples.last_mut().expect("one")
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = resources_return(&holding());
        assert!(verdict.holds() && verdict.judged == 9, "{verdict:?}");
    }

    #[test]
    fn each_leak_is_seen() {
        let told = broken_by(resources_return, |h| last(h).rss_bytes = Some(200_000_000));
        assert!(told.contains("bytes of memory"), "{told}");
        let told = broken_by(resources_return, |h| last(h).fds = Some(117));
        assert!(told.contains("file descriptors"), "{told}");
        let told = broken_by(resources_return, |h| last(h).actors = Some(19));
        assert!(told.contains("actors"), "{told}");
    }

    #[test]
    fn what_was_not_sampled_is_said_to_be_unjudged() {
        let mut history = holding();
        history.samples.retain(|s| s.phase != Phase::After);
        let verdict = resources_return(&history);
        assert_eq!((verdict.judged, verdict.unjudged), (0, 3));
    }
}
