//! Replaces what is lost: votes of nodes that leave, votes and learners that are missing.
//!
//! The ring proposes, among the nodes that have less than their share. Promises to leave alone what is as good as it can be
//! with the nodes that live, so that planning again adds nothing.

use super::seats::{Begun, Replicas, Seats};
use crate::ring::PartitionId;
use alloc::{vec, vec::Vec};

impl Seats<'_> {
    /// Replaces what is lost. `false` while more of that is to come.
    pub(super) fn repair(&mut self) -> bool {
        let mut all_begun = true;
        for partition in 0..self.seats.len() {
            if self.room == 0 {
                return false;
            }
            if self.seats[partition].changing {
                continue;
            }
            if let Some(wanted) = self.repaired(partition) {
                all_begun &= self.begin(partition, &wanted) != Begun::Paced;
            }
        }
        all_begun
    }

    /// What `partition` should have instead of what it has; `None` when that is all right, or the best there is.
    fn repaired(&self, partition: usize) -> Option<Replicas> {
        let has = &self.seats[partition].wanted;
        let three = if self.placement.voters_wanted() == 3 { self.three(partition) } else { None };
        let wanted = three.or_else(|| self.one(partition))?;
        let wanted = wanted.sorted();
        (wanted != *has).then_some(wanted)
    }

    /// Three voters, at most one of them new where there are three already; `None` when there are fewer and not enough nodes.
    fn three(&self, partition: usize) -> Option<Replicas> {
        let has = &self.seats[partition].wanted;
        let mut voters = has.voters.clone();
        if voters.len() == 3 {
            let leaving = voters.iter().copied().filter(|voter| !self.nodes[*voter].keeps);
            if let Some(leaving) = leaving.min_by_key(|voter| (self.nodes[*voter].present, *voter))
                && let Some(new) = self.pick(partition, &voters)
            {
                voters.retain(|voter| *voter != leaving);
                voters.push(new);
            }
        } else {
            voters.retain(|voter| self.nodes[*voter].keeps);
            while voters.len() < 3 {
                voters.push(self.pick(partition, &voters)?);
            }
        }
        Some(Replicas { voters, learners: Vec::new() })
    }

    /// One voter and, when three are wanted in the end, one learner; `None` when nobody can take the vote.
    fn one(&self, partition: usize) -> Option<Replicas> {
        let has = &self.seats[partition].wanted;
        let held = || has.voters.iter().copied();
        let voter = held()
            .filter(|voter| self.nodes[*voter].able)
            .min_by_key(|voter| (self.nodes[*voter].load, *voter))
            .or_else(|| self.pick(partition, &[]))
            .or_else(|| held().find(|voter| self.nodes[*voter].present && self.nodes[*voter].keeps))?;
        if self.placement.replication < 3 {
            return Some(Replicas { voters: vec![voter], learners: Vec::new() });
        }
        let holders = has.learners.iter().chain(&has.voters).copied();
        let learner = holders
            .filter(|holder| *holder != voter && self.nodes[*holder].keeps)
            .min_by_key(|holder| !self.nodes[*holder].able)
            .or_else(|| self.pick(partition, &[voter]));
        Some(Replicas { voters: vec![voter], learners: learner.into_iter().collect() })
    }

    /// The node that a vote should be given to: one that holds a copy, then one with less than its share, then the ring's
    /// first.
    fn pick(&self, partition: usize, taken: &[usize]) -> Option<usize> {
        let able = self.nodes.iter().filter(|node| node.able).count();
        let ring = self.ring.replicas(PartitionId(partition as u16), able);
        let low = self.even_share(able).saturating_sub(1);
        let holds = |node: usize| self.seats[partition].wanted.has(node) && self.nodes[node].load <= low;
        // Of equals the first is taken: the ring's.
        ring.iter()
            .filter_map(|name| self.index(name))
            .filter(|node| !taken.contains(node))
            .min_by_key(|node| (!holds(*node), self.nodes[*node].load.max(low)))
    }

    /// Votes that each of the `able` has at least once everything is even.
    fn even_share(&self, able: usize) -> usize {
        let all = self.seats.len() * self.placement.voters_wanted();
        let kept: usize = self.nodes.iter().filter(|node| node.keeps && !node.able).map(|node| node.load).sum();
        all.saturating_sub(kept) / able.max(1)
    }
}
