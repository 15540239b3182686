//! Which nodes keep a partition, and which are to keep it.
//!
//! Promises that a node which the partition's group may still count on is named here: such a node runs a replica, and a
//! node that is named nowhere here drops its own.

use crate::id::NodeName;
use alloc::vec::Vec;
use bincode::{Decode, Encode};

/// Where a partition's group is going: by learner, catch-up and joint change.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Target {
    /// The epoch in which it was asked for. A report names it, so that a report from before a cancellation ends nothing.
    /// A group goes towards the newest change that it was asked for, and never back to an older one.
    pub change: u64,
    /// The wanted voters, one or three, sorted.
    pub voters: Vec<NodeName>,
    /// The wanted learners, sorted.
    pub learners: Vec<NodeName>,
}

/// A partition's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Assignment {
    /// The voters that its group is known to have reached, sorted.
    pub voters: Vec<NodeName>,
    /// Followers without a vote, known to be reached, sorted: the second node of a cluster of two.
    pub learners: Vec<NodeName>,
    /// The change under way, if any: at most one.
    pub target: Option<Target>,
    /// Nodes of a cancelled change: the group may have let them in, so they keep a replica until it has reported.
    pub departing: Vec<NodeName>,
    /// The voter that should lead.
    pub leader: Option<NodeName>,
}

impl Assignment {
    /// All that must run a replica, each once.
    pub fn hosts(&self) -> impl Iterator<Item = &NodeName> {
        let mut hosts: Vec<&NodeName> = self.named().collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.into_iter()
    }

    /// Whether `node` must run a replica.
    #[must_use]
    pub fn is_hosted_by(&self, node: &NodeName) -> bool {
        self.named().any(|host| host == node)
    }

    fn named(&self) -> impl Iterator<Item = &NodeName> {
        let target = self.target.iter().flat_map(|target| target.voters.iter().chain(&target.learners));
        self.voters.iter().chain(&self.learners).chain(target).chain(&self.departing)
    }

    /// Voters and learners as they should be in the end.
    #[must_use]
    pub fn wanted(&self) -> (&[NodeName], &[NodeName]) {
        self.target.as_ref().map_or((&self.voters, &self.learners), |target| (&target.voters, &target.learners))
    }

    /// The nodes that a change lets in: wanted, and not there yet.
    pub fn incoming(&self) -> impl Iterator<Item = &NodeName> {
        let (voters, learners) = self.wanted();
        voters.iter().chain(learners).filter(|node| !self.voters.contains(node) && !self.learners.contains(node))
    }
}
