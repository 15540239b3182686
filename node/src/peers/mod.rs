//! Other nodes as this one asks and tells them: messages in their envelope, at most so many questions in flight a peer.
//!
//! Relies on [`Links`] for the way there. Promises that `Unreachable` and `Busy` mean that nothing was sent.

pub mod clustered;
pub mod lane;
pub mod message;

use crate::bounds::PEER_QUESTIONS_MAX;
use futures::future::BoxFuture;
use message::{Message, Question, Reply};
use parking_lot::Mutex;
use rollcall_cluster::LinkError;
use rollcall_presence::{Holder, NodeName, Placement};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// The way to other nodes, and what the cluster has committed of them.
pub trait Links: Send + Sync + 'static {
    /// Asks on the presence lane.
    fn ask<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>>;

    /// Tells on the presence lane, in order; `false` when it could not be sent.
    fn tell(&self, peer: &NodeName, message: Vec<u8>) -> bool;

    /// The members and the placement, as committed and known here.
    fn placement(&self) -> watch::Receiver<Arc<Placement>>;

    /// Whether this node reaches a placement leader that has a quorum.
    fn confirmed(&self) -> watch::Receiver<bool>;
}

/// A node by itself: nobody to reach, and nothing to be cut off from.
#[derive(Debug)]
pub struct Alone {
    placement: watch::Sender<Arc<Placement>>,
    confirmed: watch::Sender<bool>,
}

impl Default for Alone {
    fn default() -> Self {
        Self { placement: watch::Sender::default(), confirmed: watch::Sender::new(true) }
    }
}

impl Links for Alone {
    fn ask<'a>(&'a self, peer: &'a NodeName, _: Vec<u8>, _: Duration) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(std::future::ready(Err(LinkError::Unreachable(peer.clone()))))
    }

    fn tell(&self, _: &NodeName, _: Vec<u8>) -> bool {
        false
    }

    fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.placement.subscribe()
    }

    fn confirmed(&self) -> watch::Receiver<bool> {
        self.confirmed.subscribe()
    }
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// As many questions as allowed are in flight to it. Nothing was sent.
    #[error("too many questions in flight to the node")]
    Busy,
    /// There is no way to it. Nothing was sent.
    #[error("the node cannot be reached")]
    Unreachable,
    /// It was asked, and may have done it.
    #[error("the node did not answer")]
    Unanswered,
}

/// The other nodes.
pub struct Peers {
    this: Holder,
    links: Arc<dyn Links>,
    in_flight: Mutex<HashMap<NodeName, Arc<Semaphore>>>,
}

impl Peers {
    /// The other nodes, as `this` reaches them.
    #[must_use]
    pub fn new(this: Holder, links: Arc<dyn Links>) -> Arc<Self> {
        Arc::new(Self { this, links, in_flight: Mutex::default() })
    }

    /// This node.
    #[must_use]
    pub fn this(&self) -> &Holder {
        &self.this
    }

    /// The way to them.
    #[must_use]
    pub fn links(&self) -> &Arc<dyn Links> {
        &self.links
    }

    /// The placement as it is known now.
    #[must_use]
    pub fn placement(&self) -> Arc<Placement> {
        self.links.placement().borrow().clone()
    }

    /// Asks `node`.
    ///
    /// # Errors
    /// [`PeerError`]; only after `Unanswered` may it have been done.
    pub async fn ask(&self, node: &NodeName, question: &Question, deadline: Duration) -> Result<Reply, PeerError> {
        let room = {
            let mut table = self.in_flight.lock();
            let room = table.entry(node.clone()).or_insert_with(|| Arc::new(Semaphore::new(PEER_QUESTIONS_MAX)));
            Arc::clone(room).try_acquire_owned().map_err(|_| PeerError::Busy)?
        };
        let answer = self.links.ask(node, message::seal_question(question), deadline).await;
        drop(room);
        match answer {
            Ok(bytes) => message::open_reply(&bytes).ok_or(PeerError::Unanswered),
            Err(LinkError::Unreachable(_)) => Err(PeerError::Unreachable),
            Err(LinkError::Unanswered(_)) => Err(PeerError::Unanswered),
        }
    }

    /// Tells `node`; `false` when it could not be sent.
    pub fn tell(&self, node: &NodeName, message: &Message) -> bool {
        self.links.tell(node, message::seal_message(message))
    }

    /// The live nodes of the cluster, this one first.
    #[must_use]
    pub fn live(&self) -> Vec<Holder> {
        let placement = self.placement();
        let others = placement.members.iter().filter(|(name, member)| !member.is_down() && **name != self.this.node);
        let others = others.map(|(name, member)| Holder { node: name.clone(), generation: member.generation });
        std::iter::once(self.this.clone()).chain(others).collect()
    }

    /// Whether `holder` is a live node of the cluster: only the placement group says that one is dead.
    #[must_use]
    pub fn is_live(&self, holder: &Holder) -> bool {
        if holder.node == self.this.node {
            return holder.generation >= self.this.generation;
        }
        self.placement().members.get(&holder.node).is_some_and(|member| {
            // A newer start than is known here: the news of it has not come yet.
            holder.generation > member.generation || (holder.generation == member.generation && !member.is_down())
        })
    }
    /// Whether `holder` is a member of the cluster, down or not; an earlier start of one is none.
    #[must_use]
    pub fn is_member(&self, holder: &Holder) -> bool {
        let is = self.placement().members.get(&holder.node).is_some_and(|m| holder.generation >= m.generation);
        is || (holder.node == self.this.node && holder.generation >= self.this.generation)
    }

    /// Whether no later start of `holder`'s node is known: it may be down, or not be let in yet.
    #[must_use]
    pub fn is_of_now(&self, holder: &Holder) -> bool {
        if holder.node == self.this.node {
            return holder.generation >= self.this.generation;
        }
        self.placement().members.get(&holder.node).is_none_or(|member| holder.generation >= member.generation)
    }
}
