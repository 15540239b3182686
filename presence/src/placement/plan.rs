//! What to do next: a pure function of what is committed and of who is heard.
//!
//! Promises: only a few steps at once; each is valid as things are; carrying them out again and again ends; and whoever
//! takes over after a crash computes the same steps from the committed placement.

use super::{
    command::PlacementCommand,
    leaders,
    member::MemberState,
    seats::{Change, Seats},
    state::Placement,
};
use crate::{id::NodeName, ring::PartitionId};
use alloc::{collections::BTreeSet, vec::Vec};

/// What the placement's leader sees beside the committed placement.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The nodes whose lease runs.
    pub live: &'a BTreeSet<NodeName>,
    /// The nodes that lead any partition's group now, whatever is preferred.
    pub leading: &'a BTreeSet<NodeName>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Another voter should lead: the one that leads hands over.
    Lead {
        /// Which partition.
        partition: PartitionId,
        /// Who should.
        node: NodeName,
    },
    /// A partition goes to other replicas.
    Change {
        /// Which partition.
        partition: PartitionId,
        /// The wanted voters, sorted.
        voters: Vec<NodeName>,
        /// The wanted learners, sorted.
        learners: Vec<NodeName>,
    },
    /// A change cannot be finished and is given up.
    Cancel {
        /// Which partition.
        partition: PartitionId,
        /// Which change.
        change: u64,
    },
    /// A node has handed all its leaderships over.
    FinishDrain {
        /// Who.
        name: NodeName,
    },
    /// A node that is removed keeps nothing any more.
    Forget {
        /// Who.
        name: NodeName,
    },
}

impl From<Move> for PlacementCommand {
    fn from(step: Move) -> Self {
        match step {
            Move::Lead { partition, node } => Self::PreferLeader { partition, node },
            Move::Change { partition, voters, learners } => Self::Begin { partition, voters, learners },
            Move::Cancel { partition, change } => Self::Cancel { partition, change },
            Move::FinishDrain { name } => Self::FinishDrain { name },
            Move::Forget { name } => Self::Forget { name },
        }
    }
}

/// The next steps, in the order in which to commit them; none when all is as it should be, or as good as it can be with
/// the nodes that live.
///
/// Leaderships move at once and first. At most [`CHANGES_MAX`](crate::limits::CHANGES_MAX) partitions change their
/// replicas at a time, those that are changing already included, and a node sends or receives in at most
/// [`CHANGES_PER_NODE_MAX`](crate::limits::CHANGES_PER_NODE_MAX).
#[must_use]
pub fn plan_moves(placement: &Placement, view: View<'_>) -> Vec<Move> {
    let mut seats = Seats::new(placement, view.live);
    let changes = seats.changes();
    let mut moves = leader_moves(placement, &seats);
    moves.extend(changes.into_iter().map(|change| match change {
        Change::Cancel { partition, change } => Move::Cancel { partition, change },
        Change::Begin { partition, voters, learners } => Move::Change { partition, voters, learners },
    }));
    for (name, member) in &placement.members {
        let leads = || placement.partitions.iter().any(|at| at.leader.as_ref() == Some(name));
        let keeps = || placement.partitions.iter().any(|at| at.is_hosted_by(name));
        if member.state == MemberState::Draining && !view.leading.contains(name) && !leads() {
            moves.push(Move::FinishDrain { name: name.clone() });
        } else if member.is_removing() && !keeps() {
            moves.push(Move::Forget { name: name.clone() });
        }
    }
    moves
}

fn leader_moves(placement: &Placement, seats: &Seats<'_>) -> Vec<Move> {
    let current: Vec<Option<usize>> =
        placement.partitions.iter().map(|at| at.leader.as_ref().and_then(|leader| seats.index(leader))).collect();
    let candidates: Vec<Vec<usize>> =
        current.iter().enumerate().map(|(partition, leader)| seats.leader_candidates(partition, *leader)).collect();
    let chosen = leaders::choose(seats.nodes(), &candidates, &current);
    let moved = placement.assignments().zip(current.iter().zip(&chosen)).filter(|(_, (was, is))| was != is);
    moved
        .filter_map(|((partition, _), (_, chosen))| {
            chosen.map(|node| Move::Lead { partition, node: seats.name(node).clone() })
        })
        .collect()
}
