//! The presence lane of this node, as the links call it: there before the node is, and answering once it is.

use super::{
    Peers,
    message::{self, Message, Question, Reply},
};
use crate::{homes::Homes, node::Node, report, ties::Ties};
use futures::future::BoxFuture;
use rollcall_cluster::{HandingOver, Peer, PresenceLane};
use rollcall_presence::{NodeName, PartitionId};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// What answers on the lane.
pub struct Served {
    /// The homes of this node, and the ways to others.
    pub homes: Arc<Homes>,
    /// What this node ties to homes.
    pub ties: Arc<Ties>,
    /// The node, of which it reports.
    pub node: Arc<Node>,
    /// Since when it runs.
    pub started: Instant,
}

/// The presence lane of this node.
#[derive(Default)]
pub struct Lane(OnceLock<Served>);

impl Lane {
    /// Answers from now on.
    pub fn begin(&self, served: Served) {
        let _ = self.0.set(served);
    }

    /// What the cluster calls before a planned transfer.
    #[must_use]
    pub fn handing_over(self: &Arc<Self>) -> HandingOver {
        let lane = self.clone();
        Arc::new(move |partition, next| {
            let lane = lane.clone();
            Box::pin(async move { lane.hand_over(partition, &next).await })
        })
    }

    /// Before a planned transfer of `partition`, hands `next` what only this home knows: when sessions were last heard.
    pub async fn hand_over(&self, partition: PartitionId, next: &NodeName) {
        let Some(Served { homes, .. }) = self.0.get() else { return };
        let Some(home) = homes.partition(partition) else { return };
        let peers: &Arc<Peers> = homes.peers();
        for heard in home.last_heard(true) {
            let handed = Question::HandOver { partition, heard };
            let deadline = Duration::from_millis(crate::bounds::HAND_OVER_MS);
            if peers.ask(next, &handed, deadline).await.is_err() {
                tracing::warn!(%partition, %next, "timers were not handed over; sessions get a full TTL there");
                return;
            }
        }
    }
}

impl PresenceLane for Lane {
    fn asked<'a>(&'a self, from: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let served = self.0.get()?;
            let question = message::open_question(&question)?;
            let of = match &question {
                Question::Announce { holder, .. } | Question::Compare { holder, .. } => Some(holder),
                _ => None,
            };
            if of.is_some_and(|holder| holder.node != from.name || holder.generation != from.generation) {
                return None; // a node speaks for itself alone
            }
            let reply = match question {
                Question::Report => Reply::Report(report::of(&served.node, served.started).await),
                question => served.homes.answer(question).await,
            };
            Some(message::seal_reply(&reply))
        })
    }

    fn told(&self, from: &Peer, message: Vec<u8>) {
        let Some(served) = self.0.get() else { return };
        match message::open_message(&message) {
            Some(Message::Request { partition, request }) => served.homes.take(partition, request),
            Some(Message::Parcel(parcel)) if parcel.tenure.holder.node == from.name => served.ties.parcel(parcel),
            Some(Message::TakenUp { partition, tenure }) if tenure.holder.node == from.name => {
                if let Some(home) = served.homes.partition(partition) {
                    home.group().heard_hint(Some(from.name.clone()));
                }
                served.ties.taken_up(partition, tenure);
            }
            Some(Message::Heard { partition, heard }) => {
                if let Some(home) = served.homes.partition(partition) {
                    home.was_heard(heard, false);
                }
            }
            Some(_) => tracing::warn!(from = %from.name, "a node told what only another one may"),
            None => {}
        }
    }

    fn linked(&self, peer: &Peer) {
        if let Some(served) = self.0.get() {
            served.ties.linked(&peer.name, true);
        }
    }

    fn unlinked(&self, peer: &Peer) {
        if let Some(served) = self.0.get() {
            served.ties.linked(&peer.name, false);
        }
    }
}
