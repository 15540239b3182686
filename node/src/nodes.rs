//! The nodes that hold sockets, as this node's homes reach them: itself straight, the others over their links.

use crate::{
    home::{partition::Nodes, tenure::Tenure},
    peers::{
        Peers,
        message::{Message, Parcel},
    },
    ties::Ties,
};
use parking_lot::Mutex;
use rollcall_presence::{Holder, NodeName, PartitionId};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

/// Every node that holds sockets.
pub struct AllNodes {
    peers: Arc<Peers>,
    ties: OnceLock<Weak<Ties>>,
    /// Parcels sent, by node: one a watching node and change.
    sent: Mutex<BTreeMap<NodeName, u64>>,
}

impl AllNodes {
    /// Nobody is told anything before [`begin`](Self::begin).
    #[must_use]
    pub fn new(peers: Arc<Peers>) -> Arc<Self> {
        Arc::new(Self { peers, ties: OnceLock::new(), sent: Mutex::default() })
    }

    /// What this node itself is told goes to `ties` from now on.
    pub fn begin(&self, ties: &Arc<Ties>) {
        let _ = self.ties.set(Arc::downgrade(ties));
    }

    /// Parcels that the homes of this node have sent, by node.
    #[must_use]
    pub fn parcels_sent(&self) -> BTreeMap<NodeName, u64> {
        self.sent.lock().clone()
    }

    fn ties(&self) -> Option<Arc<Ties>> {
        self.ties.get().and_then(Weak::upgrade)
    }
}

impl Nodes for AllNodes {
    fn this(&self) -> &Holder {
        self.peers.this()
    }

    fn send(&self, holder: &Holder, parcel: Parcel) {
        *self.sent.lock().entry(holder.node.clone()).or_default() += 1;
        if holder == self.peers.this() {
            if let Some(ties) = self.ties() {
                ties.parcel(parcel);
            }
        } else if holder.node != self.peers.this().node {
            // If it cannot be sent, the node misses its number, or hears everything when the link is there again.
            self.peers.tell(&holder.node, &Message::Parcel(parcel));
        }
    }

    fn is_live(&self, holder: &Holder) -> bool {
        self.peers.is_live(holder)
    }

    fn is_member(&self, holder: &Holder) -> bool {
        self.peers.is_member(holder)
    }

    fn is_of_now(&self, holder: &Holder) -> bool {
        self.peers.is_of_now(holder)
    }

    fn taken_up(&self, partition: PartitionId, tenure: &Tenure) {
        if let Some(ties) = self.ties() {
            ties.taken_up(partition, tenure.clone());
        }
        for node in self.peers.live().into_iter().skip(1) {
            self.peers.tell(&node.node, &Message::TakenUp { partition, tenure: tenure.clone() });
        }
    }
}
