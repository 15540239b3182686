//! The cluster's groups and links as a node uses them.
//!
//! Relies on `rollcall_cluster`; promises nothing of its own but that whether the cluster is reached is told once a change.

use crate::{
    admin::{Admin, AdminRefusal},
    peers::{Links, lane::Lane},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use rollcall_cluster::{AdminError, Cluster, HandingOver, LinkError};
use rollcall_presence::{NodeName, Placement};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The other nodes, over the cluster's own links.
pub struct ClusterLinks {
    cluster: Arc<Cluster>,
    confirmed: watch::Receiver<bool>,
}

impl ClusterLinks {
    /// The links of `cluster`.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        let mut standing = cluster.standing();
        let (told, confirmed) = watch::channel(standing.borrow().confirmed);
        tokio::spawn(async move {
            while standing.changed().await.is_ok() {
                let now = standing.borrow_and_update().confirmed;
                told.send_if_modified(|known| std::mem::replace(known, now) != now);
                if told.is_closed() {
                    return;
                }
            }
        });
        Arc::new(Self { cluster, confirmed })
    }
}

impl Links for ClusterLinks {
    fn ask<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(self.cluster.ask(peer, question, deadline))
    }

    fn tell(&self, peer: &NodeName, message: Vec<u8>) -> bool {
        self.cluster.tell(peer, message)
    }

    fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.cluster.placement()
    }

    fn confirmed(&self) -> watch::Receiver<bool> {
        self.confirmed.clone()
    }
}

impl From<AdminError> for AdminRefusal {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unknown => Self::Unknown,
            AdminError::LastReplica => Self::LastReplica,
            AdminError::Refused(why) => Self::Refused(why),
            AdminError::NoLeader => Self::NoLeader,
            AdminError::Unsure => Self::Unsure,
        }
    }
}

#[async_trait]
impl Admin for ClusterLinks {
    async fn drain(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        let placement = self.cluster.placement().borrow().clone();
        if placement.members.len() <= 1 && placement.members.contains_key(node) {
            return Err(AdminRefusal::Refused("this cluster has one node: there is nowhere to move to".into()));
        }
        Ok(self.cluster.drain(node).await?)
    }

    async fn remove(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        Ok(self.cluster.remove(node).await?)
    }
}

/// Has `lane` hand over what only a home knows before its leadership goes.
#[must_use]
pub fn handing_over(lane: &Arc<Lane>) -> HandingOver {
    let lane = lane.clone();
    Arc::new(move |partition, next| {
        let lane = lane.clone();
        Box::pin(async move { lane.hand_over(partition, &next).await })
    })
}
