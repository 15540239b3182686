//! Links between nodes in one process: in order, with cuts a direction, and messages that get lost.

use futures::future::BoxFuture;
use rollcall_cluster::{LinkError, Peer, PresenceLane};
use rollcall_node::peers::{Links, lane::Lane};
use rollcall_presence::{Holder, NodeName, Placement};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

enum Item {
    Tell(Vec<u8>),
    Ask(Vec<u8>, oneshot::Sender<Vec<u8>>),
}

type Way = (NodeName, NodeName);

#[derive(Default)]
pub struct Net {
    lanes: Mutex<HashMap<NodeName, (Holder, Arc<Lane>)>>,
    ways: Mutex<HashMap<Way, mpsc::UnboundedSender<Item>>>,
    cuts: Mutex<HashSet<Way>>,
    losing: Mutex<HashMap<Way, u32>>,
    pub placement: watch::Sender<Arc<Placement>>,
}

fn peer(holder: &Holder) -> Peer {
    Peer { name: holder.node.clone(), raft_id: 0, generation: holder.generation }
}

impl Net {
    /// Another node whose lane is `lane`.
    pub fn add(&self, holder: Holder, lane: Arc<Lane>) {
        self.lanes.lock().unwrap().insert(holder.node.clone(), (holder, lane));
    }

    fn is_cut(&self, from: &NodeName, to: &NodeName) -> bool {
        self.cuts.lock().unwrap().contains(&(from.clone(), to.clone()))
    }

    /// Nothing goes from one to the other any more.
    pub fn cut(&self, from: &NodeName, to: &NodeName) {
        self.cuts.lock().unwrap().insert((from.clone(), to.clone()));
        self.linked(from, to, false);
    }

    /// All cuts are healed.
    pub fn heal(&self) {
        let healed = std::mem::take(&mut *self.cuts.lock().unwrap());
        for (from, to) in healed {
            self.linked(&from, &to, true);
        }
    }

    fn linked(&self, one: &NodeName, other: &NodeName, is: bool) {
        let lanes = self.lanes.lock().unwrap();
        for (at, of) in [(one, other), (other, one)] {
            let ((_, lane), (of, _)) = (&lanes[at], &lanes[of]);
            if is { lane.linked(&peer(of)) } else { lane.unlinked(&peer(of)) }
        }
    }

    /// The next `count` messages that are told on this way get lost.
    pub fn lose(&self, from: &NodeName, to: &NodeName, count: u32) {
        self.losing.lock().unwrap().insert((from.clone(), to.clone()), count);
    }

    fn way(self: &Arc<Self>, from: &Holder, to: &NodeName) -> Option<mpsc::UnboundedSender<Item>> {
        let mut ways = self.ways.lock().unwrap();
        let way = (from.node.clone(), to.clone());
        if let Some(known) = ways.get(&way) {
            return Some(known.clone());
        }
        let lane = self.lanes.lock().unwrap().get(to)?.1.clone();
        let (send, mut items) = mpsc::unbounded_channel();
        let (net, from) = (self.clone(), peer(from));
        let to = to.clone();
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                match item {
                    Item::Tell(message) => lane.told(&from, message),
                    Item::Ask(question, answer) => {
                        let (lane, net, from, to) = (lane.clone(), net.clone(), from.clone(), to.clone());
                        tokio::spawn(async move {
                            if let Some(reply) = lane.asked(&from, question).await
                                && !net.is_cut(&to, &from.name)
                            {
                                let _ = answer.send(reply);
                            }
                        });
                    }
                }
            }
        });
        ways.insert(way, send.clone());
        Some(send)
    }
}

/// The links of one node.
pub struct NetLinks {
    pub net: Arc<Net>,
    pub this: Holder,
    pub confirmed: watch::Sender<bool>,
}

impl Links for NetLinks {
    fn ask<'a>(
        &'a self,
        to: &'a NodeName,
        question: Vec<u8>,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(async move {
            let way = self.net.way(&self.this, to).filter(|_| !self.net.is_cut(&self.this.node, to));
            let (answer, answered) = oneshot::channel();
            let sent = way.is_some_and(|way| way.send(Item::Ask(question, answer)).is_ok());
            if !sent {
                return Err(LinkError::Unreachable(to.clone()));
            }
            match tokio::time::timeout(wait, answered).await {
                Ok(Ok(reply)) => Ok(reply),
                _ => Err(LinkError::Unanswered(to.clone())),
            }
        })
    }

    fn tell(&self, to: &NodeName, message: Vec<u8>) -> bool {
        if self.net.is_cut(&self.this.node, to) {
            return false;
        }
        if let Some(left) = self.net.losing.lock().unwrap().get_mut(&(self.this.node.clone(), to.clone()))
            && *left > 0
        {
            *left -= 1;
            return true;
        }
        self.net.way(&self.this, to).is_some_and(|way| way.send(Item::Tell(message)).is_ok())
    }

    fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.net.placement.subscribe()
    }

    fn confirmed(&self) -> watch::Receiver<bool> {
        self.confirmed.subscribe()
    }
}
