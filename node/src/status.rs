//! What an operator sees: the whole cluster, as far as this node can confirm it.

use crate::{home::partition::HomePartition, node::Node};
use rollcall_api::{
    service::ServiceError,
    wire::{ClusterStatus, Located, NodeState, NodeStatus, PartitionStatus, RingStatus},
};
use rollcall_cluster::{Cluster, ReplicaReport, Role};
use rollcall_presence::{NodeName, UserId};
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// Where the answers to an operator come from.
pub struct ClusterView {
    cluster: Arc<Cluster>,
    replication: u8,
    http: String,
    peer: String,
    started: Instant,
}

impl ClusterView {
    /// The view of a node that listens for clients on `http` and for other nodes on `peer`.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, replication: u8, http: String, peer: String) -> Self {
        Self { cluster, replication, http, peer, started: Instant::now() }
    }

    /// `UnknownNode` unless `node` is a member.
    pub(crate) fn known(&self, node: &NodeName) -> Result<(), ServiceError> {
        if *node == self.cluster.identity().node { Ok(()) } else { Err(ServiceError::UnknownNode) }
    }

    /// Where a user lives.
    pub(crate) fn locate(&self, node: &Node, user: &UserId) -> Located {
        let partition = node.homes.partition_of(user);
        let report = self.cluster.partition(partition).status();
        let leader = report.as_ref().and_then(|report| report.leader.clone());
        let replicas = report.into_iter().flat_map(|report| report.replicas).map(|r| r.node).collect();
        Located { user: user.clone(), partition, leader, replicas }
    }

    /// The whole cluster.
    pub(crate) async fn status(&self, node: &Node) -> ClusterStatus {
        let this = &self.cluster.identity().node;
        let partitions: Vec<PartitionStatus> =
            node.homes.partitions().iter().filter_map(|p| partition_status(p, this)).collect();
        let members = [this];
        let voters = if members.len() >= 3 { self.replication } else { 1 };
        ClusterStatus {
            cluster_id: self.cluster.identity().cluster_id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            healthy: partitions.iter().all(|p| p.healthy),
            nodes_up: u32::try_from(members.len()).ok(),
            nodes_total: u32::try_from(members.len()).unwrap_or(u32::MAX),
            ring: RingStatus { partitions: self.cluster.partitions(), replication: voters, epoch: 1 },
            nodes: vec![self.this_node(node)],
            partitions,
            moves: Vec::new(),
        }
    }

    fn this_node(&self, node: &Node) -> NodeStatus {
        let homes = node.homes.partitions();
        let led = homes.iter().filter(|p| matches!(p.role(), Role::Home { .. }));
        let sessions: u64 = led.clone().map(|p| p.group().read(|view| view.ledger().sessions).unwrap_or(0)).sum();
        NodeStatus {
            name: self.cluster.identity().node.clone(),
            state: NodeState::Up,
            http: Some(self.http.clone()),
            peer: Some(self.peer.clone()),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            uptime_s: Some(self.started.elapsed().as_secs()),
            sessions: Some(sessions),
            connections: Some(node.sockets.len() as u64),
            user_actors: Some(homes.iter().map(|p| p.user_actors() as u64).sum()),
            partitions_led: u32::try_from(led.count()).ok(),
            partitions_held: u32::try_from(homes.len()).ok(),
            rss_bytes: resident_bytes(),
        }
    }
}

/// Nothing of a partition of which no replica is kept here.
fn partition_status(home: &HomePartition, this: &NodeName) -> Option<PartitionStatus> {
    let report = home.group().status()?;
    // What another replica has applied is not known here; what is on its disk is, at the leader.
    let applied_at = |r: &ReplicaReport| if r.node == *this { report.applied } else { r.matched };
    let applied: BTreeMap<String, Option<u64>> =
        report.replicas.iter().map(|r| (r.node.to_string(), applied_at(r))).collect();
    Some(PartitionStatus {
        id: report.id,
        leader: report.leader,
        term: Some(report.term),
        replicas: report.replicas.into_iter().map(|r| r.node).collect(),
        committed: report.committed,
        applied,
        users: Some(report.users),
        online: Some(report.online),
        healthy: report.healthy,
    })
}

/// Resident memory of this process, bytes. Source: `/proc/self/statm`, second field, in pages.
fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
