//! Evens shares out: votes move from nodes that have two more than another.
//!
//! Votes within one of even make leaderships within one of even possible: were each partition led a third by each of its
//! three voters, every node would lead a third of its votes, and a whole choice exists between the same bounds. Each move
//! makes the sum of squares smaller, so it ends.

use super::seats::{Begun, Seats};
use crate::{limits::CHANGES_PER_NODE_MAX, ring::PartitionId};
use alloc::vec::Vec;
use core::cmp::Reverse;

impl Seats<'_> {
    /// Moves votes from nodes that have many to nodes that have two fewer, one by one.
    pub(super) fn even_out(&mut self) {
        while self.room > 0 {
            let mut able: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].able).collect();
            able.sort_by_key(|node| (self.nodes[*node].load, *node));
            let load = |node: usize| self.nodes[node].load;
            let pairs: Vec<(usize, usize)> = able
                .iter()
                .flat_map(|to| able.iter().rev().map(move |from| (*from, *to)))
                .filter(|(from, to)| load(*from) >= load(*to) + 2)
                .collect();
            if !pairs.into_iter().any(|(from, to)| self.even(from, to)) {
                return;
            }
        }
    }

    /// Moves one vote: first where `to` has a copy, then where `from` does not lead, then where the leader has most to hand
    /// over, then where the ring would have `to`.
    fn even(&mut self, from: usize, to: usize) -> bool {
        if self.nodes[to].busy >= CHANGES_PER_NODE_MAX {
            return false;
        }
        let mut partitions: Vec<(bool, bool, Reverse<usize>, bool, usize)> = (0..self.seats.len())
            .filter(|partition| self.seats[*partition].may_swap(from, to))
            .map(|partition| {
                let seat = &self.seats[partition];
                let ring = self.ring.replicas(PartitionId(partition as u16), self.placement.voters_wanted());
                let leads = seat.leader.map_or(0, |leader| self.nodes[leader].leads);
                let is_led = seat.leader == Some(from);
                (!seat.wanted.has(to), is_led, Reverse(leads), !ring.contains(self.name(to)), partition)
            })
            .collect();
        partitions.sort_unstable();
        partitions.into_iter().any(|(.., partition)| self.swap(partition, from, to))
    }

    fn swap(&mut self, partition: usize, from: usize, to: usize) -> bool {
        let mut wanted = self.seats[partition].wanted.clone();
        wanted.voters.retain(|voter| *voter != from);
        wanted.voters.push(to);
        if wanted.learners.contains(&to) {
            wanted.learners.retain(|learner| *learner != to);
            wanted.learners.push(from);
        }
        if self.begin(partition, &wanted.sorted()) != Begun::Yes {
            return false;
        }
        // Whoever leads much will hand over to the new voter.
        if let Some(leader) = self.seats[partition].leader
            && self.nodes[leader].leads > self.nodes[to].leads + 1
        {
            self.nodes[leader].leads -= 1;
            self.nodes[to].leads += 1;
        }
        true
    }
}
