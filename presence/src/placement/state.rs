//! The committed placement: a value that every node has a copy of.
//!
//! Changed by [`apply_placement`](super::apply_placement) alone. What it names is what runs; the ring only proposes.

use super::{assignment::Assignment, member::Member};
use crate::{id::NodeName, ring::PartitionId};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use bincode::{Decode, Encode};

/// Members and assignments. `Placement::default()` is what there is before a cluster was founded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Placement {
    /// Rises with every command that changed something.
    pub epoch: u64,
    /// The cluster's identity; empty before it was founded.
    pub cluster_id: String,
    /// Replicas wanted: 1 or 3.
    pub replication: u8,
    /// The rules that every member knows: what proposals use. Never falls.
    pub rules: u16,
    /// The members by name.
    pub members: BTreeMap<NodeName, Member>,
    /// By partition number.
    pub partitions: Vec<Assignment>,
}

/// A node that is being let into a partition, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Which partition.
    pub partition: PartitionId,
    /// Whose place it takes; when it is nobody's, who leads and therefore sends.
    pub from: Option<NodeName>,
    /// Who is let in.
    pub to: NodeName,
}

impl Placement {
    /// Whether a cluster was founded.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.epoch > 0
    }

    /// The assignment of `partition`, if there is such a partition.
    #[must_use]
    pub fn assignment(&self, partition: PartitionId) -> Option<&Assignment> {
        self.partitions.get(usize::from(partition.0))
    }

    /// Every partition with its number.
    pub fn assignments(&self) -> impl Iterator<Item = (PartitionId, &Assignment)> {
        (0..=u16::MAX).map(PartitionId).zip(&self.partitions)
    }

    /// The known replicas of `partition`: voters, then learners.
    pub fn replicas_of(&self, partition: PartitionId) -> impl Iterator<Item = &NodeName> {
        self.assignment(partition).into_iter().flat_map(|at| at.voters.iter().chain(&at.learners))
    }

    /// The partitions of which `node` must run a replica; it drops every other.
    pub fn runs_on<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = PartitionId> + 'a {
        self.assignments().filter(|(_, at)| at.is_hosted_by(node)).map(|(partition, _)| partition)
    }

    /// The replicas that are being built.
    pub fn incoming(&self) -> impl Iterator<Item = Incoming> {
        self.assignments().flat_map(|(partition, at)| {
            let (voters, learners) = at.wanted();
            let stays = |node: &NodeName| voters.contains(node) || learners.contains(node);
            let mut leaving = at.voters.iter().chain(&at.learners).filter(move |node| !stays(node));
            at.incoming().map(move |to| Incoming {
                partition,
                from: leaving.next().or(at.leader.as_ref()).cloned(),
                to: to.clone(),
            })
        })
    }

    /// Voters that a partition should have: three from the third member that keeps replicas on, one before.
    #[must_use]
    pub fn voters_wanted(&self) -> usize {
        let keeping = self.members.values().filter(|member| member.keeps()).count();
        if self.replication >= 3 && keeping >= 3 { 3 } else { 1 }
    }

    /// Whether the member of this name is there and not down.
    pub(super) fn is_up(&self, node: &NodeName) -> bool {
        self.members.get(node).is_some_and(|member| !member.is_down())
    }
}

/// How many of `count` voters are a majority.
pub(super) const fn majority(count: usize) -> usize {
    count / 2 + 1
}
