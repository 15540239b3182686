//! It heals without help: after a node was killed, and after any fault has ended, every user who tries to write is
//! acknowledged again within the bound; nobody did anything for it but what is written down as a fault's end.

use super::Verdict;
use crate::history::{History, KILL, Micros, Op, Outcome};
use std::collections::BTreeMap;

/// Judges every user who wrote within the bound after a moment at which something had to heal. Where another fault begins
/// before the bound is over, nothing is promised.
#[must_use]
pub fn it_heals_without_help(history: &History) -> Verdict {
    let mut verdict = Verdict::of("it heals without help");
    let mut writes: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.kind.is_durable()) {
        writes.entry(&op.user).or_default().push(op);
    }
    for (moment, until, what) in moments(history) {
        for (user, ops) in &writes {
            // Of whoever stopped writing before the bound was over, nothing is known.
            let tried = ops.iter().any(|op| op.start > moment && op.start < until);
            let went_on = ops.iter().any(|op| op.end >= until);
            let first = ops.iter().filter(|op| op.outcome == Outcome::Ok && op.start > moment).map(|op| op.end).min();
            match first {
                Some(end) if tried && end <= until => verdict.judge(None),
                _ if tried && went_on => verdict.judge(Some(format!(
                    "{what} at {moment} µs, and {user} has no write acknowledged by {until} µs ({first:?} is the first)"
                ))),
                _ => verdict.unjudged += 1,
            }
        }
    }
    verdict
}

/// From when on, until when, after what.
fn moments(history: &History) -> Vec<(Micros, Micros, String)> {
    let promises = &history.promises;
    let mut moments = Vec::new();
    for (at, fault) in history.faults.iter().enumerate() {
        // Other faults that are under way within the bound make it void.
        let alone = |from: Micros, to: Micros| {
            let others = history.faults.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, fault)| fault);
            !others.clone().any(|f| f.start <= to && f.end.unwrap_or(Micros::MAX) >= from)
        };
        let name = format!("{} of {}", fault.kind, fault.nodes.join(", "));
        let taken_over = fault.start + promises.failover_us;
        let outnumbered = fault.kind == KILL && fault.nodes.len() * 2 < promises.nodes.len();
        if outnumbered && fault.end.unwrap_or(Micros::MAX) > taken_over && alone(fault.start, taken_over) {
            moments.push((fault.start, taken_over, format!("{name} began")));
        }
        if let Some(end) = fault.end {
            let healed = end + promises.heal_us;
            if alone(end, healed) {
                moments.push((end, healed, format!("{name} ended")));
            }
        }
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding, write};

    /// Alice's writes between these times have no answer.
    fn silent(history: &mut History, from: Micros, to: Micros) {
        let ops = history.ops.iter_mut().filter(|op| op.kind.is_durable() && op.start >= from && op.start < to);
        ops.for_each(|op| op.outcome = Outcome::Unknown);
    }

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = it_heals_without_help(&holding());
        assert!(verdict.holds() && verdict.judged == 2, "{verdict:?}");
    }

    #[test]
    fn a_fault_after_which_a_user_is_not_served_in_time_is_seen() {
        let told = broken_by(it_heals_without_help, |h| silent(h, 8_000_000, 14_000_000));
        assert!(told.contains("kill of n3 ended at 8000000 µs, and alice has no write"), "{told}");
    }

    #[test]
    fn a_killed_node_that_nobody_stands_in_for_in_time_is_seen() {
        let told = broken_by(it_heals_without_help, |h| h.ops.push(write(30, 4_200, Outcome::Unknown, None, "n1")));
        assert!(told.contains("kill of n3 began"), "{told}");
    }

    #[test]
    fn one_user_who_is_served_does_not_make_up_for_another() {
        let told = broken_by(it_heals_without_help, |h| {
            let carols = |start, outcome| Op { user: "carol".into(), ..write(40, start, outcome, Some(3), "n1") };
            h.ops.extend([carols(8_500, Outcome::Unknown), carols(15_000, Outcome::Ok)]);
        });
        assert!(told.contains("carol"), "{told}");
    }

    #[test]
    fn while_the_next_fault_is_under_way_nothing_is_promised() {
        let mut history = holding();
        silent(&mut history, 8_000_000, 14_000_000);
        history.faults[1].start = 9_000_000;
        assert!(it_heals_without_help(&history).holds());
    }
}
