//! Whether a run proves anything: there was load before the first fault, every required fault happened and ended, all came
//! to rest, and what must be compared in the end was read.

use crate::history::{History, Micros, OpKind};
use std::collections::BTreeSet;

/// Why a run proves nothing; nothing, if it is valid.
#[must_use]
pub fn validity(history: &History) -> Vec<String> {
    let mut reasons = Vec::new();
    let promises = &history.promises;
    let first = history.faults.iter().map(|f| f.start).min().unwrap_or(Micros::MAX);
    let load = history.acknowledged(OpKind::SetStatus).filter(|op| op.end < first).count();
    if load < promises.load_min {
        reasons.push(format!(
            "{load} writes were acknowledged before the first fault, {} are demanded",
            promises.load_min
        ));
    }
    for kind in &promises.required_faults {
        if !history.faults.iter().any(|fault| fault.kind == *kind && fault.end.is_some()) {
            reasons.push(format!("no fault {kind:?} came and went"));
        }
    }
    if history.dropped > 0 {
        reasons.push(format!("{} records were left out", history.dropped));
    }
    let Some(quiet) = history.quiet_at else {
        reasons.push("it never came to rest".into());
        return reasons;
    };
    let last = history.faults.iter().map(|f| f.end.unwrap_or(Micros::MAX)).max().unwrap_or(0);
    if quiet < last {
        reasons.push("it was called quiet before the last fault had ended".into());
    }
    if let Some(op) = history.ops.iter().find(|op| op.kind.is_durable() && op.start > quiet) {
        reasons.push(format!("{} wrote at {} µs, after it was called quiet", op.client, op.start));
    }
    let written: BTreeSet<&str> =
        history.ops.iter().filter(|op| op.serial.is_some()).map(|op| op.user.as_str()).collect();
    for user in written {
        if !history.pages.iter().any(|pages| pages.user == user) {
            reasons.push(format!("the history of {user} was not read"));
        }
        for node in &promises.nodes {
            if !history.reads.iter().any(|read| read.user == user && read.node == *node) {
                reasons.push(format!("{node} was not asked for {user} in the end"));
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::holding;

    fn reason(plant: impl FnOnce(&mut History)) -> String {
        let mut history = holding();
        assert_eq!(validity(&history), [] as [String; 0]);
        plant(&mut history);
        validity(&history).join("; ")
    }

    #[test]
    fn a_run_without_load_before_the_fault_proves_nothing() {
        assert!(reason(|h| h.faults[0].start = 0).contains("before the first fault"));
    }

    #[test]
    fn a_run_without_its_fault_proves_nothing() {
        assert!(reason(|h| drop(h.faults.remove(1))).contains("cut_off"));
        assert!(reason(|h| h.faults[1].end = None).contains("cut_off"), "one that never ended");
    }

    #[test]
    fn a_run_of_which_something_was_left_out_proves_nothing() {
        assert!(reason(|h| h.dropped = 1).contains("left out"));
    }

    #[test]
    fn a_run_that_did_not_come_to_rest_proves_nothing() {
        assert!(reason(|h| h.quiet_at = None).contains("never came to rest"));
        assert!(reason(|h| h.quiet_at = Some(21_000_000)).contains("before the last fault"));
        assert!(reason(|h| h.quiet_at = Some(25_500_000)).contains("after it was called quiet"));
    }

    #[test]
    fn a_run_whose_end_was_not_read_proves_nothing() {
        assert!(reason(|h| drop(h.pages.remove(0))).contains("the history of alice"));
        assert!(reason(|h| h.reads.retain(|r| r.node != "n3")).contains("n3 was not asked"));
    }
}
