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
    /// Members that live elsewhere since a start that the placement here does not know yet, with its generation: without them
    /// a whole cluster that starts again at new addresses would never have the leader that could say so.
    moved: BTreeMap<NodeName, (u64, String)>,
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
        let is_news = |name: &NodeName, generation: u64| {
            placement.members.get(name).is_some_and(|member| member.generation < generation)
        };
        guests.moved.retain(|name, (generation, _)| is_news(name, *generation));
        if let Some(before) = guests.known.replace(Arc::clone(placement)) {
            for (name, member) in before.members.iter().filter(|(name, _)| !placement.members.contains_key(*name)) {
                let (name, peer) = (name.clone(), member.peer.clone());
                let (raft_id, generation) = (member.raft_id, member.generation);
                guests.leaving.insert(name.clone(), Introduced { name, raft_id, generation, peer });
            }
        }
    }

    /// Takes note of where a member says that it lives now; answers whether it is one, of a later start than `placement` knows.
    pub(crate) fn has_moved(&self, placement: &Placement, member: &Introduced) -> bool {
        let known = placement.members.get(&member.name);
        if !known.is_some_and(|known| known.raft_id == member.raft_id && known.generation < member.generation) {
            return false;
        }
        let mut guests = self.guests.lock();
        let (generation, peer) = guests.moved.entry(member.name.clone()).or_default();
        if *generation <= member.generation {
            (*generation, *peer) = (member.generation, member.peer.clone());
        }
        true
    }

    /// The members of `placement`, those that have moved as they say.
    pub(crate) fn members(&self, placement: &Placement) -> Vec<Introduced> {
        let guests = self.guests.lock();
        let members = placement.members.iter().map(|(name, member)| {
            let moved = guests.moved.get(name).filter(|(generation, _)| *generation > member.generation);
            let (generation, peer) = moved.cloned().unwrap_or_else(|| (member.generation, member.peer.clone()));
            Introduced { name: name.clone(), raft_id: member.raft_id, generation, peer }
        });
        members.collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::NoPresence;
    use rollcall_presence::{Newcomer, PlacementCommand, apply_placement};

    fn newcomer(generation: u64, peer: &str) -> Newcomer {
        Newcomer {
            name: NodeName::new("n1").unwrap(),
            raft_id: 1,
            generation,
            http: "h:1".into(),
            peer: peer.into(),
            version: "0".into(),
            rules: 1,
        }
    }

    fn lives(raft_id: u64, generation: u64, peer: &str) -> Introduced {
        Introduced { name: NodeName::new("n1").unwrap(), raft_id, generation, peer: peer.into() }
    }

    #[test]
    fn a_member_is_where_its_latest_start_says_until_the_placement_knows() {
        let (side, mut placement) = (Side::new(Arc::new(NoPresence)), Placement::default());
        let first = newcomer(3, "p:3");
        let found = PlacementCommand::Found { cluster_id: "c".into(), partitions: 2, replication: 3, first };
        apply_placement(&mut placement, &found).unwrap();
        let at = |placement: &Placement| side.members(placement)[0].peer.clone();
        assert!(!side.has_moved(&placement, &lives(1, 3, "p:33")), "the placement knows that start");
        assert!(!side.has_moved(&placement, &lives(2, 5, "p:5")), "it is another one");
        assert_eq!(at(&placement), "p:3");
        assert!(side.has_moved(&placement, &lives(1, 5, "p:5")));
        assert!(side.has_moved(&placement, &lives(1, 4, "p:4")));
        assert_eq!(at(&placement), "p:5", "the latest");
        side.look_at(&Arc::new(placement.clone()), true);
        assert_eq!(at(&placement), "p:5");
        apply_placement(&mut placement, &PlacementCommand::Admit(newcomer(5, "p:55"))).unwrap();
        side.look_at(&Arc::new(placement.clone()), true);
        assert_eq!(at(&placement), "p:55");
        assert!(side.guests.lock().moved.is_empty());
    }
}
