//! What a node answers its peers about its groups; who may be linked with, as the placement has it.
//!
//! Made before the links, which it is given to, and before the groups, which need the links: until these are there it answers
//! nobody.

use crate::{
    control::{Control, Introduced, WeakControl},
    hosting::Hosting,
    peers::{GroupSnapshot, LeaderVote, Peer, PeerSide, PresenceLane, SnapshotAnswer},
    raft::link::{Ask, Told},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId, Placement};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

/// The answering side of a node.
pub(crate) struct Side {
    hosting: OnceLock<Weak<Hosting>>,
    control: OnceLock<WeakControl>,
    guests: Mutex<Guests>,
    lane: Arc<dyn PresenceLane>,
}

/// Who is linked with though the placement here does not name it.
#[derive(Default)]
struct Guests {
    /// By a member that let this node in: its placement is newer than the one here, until that names this node too.
    introduced: BTreeMap<NodeName, Introduced>,
    /// Removed, and to hear of it.
    leaving: BTreeMap<NodeName, Introduced>,
    /// The placement looked at last.
    known: Option<Arc<Placement>>,
}

impl Guests {
    fn is_one(&self, peer: &Peer) -> bool {
        let guest = self.introduced.get(&peer.name).or_else(|| self.leaving.get(&peer.name));
        guest.is_some_and(|guest| guest.raft_id == peer.raft_id && guest.generation <= peer.generation)
    }
}

impl Side {
    /// Answers nobody yet.
    #[must_use]
    pub(crate) fn new(lane: Arc<dyn PresenceLane>) -> Arc<Self> {
        Arc::new(Self { hosting: OnceLock::new(), control: OnceLock::new(), guests: Mutex::default(), lane })
    }

    /// From now on the groups of `hosting` answer.
    pub(crate) fn answer_from(&self, hosting: &Arc<Hosting>) {
        // A node has one set of groups: there is no second call.
        let _ = self.hosting.set(Arc::downgrade(hosting));
    }

    /// From now on `control` answers what concerns the cluster itself.
    pub(crate) fn answer_with(&self, control: &Arc<Control>) {
        // As above.
        let _ = self.control.set(Arc::downgrade(control));
    }

    /// These are members, though the placement here may not know them yet.
    pub(crate) fn introduce(&self, members: &[Introduced]) {
        let mut guests = self.guests.lock();
        guests.introduced = members.iter().map(|member| (member.name.clone(), member.clone())).collect();
    }

    /// Takes note of the placement. Once it names this very start of this node, it is as new as what was introduced; whoever it
    /// names no more is a guest until it is forgotten.
    pub(crate) fn look_at(&self, placement: &Arc<Placement>, is_settled: bool) {
        let mut guests = self.guests.lock();
        if is_settled {
            guests.introduced.clear();
        }
        if let Some(before) = guests.known.replace(Arc::clone(placement)) {
            for (name, member) in before.members.iter().filter(|(name, _)| !placement.members.contains_key(*name)) {
                let (name, peer) = (name.clone(), member.peer.clone());
                let (raft_id, generation) = (member.raft_id, member.generation);
                guests.leaving.insert(name.clone(), Introduced { name, raft_id, generation, peer });
            }
        }
    }

    /// A removed node was given its time.
    pub(crate) fn forget(&self, name: &NodeName) {
        self.guests.lock().leaving.remove(name);
    }

    /// Where the guests are reached.
    pub(crate) fn guests(&self) -> BTreeMap<NodeName, String> {
        let guests = self.guests.lock();
        let all = guests.leaving.values().chain(guests.introduced.values());
        all.map(|guest| (guest.name.clone(), guest.peer.clone())).collect()
    }

    fn hosting(&self) -> Option<Arc<Hosting>> {
        self.hosting.get()?.upgrade()
    }

    fn control(&self) -> Option<Arc<Control>> {
        self.control.get()?.upgrade()
    }
}

impl PeerSide for Side {
    fn admits(&self, peer: &Peer) -> bool {
        let Some(hosting) = self.hosting() else { return false };
        let is_member = {
            let placement = hosting.placement();
            let placement = placement.borrow();
            let known = placement.members.get(&peer.name);
            known.is_some_and(|member| member.raft_id == peer.raft_id && member.generation <= peer.generation)
        };
        is_member || self.guests.lock().is_one(peer)
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

    fn control<'a>(&'a self, from: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.control()?.answer_member(from, question).await })
    }

    fn join(&self, question: Vec<u8>) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move { self.control()?.answer_stranger(question).await })
    }

    fn presence(&self) -> &Arc<dyn PresenceLane> {
        &self.lane
    }
}
