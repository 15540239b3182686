//! Reads see acknowledged writes: a read that is not stale shows at least the version of every write that was acknowledged,
//! and of every such read that was answered, before it began; on whatever node.

use super::Verdict;
use crate::history::{History, Micros, Op, OpKind, Outcome};

/// Judges every answered read. A reader who may not see the user is shown version 0 and is not judged.
#[must_use]
pub fn reads_see_acknowledged_writes(history: &History) -> Verdict {
    let mut verdict = Verdict::of("reads that are not stale see every acknowledged write");
    for (user, ops) in history.ops_by_user() {
        let mut known: Vec<(Micros, u64, &Op)> =
            ops.iter().filter_map(|op| Some((op.end, established(op)?, *op))).collect();
        known.sort_by_key(|(end, ..)| *end);
        // The highest version that was established by each of these moments.
        let mut highest = 0;
        let known: Vec<(Micros, (u64, &Op))> = known
            .into_iter()
            .filter_map(|(end, version, op)| {
                let rises = version > highest;
                highest = highest.max(version);
                rises.then_some((end, (version, op)))
            })
            .collect();
        for read in ops.into_iter().filter(|op| op.kind == OpKind::Read && op.outcome == Outcome::Ok) {
            let Some(seen) = read.seen.as_ref().filter(|seen| !seen.stale && seen.version > 0) else {
                verdict.unjudged += 1;
                continue;
            };
            let before = known.partition_point(|(end, _)| *end < read.start);
            let floor = before.checked_sub(1).map(|last| known[last].1);
            verdict.judge(floor.filter(|(version, _)| seen.version < *version).map(|(version, op)| {
                let (client, node, start, shown) = (&read.client, &read.node, read.start, seen.version);
                format!(
                    "{client} reads {user} at {node} from {start} µs on and is shown version {shown}; {version} was there at \
                     {} µs ({})",
                    op.end, op.node
                )
            }));
        }
    }
    verdict
}

/// The version that is the least that anybody may be shown after the op.
fn established(op: &Op) -> Option<u64> {
    let confirmed = match op.kind {
        OpKind::Read => op.seen.as_ref().is_some_and(|seen| !seen.stale),
        kind => kind.is_durable(),
    };
    (confirmed && op.outcome == Outcome::Ok).then_some(op.version?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding, presence, read};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = reads_see_acknowledged_writes(&holding());
        assert!(verdict.holds() && verdict.judged == 3 && verdict.unjudged == 1, "{verdict:?}");
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_seen() {
        let missing = read(3_200, presence("dnd", Some("s-a-1"), 2), "n3");
        let told = broken_by(reads_see_acknowledged_writes, |h| h.ops.push(missing));
        assert!(told.contains("version 2; 3 was there"), "{told}");
    }

    #[test]
    fn a_read_that_falls_behind_another_read_is_seen() {
        let unknown = || presence("dnd", Some("s-a-3"), 4);
        let told = broken_by(reads_see_acknowledged_writes, |h| {
            h.ops.push(read(7_600, unknown(), "n1"));
            h.ops.push(read(7_700, presence("dnd", Some("s-a-2"), 3), "n2"));
        });
        assert!(told.contains("version 3; 4 was there"), "{told}");
    }

    #[test]
    fn a_read_beside_a_write_may_show_either_and_a_stale_one_anything() {
        let mut history = holding();
        history.ops.push(read(3_020, presence("dnd", Some("s-a-1"), 2), "n3"));
        let mut stale = presence("dnd", Some("s-a-1"), 2);
        stale.stale = true;
        history.ops.push(read(9_900, stale, "n3"));
        assert!(reads_see_acknowledged_writes(&history).holds());
    }
}
