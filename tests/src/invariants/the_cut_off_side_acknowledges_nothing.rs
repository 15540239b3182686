//! The cut-off side acknowledges nothing and says `stale`: while fewer than half of the nodes are cut off from the others, no
//! write that was sent to them is acknowledged, and once the lease has run out nothing that they show is unmarked.
//!
//! Of a partition whose replicas are mostly among the cut-off nodes, these are the larger side: nothing of it is judged.

use super::Verdict;
use crate::history::{CUT_OFF, Fault, History, Micros, Op, Outcome};
use rollcall_presence::{PartitionId, UserId, partition_of};
use std::collections::BTreeSet;

/// Voters of a partition at most; further replicas are still being built.
const VOTERS: usize = 3;
/// How much older than a cut what was written down of replicas may be and still hold, µs: some looks.
const LOOKS_US: Micros = 30_000_000;

/// Judges everything that was asked of cut-off nodes, answered within the cut, and shown by them.
#[must_use]
pub fn the_cut_off_side_acknowledges_nothing(history: &History) -> Verdict {
    let mut verdict = Verdict::of("the cut-off side acknowledges nothing, says stale");
    let promises = &history.promises;
    let smaller = |fault: &&Fault| fault.kind == CUT_OFF && fault.nodes.len() * 2 < promises.nodes.len();
    let cuts: Vec<&Fault> = history.faults.iter().filter(smaller).collect();
    let connections = history.connections();
    for cut in cuts {
        let end = cut.end.unwrap_or(Micros::MAX);
        let larger = Larger::of(history, cut);
        let within =
            |op: &&Op| op.start > cut.start && op.end < end && cut.nodes.contains(&op.node) && !larger.covers(&op.user);
        for op in history.ops.iter().filter(within) {
            judge_op(op, cut.start + promises.lease_us, &mut verdict);
        }
        let alone = cut.start + promises.lease_us;
        for sighting in history.sightings.iter().filter(|s| s.at > alone && s.at < end) {
            let Some(presence) = sighting.presence.as_ref().filter(|p| p.version > 0) else { continue };
            let of_watcher = connections.get(sighting.watcher.as_str()).into_iter().flatten();
            let mut links = of_watcher.filter(|c| c.link.connection == sighting.connection).map(|c| c.link);
            let Some(link) = links.find(|link| cut.nodes.contains(&link.node)) else { continue };
            if larger.covers(&sighting.subject) {
                continue;
            }
            let (watcher, subject, node, at) = (&sighting.watcher, &sighting.subject, &link.node, sighting.at);
            verdict.judge((!presence.stale).then(|| {
                format!("{watcher} is shown {subject} as if confirmed by {node}, which is cut off, at {at} µs")
            }));
        }
    }
    verdict
}

/// The partitions that may have had a quorum among the nodes of a cut.
struct Larger {
    partitions: BTreeSet<u64>,
    count: u16,
}

impl Larger {
    fn of(history: &History, cut: &Fault) -> Self {
        let end = cut.end.unwrap_or(Micros::MAX);
        let told = history.roles.iter().filter(|role| role.at <= end && role.at.saturating_add(LOOKS_US) >= cut.start);
        let has_quorum = told.filter(|role| {
            let there = role.replicas.iter().filter(|replica| cut.nodes.contains(replica)).count();
            there * 2 > role.replicas.len().min(VOTERS)
        });
        let last = history.roles.iter().map(|role| role.partition).max();
        let count = last.map_or(0, |last| u16::try_from(last + 1).unwrap_or(u16::MAX));
        Self { partitions: has_quorum.map(|role| role.partition).collect(), count }
    }

    fn covers(&self, user: &str) -> bool {
        let Ok(user) = UserId::new(user) else { return false };
        let PartitionId(id) = partition_of(&user, self.count.max(1));
        self.partitions.contains(&u64::from(id))
    }
}

/// `alone`: since when no lease can be left.
fn judge_op(op: &Op, alone: Micros, verdict: &mut Verdict) {
    let (node, user, start) = (&op.node, &op.user, op.start);
    if op.kind.is_durable() {
        verdict.judge(
            (op.outcome == Outcome::Ok)
                .then(|| format!("{node}, cut off, acknowledges {:?} of {user}, sent at {start} µs", op.kind)),
        );
    } else if let Some(seen) = op.seen.as_ref().filter(|seen| seen.version > 0 && op.start > alone) {
        verdict.judge(
            (!seen.stale).then(|| format!("{node}, cut off, shows {user} as if confirmed to a read at {start} µs")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::Link,
        invariants::planted::{broken_by, holding, presence, read, shown_again},
    };

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = the_cut_off_side_acknowledges_nothing(&holding());
        assert!(verdict.holds() && verdict.judged == 2, "{verdict:?}");
    }

    #[test]
    fn an_acknowledgement_of_a_node_alone_is_seen() {
        let told = broken_by(the_cut_off_side_acknowledges_nothing, |h| {
            h.ops.iter_mut().filter(|op| op.start == 23_000_000).for_each(|op| op.outcome = Outcome::Ok);
        });
        assert!(told.contains("n3, cut off, acknowledges SetStatus"), "{told}");
    }

    #[test]
    fn a_read_that_is_not_marked_is_seen_once_the_lease_has_run_out() {
        let told = broken_by(the_cut_off_side_acknowledges_nothing, |h| {
            h.ops.push(read(22_000, presence("dnd", Some("s-a-4"), 5), "n3"));
        });
        assert!(told.contains("as if confirmed"), "{told}");
        let mut history = holding();
        history.ops.push(read(20_500, presence("dnd", Some("s-a-4"), 5), "n3"));
        assert!(the_cut_off_side_acknowledges_nothing(&history).holds(), "by its lease");
    }

    #[test]
    fn a_frame_that_is_not_marked_is_seen() {
        let told = broken_by(the_cut_off_side_acknowledges_nothing, |h| {
            let (watcher, viewer, node) = ("w3".into(), "the-service".into(), "n3".into());
            h.links.push(Link { watcher, viewer, connection: 1, node, at: 22_000_000, up: true });
            shown_again(h, |s| (s.watcher, s.at) = ("w3".into(), 22_100_000));
        });
        assert!(told.contains("w3 is shown alice"), "{told}");
    }

    #[test]
    fn a_partition_with_its_quorum_among_the_cut_off_goes_on_and_the_others_do_not() {
        let two_of_five = |replicas: [&str; 3]| {
            let mut history = holding();
            history.promises.nodes.extend(["n4".into(), "n5".into()]);
            history.faults[1].nodes.push("n4".into());
            history.ops.iter_mut().filter(|op| op.start == 23_000_000).for_each(|op| op.outcome = Outcome::Ok);
            history.roles.iter_mut().for_each(|role| role.replicas = replicas.map(str::to_owned).to_vec());
            the_cut_off_side_acknowledges_nothing(&history)
        };
        assert!(two_of_five(["n1", "n3", "n4"]).holds());
        let told = two_of_five(["n1", "n2", "n3"]).violations[0].0.clone();
        assert!(told.contains("n3, cut off, acknowledges SetStatus"), "{told}");
    }

    #[test]
    fn the_larger_side_goes_on() {
        let mut history = holding();
        history.faults[1].nodes = vec!["n1".into(), "n2".into()];
        assert_eq!(the_cut_off_side_acknowledges_nothing(&history).judged, 0);
    }
}
