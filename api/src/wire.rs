//! What goes over the wire, to the byte.

use rollcall_presence::{Device, NodeName, PartitionId, PublicPresence, Status, UnixMs, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

/// A presence in JSON. Source: contract, section 4.
#[derive(Debug, Serialize)]
pub struct PresenceJson<'a> {
    user: &'a UserId,
    status: Status,
    text: Option<&'a str>,
    meta: &'a RawValue,
    since: Option<UnixMs>,
    last_seen: Option<UnixMs>,
    devices: &'a [Device],
    version: u64,
    stale: bool,
}

impl<'a> PresenceJson<'a> {
    /// The JSON form of `presence`.
    #[must_use]
    pub fn new(presence: &'a PublicPresence, stale: bool) -> Self {
        Self {
            user: &presence.user,
            status: presence.status,
            text: presence.text.as_deref(),
            meta: raw(presence.meta.as_json()),
            since: presence.since,
            last_seen: presence.last_seen,
            devices: &presence.devices,
            version: presence.version,
            stale,
        }
    }
}

/// Compact JSON that was parsed when it came in; `{}` if the disk gave back something else.
pub(crate) fn raw(json: &str) -> &RawValue {
    const EMPTY: &str = "{}";
    serde_json::from_str(json).or_else(|_| serde_json::from_str(EMPTY)).unwrap_or(RawValue::NULL)
}

/// A presence encoded once for all who watch it on this node.
#[derive(Debug, PartialEq, Eq)]
pub struct EncodedPresence {
    /// The user.
    pub user: UserId,
    /// Its version.
    pub version: u64,
    /// Whether it is stale.
    pub stale: bool,
    /// The JSON object, compact.
    pub json: Box<str>,
}

impl EncodedPresence {
    /// Encodes `presence`.
    #[must_use]
    pub fn new(presence: &PublicPresence, stale: bool) -> Self {
        // A struct of strings, numbers and parsed JSON always serializes.
        let json = serde_json::to_string(&PresenceJson::new(presence, stale)).unwrap_or_default();
        Self { user: presence.user.clone(), version: presence.version, stale, json: json.into_boxed_str() }
    }

    /// The same with `stale` as told.
    #[must_use]
    pub fn restaled(&self, stale: bool) -> Self {
        // The last field of the object: nothing a client wrote comes after it.
        let (is, was) = if stale { ("true}", "false}") } else { ("false}", "true}") };
        let json = self.json.strip_suffix(was).map_or_else(|| self.json.clone(), |rest| [rest, is].concat().into());
        Self { user: self.user.clone(), version: self.version, stale, json }
    }
}

/// Answer of `GET /v1/cluster/status`. Source: contract, section 10; `None` is what this node cannot confirm.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct ClusterStatus {
    pub cluster_id: String,
    pub version: String,
    pub healthy: bool,
    pub nodes_up: Option<u32>,
    pub nodes_total: u32,
    pub ring: RingStatus,
    pub nodes: Vec<NodeStatus>,
    pub partitions: Vec<PartitionStatus>,
    pub moves: Vec<MoveStatus>,
}

/// The ring in the cluster status.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct RingStatus {
    pub partitions: u16,
    pub replication: u8,
    pub epoch: u64,
}

/// A node in the cluster status.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct NodeStatus {
    pub name: NodeName,
    pub state: NodeState,
    pub http: Option<String>,
    pub peer: Option<String>,
    pub version: Option<String>,
    pub uptime_s: Option<u64>,
    pub sessions: Option<u64>,
    pub connections: Option<u64>,
    pub user_actors: Option<u64>,
    pub partitions_led: Option<u32>,
    pub partitions_held: Option<u32>,
    pub rss_bytes: Option<u64>,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the contract names and explains the states")]
pub enum NodeState {
    Joining,
    Up,
    Unreachable,
    Draining,
    Drained,
    Removed,
    Unknown,
}

/// A partition in the cluster status.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct PartitionStatus {
    pub id: PartitionId,
    pub leader: Option<NodeName>,
    pub term: Option<u64>,
    pub replicas: Vec<NodeName>,
    pub committed: Option<u64>,
    pub applied: std::collections::BTreeMap<String, Option<u64>>,
    pub users: Option<u64>,
    pub online: Option<u64>,
    pub healthy: bool,
}

/// A replica on its way in the cluster status.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct MoveStatus {
    pub partition: PartitionId,
    pub from: NodeName,
    pub to: NodeName,
    pub state: String,
    pub done_percent: u8,
}

/// Answer of `GET /v1/cluster/locate/{user}`. Source: contract, section 10.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the contract names and explains the fields")]
pub struct Located {
    pub user: UserId,
    pub partition: PartitionId,
    pub leader: Option<NodeName>,
    pub replicas: Vec<NodeName>,
}
