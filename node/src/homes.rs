//! The way to every user's home: served here when this node leads the partition, forwarded to its leader otherwise.

use crate::home::{
    partition::HomePartition,
    request::{HomeError, HomeReply, HomeRequest},
};
use async_trait::async_trait;
use rollcall_cluster::Role;
use rollcall_presence::{NodeName, PartitionId, UserId, partition_of};
use std::sync::Arc;

/// Other nodes, as homes.
#[async_trait]
pub trait PeerHomes: Send + Sync + 'static {
    /// Asks the home of `partition` on `node`.
    async fn ask(&self, node: &NodeName, partition: PartitionId, request: HomeRequest) -> Result<HomeReply, HomeError>;

    /// Tells it something that needs no answer, in order with what is asked and told from here.
    fn tell(&self, node: &NodeName, partition: PartitionId, request: HomeRequest);
}

/// A cluster of one: no other node has a home.
#[derive(Debug)]
pub struct NoPeers;

#[async_trait]
impl PeerHomes for NoPeers {
    async fn ask(&self, _: &NodeName, _: PartitionId, _: HomeRequest) -> Result<HomeReply, HomeError> {
        Err(HomeError::NoHome)
    }

    fn tell(&self, _: &NodeName, _: PartitionId, _: HomeRequest) {}
}

/// All partitions, with the ways to their homes.
pub struct Homes {
    partitions: Vec<Arc<HomePartition>>,
    peers: Arc<dyn PeerHomes>,
}

impl Homes {
    /// The partitions of a cluster in order, and the other nodes.
    #[must_use]
    pub fn new(partitions: Vec<Arc<HomePartition>>, peers: Arc<dyn PeerHomes>) -> Arc<Self> {
        Arc::new(Self { partitions, peers })
    }

    /// The partition of a user.
    #[must_use]
    pub fn partition_of(&self, user: &UserId) -> PartitionId {
        partition_of(user, u16::try_from(self.partitions.len()).unwrap_or(u16::MAX))
    }

    /// The partitions of this node.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<HomePartition>] {
        &self.partitions
    }

    fn of(&self, user: &UserId) -> &Arc<HomePartition> {
        &self.partitions[usize::from(self.partition_of(user).0)]
    }

    /// Asks the home of `user`, whose partition the request concerns.
    ///
    /// # Errors
    /// [`HomeError`]; only after `Unknown` may a write still take effect.
    pub async fn ask(&self, user: &UserId, request: HomeRequest) -> Result<HomeReply, HomeError> {
        let partition = self.of(user);
        match partition.role() {
            Role::Home { .. } => partition.serve(request).await,
            // Nobody to ask: what can be answered from a replica's store is, and says that it may be stale.
            Role::Follower { leader: None } => partition.serve(request).await,
            Role::Follower { leader: Some(node) } => self.peers.ask(&node, partition.id(), request).await,
        }
    }

    /// Tells the home of `user` something that needs no answer.
    pub fn tell(&self, user: &UserId, request: HomeRequest) {
        let partition = self.of(user);
        match partition.role() {
            Role::Home { .. } | Role::Follower { leader: None } => partition.take(request),
            Role::Follower { leader: Some(node) } => self.peers.tell(&node, partition.id(), request),
        }
    }
}
