//! The links and the operator's wishes of a node, as its cluster carries them out.

use super::Links;
use crate::admin::{Admin, AdminRefusal};
use async_trait::async_trait;
use futures::future::BoxFuture;
use rollcall_cluster::{AdminError, Cluster, LinkError};
use rollcall_presence::{NodeName, Placement};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A node's cluster, as its links.
pub struct Clustered {
    cluster: Arc<Cluster>,
    confirmed: watch::Receiver<bool>,
}

impl Clustered {
    /// The links of a node of `cluster`. To be made within a runtime.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        let mut standing = cluster.standing();
        let (told, confirmed) = watch::channel(standing.borrow_and_update().confirmed);
        tokio::spawn(async move {
            while standing.changed().await.is_ok() {
                let is = standing.borrow_and_update().confirmed;
                told.send_if_modified(|was| std::mem::replace(was, is) != is);
            }
        });
        Arc::new(Self { cluster, confirmed })
    }
}

impl Links for Clustered {
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
impl Admin for Cluster {
    async fn drain(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        let alone = {
            let placement = self.placement();
            let placement = placement.borrow();
            placement.members.len() == 1 && placement.members.contains_key(node)
        };
        if alone {
            return Err(AdminRefusal::Refused("this cluster has one node: there is nowhere to move to".into()));
        }
        Ok(Self::drain(self, node).await?)
    }

    async fn remove(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        Ok(Self::remove(self, node).await?)
    }
}
