//! Which replicas each partition should have next: what is lost is replaced, then shares are evened.
//!
//! Works on wanted seats: a change under way counts as done. Nodes are indices into one sorted table. Promises that no
//! change begins without a live majority before and after it, and that no seat moves but to repair or to even.

use super::state::{Placement, majority};
use crate::{
    id::NodeName,
    limits::{CHANGES_MAX, CHANGES_PER_NODE_MAX},
    ring::{PartitionId, Ring},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

/// A step that concerns replicas.
#[derive(Debug)]
pub(super) enum Change {
    Begin { partition: PartitionId, voters: Vec<NodeName>, learners: Vec<NodeName> },
    Cancel { partition: PartitionId, change: u64 },
}

/// A node as the plan sees it.
#[derive(Debug)]
struct Node<'a> {
    name: &'a NodeName,
    /// Up and heard: may be given seats and leaderships.
    able: bool,
    /// Heard, and not declared dead: counts for a majority.
    present: bool,
    /// Keeps the seats it has.
    keeps: bool,
    /// Seats with a vote that it has, or is to have.
    load: usize,
    /// Changes in which it sends or receives.
    busy: usize,
}

/// The replicas of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replicas {
    voters: Vec<usize>,
    learners: Vec<usize>,
}

impl Replicas {
    fn has(&self, node: usize) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }

    fn sorted(mut self) -> Self {
        self.voters.sort_unstable();
        self.learners.sort_unstable();
        self
    }
}

#[derive(Debug)]
struct Seat {
    reached: Replicas,
    wanted: Replicas,
    changing: bool,
    leader: Option<usize>,
}

/// How an attempt to begin a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Yes,
    /// Not now: enough is moving already.
    Paced,
    /// Not with the nodes that live.
    Stalled,
}

/// The wanted seats of all partitions.
#[derive(Debug)]
pub(super) struct Seats<'a> {
    placement: &'a Placement,
    nodes: Vec<Node<'a>>,
    indices: BTreeMap<&'a NodeName, usize>,
    seats: Vec<Seat>,
    ring: Ring,
    room: usize,
    changes: Vec<Change>,
}

impl<'a> Seats<'a> {
    pub(super) fn new(placement: &'a Placement, live: &BTreeSet<NodeName>) -> Self {
        let named = placement.partitions.iter().flat_map(|at| at.hosts().chain(&at.leader));
        let names: BTreeSet<&NodeName> = placement.members.keys().chain(named).collect();
        let nodes: Vec<Node<'_>> = names
            .iter()
            .map(|name| {
                let member = placement.members.get(*name);
                let heard = live.contains(*name);
                Node {
                    name,
                    able: heard && member.is_some_and(|member| member.takes()),
                    present: heard && member.is_some_and(|member| !member.is_down()),
                    keeps: member.is_some_and(|member| member.keeps()),
                    load: 0,
                    busy: 0,
                }
            })
            .collect();
        let indices: BTreeMap<&NodeName, usize> = names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        let able: Vec<NodeName> = nodes.iter().filter(|node| node.able).map(|node| node.name.clone()).collect();
        let seats = Vec::new();
        let ring = Ring::new(&able);
        let mut this = Self { placement, nodes, indices, seats, ring, room: CHANGES_MAX, changes: Vec::new() };
        this.seats = placement.partitions.iter().map(|at| this.seat(at)).collect();
        for seat in &this.seats {
            for voter in &seat.wanted.voters {
                this.nodes[*voter].load += 1;
            }
        }
        this
    }

    fn seat(&self, at: &super::Assignment) -> Seat {
        let known = |nodes: &[NodeName]| nodes.iter().filter_map(|name| self.index(name)).collect();
        let (voters, learners) = at.wanted();
        Seat {
            reached: Replicas { voters: known(&at.voters), learners: known(&at.learners) },
            wanted: Replicas { voters: known(voters), learners: known(learners) },
            changing: at.target.is_some(),
            leader: at.leader.as_ref().and_then(|leader| self.index(leader)),
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn index(&self, name: &NodeName) -> Option<usize> {
        self.indices.get(name).copied()
    }

    pub(super) fn name(&self, node: usize) -> &'a NodeName {
        self.nodes[node].name
    }

    /// Who may lead `partition`. While its replicas change, a leader that stays is left alone: it is sending.
    pub(super) fn leader_candidates(&self, partition: usize, leader: Option<usize>) -> Vec<usize> {
        let seat = &self.seats[partition];
        let able: Vec<usize> = seat.reached.voters.iter().copied().filter(|voter| self.nodes[*voter].able).collect();
        if !seat.changing {
            return able;
        }
        let staying: Vec<usize> = able.iter().copied().filter(|voter| seat.wanted.voters.contains(voter)).collect();
        match leader.filter(|leader| staying.contains(leader)) {
            Some(leader) => vec![leader],
            None if staying.is_empty() => able,
            None => staying,
        }
    }

    /// The changes to begin or to give up now.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        self.take_stock();
        if self.repair() {
            self.even_out();
        }
        core::mem::take(&mut self.changes)
    }

    fn has_majority(&self, voters: &[usize]) -> bool {
        voters.iter().filter(|voter| self.nodes[**voter].present).count() >= majority(voters.len())
    }

    /// Counts the changes under way, and gives those up that wait for a node which is not there.
    fn take_stock(&mut self) {
        for (partition, at) in self.placement.assignments() {
            let seat = &self.seats[usize::from(partition.0)];
            let Some(target) = &at.target else { continue };
            if !self.has_majority(&seat.reached.voters) {
                // It can neither go on nor back; others are not to wait for it.
                continue;
            }
            let incoming = incoming(&seat.reached, &seat.wanted);
            let may_come = |node: &usize| self.nodes[*node].present && self.nodes[*node].keeps;
            let mut voters = seat.wanted.voters.iter().filter(|voter| !seat.reached.voters.contains(voter));
            let is_lost =
                !incoming.iter().all(may_come) || !voters.all(may_come) || !self.has_majority(&seat.wanted.voters);
            // One that was given up waits for nobody, and nobody waits for it.
            let is_given_up = seat.wanted == seat.reached;
            if is_lost && !is_given_up {
                self.changes.push(Change::Cancel { partition, change: target.change });
            }
            if !is_given_up {
                let leader = seat.leader;
                self.occupy(leader, &incoming);
            }
        }
    }

    fn occupy(&mut self, leader: Option<usize>, incoming: &[usize]) {
        self.room = self.room.saturating_sub(1);
        for node in incoming.iter().copied().chain(leader.filter(|_| !incoming.is_empty())) {
            self.nodes[node].busy += 1;
        }
    }

    /// Begins the change of `partition` to `wanted`, if it may be.
    fn begin(&mut self, partition: usize, wanted: &Replicas) -> Begun {
        let seat = &self.seats[partition];
        if !self.has_majority(&seat.reached.voters) || !self.has_majority(&wanted.voters) {
            return Begun::Stalled;
        }
        let incoming = incoming(&seat.reached, wanted);
        let leader = seat.leader;
        let is_busy = |node: usize| self.nodes[node].busy >= CHANGES_PER_NODE_MAX;
        let sends = leader.filter(|_| !incoming.is_empty());
        if self.room == 0 || incoming.iter().copied().chain(sends).any(is_busy) {
            return Begun::Paced;
        }
        self.occupy(leader, &incoming);
        for voter in core::mem::take(&mut self.seats[partition].wanted.voters) {
            self.nodes[voter].load -= 1;
        }
        for voter in &wanted.voters {
            self.nodes[*voter].load += 1;
        }
        let names = |nodes: &[usize]| nodes.iter().map(|node| self.name(*node).clone()).collect();
        let (voters, learners) = (names(&wanted.voters), names(&wanted.learners));
        self.changes.push(Change::Begin { partition: PartitionId(partition as u16), voters, learners });
        self.seats[partition].wanted = wanted.clone();
        self.seats[partition].changing = true;
        Begun::Yes
    }

    /// Replaces what is lost. `false` while more of that is to come.
    fn repair(&mut self) -> bool {
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
        let wanted = match three {
            Some(three) => three,
            None if self.placement.voters_wanted() == 3 && has.voters.len() > 1 => return None,
            None => self.one(partition)?,
        };
        let wanted = wanted.sorted();
        (wanted != *has).then_some(wanted)
    }

    /// Three voters, at most one of them new where there are three already; `None` when there are not enough nodes.
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
        let ranked = ring.iter().filter_map(|name| self.index(name)).enumerate();
        let low = self.even_share(able).saturating_sub(1);
        let holds = |node: usize| self.seats[partition].wanted.has(node) && self.nodes[node].load <= low;
        ranked
            .filter(|(_, node)| !taken.contains(node))
            .min_by_key(|(rank, node)| (!holds(*node), self.nodes[*node].load.max(low), *rank))
            .map(|(_, node)| node)
    }

    /// Votes that each of the `able` has at least once everything is even.
    fn even_share(&self, able: usize) -> usize {
        let all = self.seats.len() * self.placement.voters_wanted();
        let kept: usize = self.nodes.iter().filter(|node| node.keeps && !node.able).map(|node| node.load).sum();
        all.saturating_sub(kept) / able.max(1)
    }

    /// Moves votes from nodes that have many to nodes that have two fewer, one by one.
    fn even_out(&mut self) {
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

    /// Moves one vote; the partitions that the ring would give to `to` first.
    fn even(&mut self, from: usize, to: usize) -> bool {
        if self.nodes[to].busy >= CHANGES_PER_NODE_MAX {
            return false;
        }
        let movable =
            |seat: &Seat| !seat.changing && seat.wanted.voters.contains(&from) && !seat.wanted.voters.contains(&to);
        let mut partitions: Vec<(bool, bool, usize)> = (0..self.seats.len())
            .filter(|partition| movable(&self.seats[*partition]))
            .map(|partition| {
                let ring = self.ring.replicas(PartitionId(partition as u16), self.placement.voters_wanted());
                let holds = self.seats[partition].wanted.has(to);
                (!holds, !ring.contains(self.name(to)), partition)
            })
            .collect();
        partitions.sort_unstable();
        partitions.into_iter().any(|(.., partition)| {
            let mut wanted = self.seats[partition].wanted.clone();
            wanted.voters.retain(|voter| *voter != from);
            wanted.voters.push(to);
            if wanted.learners.contains(&to) {
                wanted.learners.retain(|learner| *learner != to);
                wanted.learners.push(from);
            }
            self.begin(partition, &wanted.sorted()) == Begun::Yes
        })
    }
}

fn incoming(reached: &Replicas, wanted: &Replicas) -> Vec<usize> {
    wanted.voters.iter().chain(&wanted.learners).copied().filter(|node| !reached.has(*node)).collect()
}
