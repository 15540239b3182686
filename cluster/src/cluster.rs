//! All partitions of this node, over one store, and its part in the cluster.

use crate::{
    control::{AdminError, ClusterStanding, Control},
    hosting::Hosting,
    observer::Observer,
    options::{Options, Surroundings},
    partition::Partition,
    peers::{LinkError, NoPresence, PeerLink, PresenceLane},
    starting::{self, Started},
    store::{disk::Disk, lock::DirectoryLock, opening::StartError, writer::Writer},
};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId, Placement};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's name.
    pub node: NodeName,
    /// Counts the node's starts: a restarted node is somebody new.
    pub generation: u64,
}

/// All partitions of this node.
pub struct Cluster {
    identity: Identity,
    hosting: Arc<Hosting>,
    control: Arc<Control>,
    link: Arc<dyn PeerLink>,
    peer_addr: SocketAddr,
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    healthy: watch::Receiver<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Cluster {
    /// Opens the store, checks and recovers it, and starts every group. Without data it joins a cluster, or founds one when
    /// there is none to join.
    ///
    /// # Errors
    /// [`StartError`], saying what to do.
    pub async fn start(options: Options, observer: Arc<dyn Observer>) -> Result<Arc<Self>, StartError> {
        Self::start_within(options, observer, Arc::new(NoPresence), Surroundings::default()).await
    }

    /// The same with the presence lane, the links and the end of the process passed in.
    ///
    /// # Errors
    /// [`StartError`], saying what to do.
    pub async fn start_within(
        options: Options,
        observer: Arc<dyn Observer>,
        lane: Arc<dyn PresenceLane>,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>, StartError> {
        let started = starting::start(options, observer, lane, surroundings).await?;
        let Started { identity, hosting, control, link, peer_addr, writer, disk, healthy, tasks, lock } = started;
        let (tasks, lock) = (Mutex::new(tasks), Mutex::new(Some(lock)));
        Ok(Arc::new(Self { identity, hosting, control, link, peer_addr, writer, disk, healthy, tasks, lock }))
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        u16::try_from(self.hosting.partitions().len()).unwrap_or(u16::MAX)
    }

    /// A partition.
    ///
    /// # Panics
    /// When `id` is not below [`partitions`](Self::partitions).
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> &Arc<Partition> {
        &self.hosting.partitions()[usize::from(id.0)]
    }

    /// The placement as applied here: who belongs to the cluster, and who keeps what. It may lag.
    #[must_use]
    pub fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.control.placement()
    }

    /// The partitions of which this node keeps a replica.
    #[must_use]
    pub fn held(&self) -> Vec<PartitionId> {
        self.hosting.held()
    }

    /// Whether this node was told that it is no member any more: its groups have ended, or are about to.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.control.is_removed()
    }

    /// Who leads the placement, as far as this node knows.
    #[must_use]
    pub fn placement_leader(&self) -> Option<NodeName> {
        self.control.placement_leader()
    }

    /// Whether this node reaches a placement leader that has a quorum. Wakes when that changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<ClusterStanding> {
        self.control.standing()
    }

    /// Asks another node on the presence lane.
    ///
    /// # Errors
    /// [`LinkError`], saying whether the question was sent.
    pub async fn ask(&self, node: &NodeName, question: Vec<u8>, deadline: Duration) -> Result<Vec<u8>, LinkError> {
        self.link.ask_presence(node, question, deadline).await
    }

    /// Tells another node on the presence lane; `false` when there is no link.
    pub fn tell(&self, node: &NodeName, message: Vec<u8>) -> bool {
        self.link.tell_presence(node, message)
    }

    /// Where peers reach this node.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Has `node` hand its leaderships over; it keeps its replicas. Its next start ends that.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn drain(&self, node: &NodeName) -> Result<(), AdminError> {
        self.control.drain(node).await
    }

    /// Has `node` hand over everything, for good.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove(&self, node: &NodeName) -> Result<(), AdminError> {
        self.control.remove(node).await
    }

    /// Drains this node and waits until it leads nothing that another one could lead; at once when it is alone. Answers whether
    /// that came about within `patience`.
    pub async fn leave(&self, patience: Duration) -> bool {
        self.control.leave(patience).await
    }

    /// Whether the disk keeps up; a node whose disk does not is the home of nothing.
    #[must_use]
    pub fn healthy(&self) -> watch::Receiver<bool> {
        self.healthy.clone()
    }

    /// How many rounds were written since the start.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.writer.rounds()
    }

    /// Ends all groups, makes what waits durable, closes the store and lets go of the directory. A second call does
    /// nothing.
    pub async fn stop(&self) {
        for task in std::mem::take(&mut *self.tasks.lock()) {
            task.abort();
        }
        self.control.stop();
        self.link.stop().await;
        self.hosting.stop().await;
        starting::close_store(&self.writer, &self.disk).await;
        drop(self.lock.lock().take());
    }
}
