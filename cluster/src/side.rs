//! What a node answers its peers about its groups; who may be linked with, as the placement has it.
//!
//! Made before the links, which it is given to, and before the groups, which need the links: until these are there it answers
//! nobody.

use crate::{
    hosting::Hosting,
    peers::{GroupSnapshot, LeaderVote, Peer, PeerSide, PresenceLane, SnapshotAnswer},
    raft::link::{Ask, Told},
};
use futures::future::BoxFuture;
use rollcall_presence::PartitionId;
use std::sync::{Arc, OnceLock, Weak};

/// The answering side of a node.
pub(crate) struct Side {
    hosting: OnceLock<Weak<Hosting>>,
    lane: Arc<dyn PresenceLane>,
}

impl Side {
    /// Answers nobody yet.
    #[must_use]
    pub(crate) fn new(lane: Arc<dyn PresenceLane>) -> Arc<Self> {
        Arc::new(Self { hosting: OnceLock::new(), lane })
    }

    /// From now on the groups of `hosting` answer.
    pub(crate) fn answer_from(&self, hosting: &Arc<Hosting>) {
        // A node has one set of groups: there is no second call.
        let _ = self.hosting.set(Arc::downgrade(hosting));
    }

    fn hosting(&self) -> Option<Arc<Hosting>> {
        self.hosting.get()?.upgrade()
    }
}

impl PeerSide for Side {
    fn admits(&self, peer: &Peer) -> bool {
        let Some(hosting) = self.hosting() else { return false };
        let placement = hosting.placement();
        let placement = placement.borrow();
        let known = placement.members.get(&peer.name);
        known.is_some_and(|member| member.raft_id == peer.raft_id && member.generation <= peer.generation)
    }

    fn raft<'a>(&'a self, from: &'a Peer, partition: PartitionId, ask: Ask) -> BoxFuture<'a, Option<Told>> {
        Box::pin(async move { self.hosting()?.raft(from, partition, ask).await })
    }

    fn snapshot<'a>(
        &'a self,
        from: &'a Peer,
        partition: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Option<SnapshotAnswer>> {
        Box::pin(async move { self.hosting()?.snapshot(from, partition, vote, snapshot).await })
    }

    fn control<'a>(&'a self, _: &'a Peer, _: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn join(&self, _: Vec<u8>) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn presence(&self) -> &Arc<dyn PresenceLane> {
        &self.lane
    }
}
