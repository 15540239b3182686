//! Simulated links: every message takes its time, may be lost, and finds out at its arrival whether anybody is there.
//!
//! A question that is lost, and an answer that is, look alike to whoever asked: nothing comes. Only members that know and admit each other
//! reach each other, each under its identity.

use super::{chance::Chance, held};
use futures::future::BoxFuture;
use rollcall_cluster::{
    Ask, GroupSnapshot, JoinFailure, LeaderVote, LinkError, Peer, PeerAt, PeerLink, PeerSide, SnapshotAnswer, Told,
};
use rollcall_presence::{NodeName, PartitionId};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// How long an answer is waited for where the caller says nothing of it.
const ANSWER: Duration = Duration::from_secs(20);
/// What a message takes on a link in order, µs.
const DELAY_US: std::ops::Range<u64> = 100..3_000;

/// What is wrong with a direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ill {
    /// Messages of a hundred that are lost.
    pub lost_percent: u64,
    /// What a message takes in addition, ms at most.
    pub slow_ms: u64,
    /// Until when messages are held, since the start of the run, ms.
    pub held_until_ms: u64,
}

type Way = (NodeName, NodeName);

struct Plug {
    peer: Peer,
    address: String,
    side: Arc<dyn PeerSide>,
    known: Mutex<Option<(String, BTreeSet<NodeName>)>>,
}

impl Plug {
    fn takes(&self, other: &Self) -> bool {
        let known = held(&self.known).clone();
        let theirs = held(&other.known).as_ref().map(|(cluster, _)| cluster.clone());
        known.is_some_and(|(cluster, members)| Some(cluster) == theirs && members.contains(&other.peer.name))
            && self.side.admits(&other.peer)
    }
}

/// All links.
pub struct Net {
    plugs: Mutex<BTreeMap<NodeName, Arc<Plug>>>,
    ill: Mutex<BTreeMap<Way, Vec<(u64, Ill)>>>,
    chance: Arc<Chance>,
    began: Instant,
}

impl Net {
    pub fn new(chance: Arc<Chance>) -> Arc<Self> {
        Arc::new(Self { plugs: Mutex::default(), ill: Mutex::default(), chance, began: Instant::now() })
    }

    /// Plugs a node in.
    pub fn plug(self: &Arc<Self>, peer: Peer, address: String, side: Arc<dyn PeerSide>) -> Arc<dyn PeerLink> {
        let plug = Arc::new(Plug { peer, address, side, known: Mutex::default() });
        held(&self.plugs).insert(plug.peer.name.clone(), Arc::clone(&plug));
        Arc::new(Cord { net: Arc::clone(self), plug })
    }

    /// Takes a node off; what is under way to it, or from it, gets nowhere.
    pub fn unplug(&self, name: &NodeName) {
        held(&self.plugs).remove(name);
    }

    /// From now on `ill` holds for this way, until [`heal`](Self::heal) with the same number.
    pub fn harm(&self, number: u64, way: Way, ill: Ill) {
        held(&self.ill).entry(way).or_default().push((number, ill));
    }

    /// Ends what began under this number.
    pub fn heal(&self, number: u64) {
        for ills in held(&self.ill).values_mut() {
            ills.retain(|(of, _)| *of != number);
        }
    }

    fn ills(&self, from: &NodeName, to: &NodeName) -> Vec<Ill> {
        let all = held(&self.ill);
        all.get(&(from.clone(), to.clone())).map(|ills| ills.iter().map(|(_, ill)| *ill).collect()).unwrap_or_default()
    }

    /// Takes a message along; `false` when it is lost.
    async fn carry(&self, from: &NodeName, to: &NodeName) -> bool {
        let ills = self.ills(from, to);
        let mut delay = Duration::from_micros(self.chance.within(DELAY_US));
        for ill in &ills {
            if ill.lost_percent > 0 && self.chance.percent(ill.lost_percent) {
                return false;
            }
            delay += Duration::from_millis(self.chance.within(0..ill.slow_ms + 1));
            let held = Duration::from_millis(ill.held_until_ms);
            delay = delay.max(held.saturating_sub(self.began.elapsed()));
        }
        sleep(delay).await;
        // What was cut meanwhile is cut.
        !self.ills(from, to).iter().any(|ill| ill.lost_percent >= 100)
    }

    fn stands(&self, plug: &Arc<Plug>) -> bool {
        held(&self.plugs).get(&plug.peer.name).is_some_and(|now| Arc::ptr_eq(now, plug))
    }

    fn plug_of(&self, name: &NodeName) -> Option<Arc<Plug>> {
        held(&self.plugs).get(name).cloned()
    }
}

/// One node's end of all its links.
struct Cord {
    net: Arc<Net>,
    plug: Arc<Plug>,
}

impl Cord {
    fn other_end(&self, to: &NodeName) -> Option<Arc<Plug>> {
        let other = self.net.plug_of(to)?;
        (self.net.stands(&self.plug) && self.plug.takes(&other) && other.takes(&self.plug)).then_some(other)
    }

    /// Asks `to`; the question is carried out to its end there, whether or not the answer arrives.
    async fn ask_of<T, F>(
        &self,
        to: &NodeName,
        deadline: Duration,
        ask: impl FnOnce(Arc<Plug>, Peer) -> F,
    ) -> Result<T, LinkError>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let other = self.other_end(to).ok_or_else(|| LinkError::Unreachable(to.clone()))?;
        let here = &self.plug.peer.name;
        let asked = async {
            if !self.net.carry(here, to).await || !self.net.stands(&other) {
                return std::future::pending().await;
            }
            let answer = tokio::spawn(ask(Arc::clone(&other), self.plug.peer.clone())).await.ok().flatten();
            if !self.net.carry(to, here).await || !self.net.stands(&other) || !self.net.stands(&self.plug) {
                return std::future::pending().await;
            }
            answer
        };
        timeout(deadline, asked).await.ok().flatten().ok_or_else(|| LinkError::Unanswered(to.clone()))
    }
}

impl PeerLink for Cord {
    fn reaches(&self, peer: &NodeName, raft_id: u64) -> bool {
        self.other_end(peer).is_some_and(|other| other.peer.raft_id == raft_id)
    }

    fn ask<'a>(&'a self, peer: &'a NodeName, id: PartitionId, ask: Ask) -> BoxFuture<'a, Result<Told, LinkError>> {
        Box::pin(self.ask_of(peer, ANSWER, move |other, from| async move { other.side.raft(&from, id, ask).await }))
    }

    fn send_snapshot<'a>(
        &'a self,
        peer: &'a NodeName,
        id: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>> {
        Box::pin(self.ask_of(peer, ANSWER, move |other, from| async move {
            other.side.snapshot(&from, id, vote, snapshot).await
        }))
    }

    fn control<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(self.ask_of(
            peer,
            deadline,
            move |other, from| async move { other.side.control(&from, question).await },
        ))
    }

    fn join<'a>(&'a self, address: &'a str, question: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, JoinFailure>> {
        Box::pin(async move {
            let unreachable = || JoinFailure::Unreachable { address: address.to_owned(), why: "no answer".into() };
            let found = held(&self.net.plugs).values().find(|plug| plug.address == address).cloned();
            let other = found.ok_or_else(unreachable)?;
            let (here, there) = (&self.plug.peer.name, other.peer.name.clone());
            let asked = async {
                if !self.net.carry(here, &there).await || !self.net.stands(&other) {
                    return std::future::pending().await;
                }
                let side = Arc::clone(&other.side);
                let answer = tokio::spawn(async move { side.join(question).await }).await.ok().flatten();
                if self.net.carry(&there, here).await { answer } else { std::future::pending().await }
            };
            timeout(ANSWER, asked).await.ok().flatten().ok_or_else(unreachable)
        })
    }

    fn ask_presence<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(self.ask_of(peer, deadline, move |other, from| async move {
            other.side.presence().asked(&from, question).await
        }))
    }

    /// The presence lane is the program's: nobody speaks on it here.
    fn tell_presence(&self, _: &NodeName, _: Vec<u8>) -> bool {
        false
    }

    fn know(&self, cluster_id: &str, members: Vec<PeerAt>) {
        let members = members.into_iter().map(|member| member.name).collect();
        *held(&self.plug.known) = Some((cluster_id.to_owned(), members));
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        if self.net.stands(&self.plug) {
            self.net.unplug(&self.plug.peer.name);
        }
        Box::pin(std::future::ready(()))
    }
}
