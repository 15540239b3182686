//! Several nodes in one process, linked without sockets: a board that the sides of all of them are plugged into.
//!
//! Links are as strict as real ones: only members that know and admit each other reach each other, each under its identity. Either
//! direction can be cut: a question does not get there, or is carried out and its answer is lost. The presence lane needs both.
#![allow(dead_code, reason = "each test uses a part of it")]

use futures::future::BoxFuture;
use parking_lot::Mutex;
use rollcall_cluster::{
    Ask, GroupSnapshot, JoinFailure, LeaderVote, LinkError, MakeLink, Peer, PeerAt, PeerLink, PeerSide, SnapshotAnswer,
    Told,
};
use rollcall_presence::{NodeName, PartitionId};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

/// Longer than any answer takes that is not cut off.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// The board.
#[derive(Default)]
pub struct Switchboard(Mutex<Wires>);

#[derive(Default)]
struct Wires {
    plugs: BTreeMap<NodeName, Arc<Plug>>,
    /// Directions in which nothing passes.
    cut: BTreeSet<(NodeName, NodeName)>,
    /// Pairs that are linked, the lesser name first.
    linked: BTreeSet<(NodeName, NodeName)>,
}

/// A node on the board.
struct Plug {
    peer: Peer,
    address: String,
    key: Vec<u8>,
    side: Arc<dyn PeerSide>,
    known: Mutex<Option<(String, BTreeSet<NodeName>)>>,
}

fn pair(a: &NodeName, b: &NodeName) -> (NodeName, NodeName) {
    if a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

impl Plug {
    /// Whether this one would be linked with `other`, as far as it can say.
    fn takes(&self, other: &Plug) -> bool {
        let known = self.known.lock().clone();
        let theirs = other.known.lock().as_ref().map(|(cluster, _)| cluster.clone());
        known.is_some_and(|(cluster, members)| Some(cluster) == theirs && members.contains(&other.peer.name))
            && self.key == other.key
            && self.side.admits(&other.peer)
    }
}

impl Switchboard {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What plugs a node in that is reached at `address` and has the cluster key `key`.
    pub fn make_link(self: &Arc<Self>, address: &str, key: &[u8]) -> MakeLink {
        let (board, address, key) = (Arc::clone(self), address.to_owned(), key.to_vec());
        Box::new(move |peer, side| board.plug(peer, &address, &key, side))
    }

    /// Plugs a node in; one of the same name that is there is gone by it.
    pub fn plug(self: &Arc<Self>, peer: Peer, address: &str, key: &[u8], side: Arc<dyn PeerSide>) -> Arc<dyn PeerLink> {
        self.unplug(&peer.name);
        let name = peer.name.clone();
        let plug = Plug { peer, address: address.to_owned(), key: key.to_vec(), side, known: Mutex::default() };
        let plug = Arc::new(plug);
        self.0.lock().plugs.insert(name, Arc::clone(&plug));
        Arc::new(Cord { board: Arc::clone(self), plug })
    }

    /// Takes a node off the board, as if it had been killed.
    pub fn unplug(&self, name: &NodeName) {
        let gone = {
            let mut wires = self.0.lock();
            let Some(gone) = wires.plugs.remove(name) else { return };
            let (ended, kept) =
                std::mem::take(&mut wires.linked).into_iter().partition(|(a, b)| a == name || b == name);
            wires.linked = kept;
            let ended: BTreeSet<(NodeName, NodeName)> = ended;
            let others = ended.into_iter().map(|(a, b)| if a == *name { b } else { a });
            let others: Vec<Arc<Plug>> = others.filter_map(|other| wires.plugs.get(&other).cloned()).collect();
            (gone, others)
        };
        for other in gone.1 {
            other.side.presence().unlinked(&gone.0.peer);
            gone.0.side.presence().unlinked(&other.peer);
        }
    }

    /// From now on nothing passes from `from` to `to`.
    pub fn cut(&self, from: &NodeName, to: &NodeName) {
        self.0.lock().cut.insert((from.clone(), to.clone()));
        self.refresh();
    }

    /// From now on nothing passes between `name` and any other, in either direction.
    pub fn isolate(&self, name: &NodeName) {
        {
            let mut wires = self.0.lock();
            let others: Vec<NodeName> = wires.plugs.keys().filter(|other| *other != name).cloned().collect();
            for other in others {
                wires.cut.insert((name.clone(), other.clone()));
                wires.cut.insert((other, name.clone()));
            }
        }
        self.refresh();
    }

    /// From now on everything passes again from `from` to `to`.
    pub fn heal(&self, from: &NodeName, to: &NodeName) {
        self.0.lock().cut.remove(&(from.clone(), to.clone()));
        self.refresh();
    }

    /// From now on everything passes.
    pub fn heal_all(&self) {
        self.0.lock().cut.clear();
        self.refresh();
    }

    /// Whether the two are linked now.
    pub fn are_linked(&self, a: &NodeName, b: &NodeName) -> bool {
        self.refresh();
        self.0.lock().linked.contains(&pair(a, b))
    }

    /// Links whoever should be, unlinks whoever should not, and tells both sides.
    fn refresh(&self) {
        let (plugs, cut) = {
            let wires = self.0.lock();
            (wires.plugs.clone(), wires.cut.clone())
        };
        let mut changed = Vec::new();
        for (a, one) in &plugs {
            for (b, other) in plugs.range::<NodeName, _>(a..).filter(|(b, _)| *b != a) {
                let passes = !cut.contains(&(a.clone(), b.clone())) && !cut.contains(&(b.clone(), a.clone()));
                let should = passes && one.takes(other) && other.takes(one);
                let mut wires = self.0.lock();
                let is = wires.linked.contains(&(a.clone(), b.clone()));
                let both_there = [one, other]
                    .iter()
                    .all(|plug| wires.plugs.get(&plug.peer.name).is_some_and(|now| Arc::ptr_eq(now, plug)));
                if should != is && both_there {
                    match should {
                        true => wires.linked.insert((a.clone(), b.clone())),
                        false => wires.linked.remove(&(a.clone(), b.clone())),
                    };
                    changed.push((Arc::clone(one), Arc::clone(other), should));
                }
            }
        }
        for (one, other, linked) in changed {
            for (here, there) in [(&one, &other), (&other, &one)] {
                match linked {
                    true => here.side.presence().linked(&there.peer),
                    false => here.side.presence().unlinked(&there.peer),
                }
            }
        }
    }

    /// Whom a message of `from` to `to` gets to now.
    fn other_end(&self, from: &Plug, to: &NodeName) -> Option<Arc<Plug>> {
        let (mine, other) = {
            let wires = self.0.lock();
            let here = &from.peer.name;
            let passes = !wires.cut.contains(&(here.clone(), to.clone()));
            (wires.plugs.get(here).cloned()?, wires.plugs.get(to).filter(|_| passes).cloned()?)
        };
        (mine.peer == from.peer && from.takes(&other) && other.takes(from)).then_some(other)
    }

    /// Whom the presence lane leads to: it needs both directions.
    fn linked(&self, from: &Plug, to: &NodeName) -> Option<Arc<Plug>> {
        let is_linked = || self.0.lock().linked.contains(&pair(&from.peer.name, to));
        if !is_linked() {
            // A real link is tried again and again: who was not admitted before may be now.
            self.refresh();
        }
        self.other_end(from, to).filter(|_| is_linked())
    }

    fn passes(&self, from: &NodeName, to: &NodeName) -> bool {
        !self.0.lock().cut.contains(&(from.clone(), to.clone()))
    }
}

/// One node's end of all its links.
struct Cord {
    board: Arc<Switchboard>,
    plug: Arc<Plug>,
}

impl Cord {
    /// Asks `other`; the question is carried out to its end there, and the answer may be lost on its way.
    async fn ask_of<T, F>(
        &self,
        to: &NodeName,
        other: Option<Arc<Plug>>,
        deadline: Duration,
        ask: impl FnOnce(Arc<Plug>, Peer) -> F,
    ) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let other = other.ok_or_else(|| LinkError::Unreachable(to.clone()))?;
        let carried_out = tokio::spawn(ask(Arc::clone(&other), self.plug.peer.clone()));
        let unanswered = || LinkError::Unanswered(to.clone());
        let answer = tokio::time::timeout(deadline, carried_out).await.map_err(|_| unanswered())?;
        let answer = answer.ok().flatten().ok_or_else(unanswered)?;
        let back = self.board.other_end(&other, &self.plug.peer.name);
        if back.is_some_and(|now| Arc::ptr_eq(&now, &self.plug)) { Ok(answer) } else { Err(unanswered()) }
    }
}

impl PeerLink for Cord {
    fn reaches(&self, peer: &NodeName, raft_id: u64) -> bool {
        self.board.other_end(&self.plug, peer).is_some_and(|other| other.peer.raft_id == raft_id)
    }

    fn ask<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        ask: Ask,
    ) -> BoxFuture<'a, Result<Told, LinkError>> {
        let other = self.board.other_end(&self.plug, peer);
        Box::pin(self.ask_of(peer, other, ANSWER_DEADLINE, move |other, from| async move {
            other.side.raft(&from, partition, ask).await
        }))
    }

    fn send_snapshot<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>> {
        let other = self.board.other_end(&self.plug, peer);
        Box::pin(self.ask_of(peer, other, ANSWER_DEADLINE, move |other, from| async move {
            other.side.snapshot(&from, partition, vote, snapshot).await
        }))
    }

    fn control<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        let other = self.board.other_end(&self.plug, peer);
        Box::pin(
            self.ask_of(
                peer,
                other,
                deadline,
                move |other, from| async move { other.side.control(&from, question).await },
            ),
        )
    }

    fn join<'a>(&'a self, address: &'a str, question: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, JoinFailure>> {
        Box::pin(async move {
            let unreachable = |why: &str| JoinFailure::Unreachable { address: address.to_owned(), why: why.to_owned() };
            let found = self.board.0.lock().plugs.values().find(|plug| plug.address == address).cloned();
            let other = found.ok_or_else(|| unreachable("nobody is plugged in there"))?;
            let (here, there) = (&self.plug.peer.name, &other.peer.name);
            if !self.board.passes(here, there) || !self.board.passes(there, here) {
                return Err(unreachable("the link is cut"));
            }
            if other.key != self.plug.key {
                return Err(JoinFailure::WrongKey { address: address.to_owned() });
            }
            let asked = tokio::spawn(async move { other.side.join(question).await });
            let answer = tokio::time::timeout(ANSWER_DEADLINE, asked).await.ok().and_then(Result::ok).flatten();
            answer.ok_or_else(|| unreachable("no answer"))
        })
    }

    fn ask_presence<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        let other = self.board.linked(&self.plug, peer);
        Box::pin(self.ask_of(peer, other, deadline, move |other, from| async move {
            other.side.presence().asked(&from, question).await
        }))
    }

    fn tell_presence(&self, peer: &NodeName, message: Vec<u8>) -> bool {
        let other = self.board.linked(&self.plug, peer);
        other.is_some_and(|other| {
            other.side.presence().told(&self.plug.peer, message);
            true
        })
    }

    fn know(&self, cluster_id: &str, members: Vec<PeerAt>) {
        let members = members.into_iter().map(|member| member.name).collect();
        *self.plug.known.lock() = Some((cluster_id.to_owned(), members));
        self.board.refresh();
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        let current = self.board.0.lock().plugs.get(&self.plug.peer.name).cloned();
        if current.is_some_and(|plug| Arc::ptr_eq(&plug, &self.plug)) {
            self.board.unplug(&self.plug.peer.name);
        }
        Box::pin(std::future::ready(()))
    }
}
