//! What an operator sees: the whole cluster, as far as this node can confirm it.
//!
//! Members and moves come from the committed placement, the rest from what every live node reports of itself in time. What nobody
//! reported is `null`; a partition has a leader only if that node confirmed its lease just now.

use crate::{
    bounds::REPORT_DEADLINE_MS,
    homes::Homes,
    node::Node,
    peers::message::{LedReport, NodeReport, Question, Reply},
    report,
};
use futures::future::join_all;
use rollcall_api::figures::Figures;
use rollcall_api::wire::{ClusterStatus, Located, MoveStatus, NodeState, NodeStatus, PartitionStatus, RingStatus};
use rollcall_cluster::Role;
use rollcall_presence::{Incoming, Member, MemberState, NodeName, PartitionId, Placement, UserId};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Where the answers to an operator come from.
pub struct ClusterView {
    cluster_id: String,
    http: String,
    peer: String,
    started: Instant,
}

type Reports = BTreeMap<NodeName, NodeReport>;

impl ClusterView {
    /// The view of a node that listens for clients on `http` and for other nodes on `peer`.
    #[must_use]
    pub fn new(cluster_id: String, http: String, peer: String) -> Self {
        Self { cluster_id, http, peer, started: Instant::now() }
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where a user lives; no leader while this node cannot confirm that it is one, or is cut off from whom it takes for one.
    pub(crate) async fn locate(&self, node: &Node, user: &UserId) -> Located {
        let partition = node.homes.partition_of(user);
        let home = node.homes.partition(partition);
        let leader = match home.map(|home| (home, home.role())) {
            Some((home, Role::Home { .. })) => home.confirmed().await.ok().map(|()| node.sockets.holder().node.clone()),
            Some((_, Role::Follower { leader })) => leader.filter(|_| *node.homes.peers().links().confirmed().borrow()),
            None => None,
        };
        let replicas = replicas(&node.homes, &node.homes.peers().placement(), partition, None);
        Located { user: user.clone(), partition, leader, replicas }
    }

    /// This node in numbers.
    pub(crate) fn figures(&self, node: &Node) -> Figures {
        report::figures(node, self.started)
    }

    /// The whole cluster.
    pub(crate) async fn status(&self, node: &Node) -> ClusterStatus {
        let homes = &node.homes;
        let placement = homes.peers().placement();
        let confirmed = *homes.peers().links().confirmed().borrow();
        let reports = self.reports(node).await;
        let nodes = self.nodes(node, &placement, confirmed, &reports);
        let partitions: Vec<PartitionStatus> =
            homes.partitions().iter().map(|home| partition_status(homes, &placement, home.id(), &reports)).collect();
        let up = nodes.iter().filter(|n| !matches!(n.state, NodeState::Unreachable | NodeState::Unknown)).count();
        let replication = if placement.is_founded() { placement.voters_wanted() } else { 1 };
        let moves = placement.incoming().filter_map(|incoming| moving(incoming, &reports)).collect();
        ClusterStatus {
            cluster_id: self.cluster_id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            healthy: confirmed && partitions.iter().all(|p| p.healthy),
            nodes_up: if confirmed { u32::try_from(up).ok() } else { None },
            nodes_total: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            ring: RingStatus {
                partitions: u16::try_from(partitions.len()).unwrap_or(u16::MAX),
                replication: u8::try_from(replication).unwrap_or(u8::MAX),
                epoch: placement.epoch.max(1),
            },
            nodes,
            partitions,
            moves,
        }
    }

    /// What live nodes report of themselves in time.
    async fn reports(&self, node: &Node) -> Reports {
        let peers = node.homes.peers();
        let deadline = Duration::from_millis(REPORT_DEADLINE_MS);
        let others = peers.live().into_iter().skip(1).map(|other| async move {
            match peers.ask(&other.node, &Question::Report, deadline).await {
                Ok(Reply::Report(report)) => Some((other.node, report)),
                _ => None,
            }
        });
        let (own, others) = futures::future::join(report::of(node, self.started), join_all(others)).await;
        let this = node.sockets.holder().node.clone();
        others.into_iter().flatten().chain(std::iter::once((this, own))).collect()
    }

    fn nodes(&self, node: &Node, placement: &Placement, confirmed: bool, reports: &Reports) -> Vec<NodeStatus> {
        let this = &node.sockets.holder().node;
        let status = |name: &NodeName, member: Option<&Member>| {
            let report = reports.get(name);
            let state = match member {
                Some(member) => state(member, confirmed, report.is_some()),
                None => NodeState::Up, // a node by itself
            };
            let own = name == this;
            let told = |of: fn(&Member) -> &String, own_value: &str| {
                if own { Some(own_value.to_owned()) } else { member.map(|member| of(member).clone()) }
            };
            NodeStatus {
                name: name.clone(),
                state,
                http: told(|m| &m.http, &self.http),
                peer: told(|m| &m.peer, &self.peer),
                version: told(|m| &m.version, env!("CARGO_PKG_VERSION")),
                uptime_s: report.map(|r| r.uptime_s),
                sessions: report.map(|r| r.sessions),
                connections: report.map(|r| r.connections),
                user_actors: report.map(|r| r.user_actors),
                partitions_led: report.map(|r| r.partitions_led),
                partitions_held: report.map(|r| r.partitions_held),
                rss_bytes: report.and_then(|r| r.rss_bytes),
            }
        };
        if placement.members.is_empty() {
            return vec![status(this, None)];
        }
        placement.members.iter().map(|(name, member)| status(name, Some(member))).collect()
    }
}

/// What a member is, as far as this node can tell.
fn state(member: &Member, confirmed: bool, reported: bool) -> NodeState {
    if !confirmed && !reported {
        return NodeState::Unknown; // its last known state may be long over
    }
    match member.state {
        MemberState::Down(_) => NodeState::Unreachable,
        _ if !reported => NodeState::Unreachable,
        MemberState::Joining => NodeState::Joining,
        MemberState::Up => NodeState::Up,
        MemberState::Draining => NodeState::Draining,
        MemberState::Drained => NodeState::Drained,
        MemberState::Removing => NodeState::Removed,
    }
}

/// The leader of a partition with its report; of two that say so the one of the newer term.
fn led(reports: &Reports, partition: PartitionId) -> Option<(&NodeName, &LedReport)> {
    let all = reports.iter().flat_map(|(node, report)| report.led.iter().map(move |led| (node, led)));
    all.filter(|(_, led)| led.id == partition).max_by_key(|(_, led)| led.term)
}

/// Who has replicas: as its leader says, as was committed, or as the replica here knows.
fn replicas(homes: &Homes, placement: &Placement, partition: PartitionId, led: Option<&LedReport>) -> Vec<NodeName> {
    if let Some(led) = led {
        return led.matched.iter().map(|(node, _)| node.clone()).collect();
    }
    let placed: Vec<NodeName> = placement.replicas_of(partition).cloned().collect();
    if !placed.is_empty() {
        return placed;
    }
    let report = homes.partition(partition).and_then(|home| home.group().status());
    report.into_iter().flat_map(|report| report.replicas).map(|replica| replica.node).collect()
}

fn partition_status(homes: &Homes, placement: &Placement, id: PartitionId, reports: &Reports) -> PartitionStatus {
    let leads = led(reports, id);
    let (leader, report) = (leads.map(|(node, _)| node.clone()), leads.map(|(_, report)| report));
    let replicas = replicas(homes, placement, id, report);
    let applied_at = |node: &NodeName| {
        let applied = &reports.get(node)?.applied;
        applied.iter().find(|(of, _)| *of == id).map(|(_, index)| *index)
    };
    PartitionStatus {
        id,
        healthy: leader.is_some(),
        leader,
        term: report.map(|r| r.term),
        applied: replicas.iter().map(|node| (node.to_string(), applied_at(node))).collect(),
        replicas,
        committed: report.and_then(|r| r.committed),
        users: report.map(|r| r.users),
        online: report.map(|r| r.online),
    }
}

/// A replica on its way: how much of the log it has, by its leader's word.
fn moving(incoming: Incoming, reports: &Reports) -> Option<MoveStatus> {
    let Incoming { partition, from, to } = incoming;
    let report = led(reports, partition).map(|(_, report)| report);
    let matched = report.and_then(|r| r.matched.iter().find(|(node, _)| *node == to)).and_then(|(_, matched)| *matched);
    let committed = report.and_then(|r| r.committed).unwrap_or_default();
    let percent = matched.map_or(0, |matched| (matched.min(committed) * 100).checked_div(committed).unwrap_or(100));
    let state = match percent {
        0 => "waiting",
        100 => "joining",
        _ => "catching_up",
    };
    let done_percent = u8::try_from(percent).unwrap_or(100);
    Some(MoveStatus { partition, from: from?, to, state: state.into(), done_percent })
}
