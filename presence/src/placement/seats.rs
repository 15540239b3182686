//! The seats of all partitions while a plan is made, and how many may change at once.
//!
//! Works on wanted seats: a change under way counts as done. Nodes are indices into one sorted table. Promises that no
//! change begins without a live majority before and after it, nor beyond what may move at once.

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
pub(super) struct Node<'a> {
    pub(super) name: &'a NodeName,
    /// Up and heard: may be given seats and leaderships.
    pub(super) able: bool,
    /// Heard, and not declared dead: counts for a majority.
    pub(super) present: bool,
    /// Keeps the seats it has.
    pub(super) keeps: bool,
    /// Seats with a vote that it has, or is to have.
    pub(super) load: usize,
    /// Partitions that it should lead, and is expected to.
    pub(super) leads: usize,
    /// Changes in which it sends or receives.
    pub(super) busy: usize,
}

/// The replicas of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replicas {
    pub(super) voters: Vec<usize>,
    pub(super) learners: Vec<usize>,
}

impl Replicas {
    pub(super) fn has(&self, node: usize) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }

    pub(super) fn sorted(mut self) -> Self {
        self.voters.sort_unstable();
        self.learners.sort_unstable();
        self
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) reached: Replicas,
    pub(super) wanted: Replicas,
    pub(super) changing: bool,
    pub(super) leader: Option<usize>,
}

impl Seat {
    /// Whether a vote of `from` can go to `to`.
    pub(super) fn may_swap(&self, from: usize, to: usize) -> bool {
        !self.changing && self.wanted.voters.contains(&from) && !self.wanted.voters.contains(&to)
    }
}

/// How an attempt to begin a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    /// Not now: enough is moving already.
    Paced,
    /// Not with the nodes that live.
    Stalled,
}

/// The wanted seats of all partitions.
#[derive(Debug)]
pub(super) struct Seats<'a> {
    pub(super) placement: &'a Placement,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) indices: BTreeMap<&'a NodeName, usize>,
    pub(super) seats: Vec<Seat>,
    pub(super) ring: Ring,
    pub(super) room: usize,
    pub(super) changes: Vec<Change>,
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
                    leads: 0,
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
            if let Some(leader) = seat.leader {
                this.nodes[leader].leads += 1;
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
        if !self.has_majority(&seat.reached.voters) {
            // Nobody leads it, whoever should.
            return Vec::new();
        }
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
    pub(super) fn begin(&mut self, partition: usize, wanted: &Replicas) -> Begun {
        let seat = &self.seats[partition];
        // A vote is only given to a node that is there, so a majority of before is one of after.
        if !self.has_majority(&seat.reached.voters) {
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
}

fn incoming(reached: &Replicas, wanted: &Replicas) -> Vec<usize> {
    wanted.voters.iter().chain(&wanted.learners).copied().filter(|node| !reached.has(*node)).collect()
}
