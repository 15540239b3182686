//! One home commits per partition and term: no two nodes are ever said, by anybody, to lead the same partition in the same
//! term. That two homes committed under one version shows in `versions_rise_per_watcher`, as one version in two states.

use super::Verdict;
use crate::history::{History, Role};
use std::collections::BTreeMap;

/// Judges every term of every partition that a sample shows.
#[must_use]
pub fn one_home_commits_per_partition_and_term(history: &History) -> Verdict {
    let mut verdict = Verdict::of("one home commits per partition and term");
    let mut terms: BTreeMap<(u64, u64), Vec<&Role>> = BTreeMap::new();
    for role in &history.roles {
        let told = terms.entry((role.partition, role.term)).or_default();
        if !told.iter().any(|other| other.leader == role.leader) {
            told.push(role);
        }
    }
    for ((partition, term), told) in terms {
        verdict.judge((told.len() > 1).then(|| {
            let each = told.iter().map(|r| format!("{} ({} at {} µs)", r.leader, r.node, r.at)).collect::<Vec<_>>();
            format!("partition {partition} in term {term} is led by {}", each.join(" and by "))
        }));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::planted::{broken_by, holding};

    #[test]
    fn a_history_that_holds_passes() {
        let verdict = one_home_commits_per_partition_and_term(&holding());
        assert!(verdict.holds() && verdict.judged == 2, "{verdict:?}");
    }

    #[test]
    fn two_homes_of_one_term_are_seen() {
        let told = broken_by(one_home_commits_per_partition_and_term, |h| h.roles[0].leader = "n2".into());
        assert!(told.contains("in term 1 is led by n2") && told.contains("and by n3"), "{told}");
    }

    #[test]
    fn another_partition_or_term_may_have_another_home() {
        let mut history = holding();
        (history.roles[0].leader, history.roles[0].partition) = ("n2".into(), 5);
        assert!(one_home_commits_per_partition_and_term(&history).holds());
    }
}
