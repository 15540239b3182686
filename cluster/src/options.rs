//! What a node's partitions are started with.

use crate::{
    StartError,
    peers::{Dial, Peer, PeerLink, PeerSide, TlsFiles},
    store::{disk::OpenDisk, writer::OnFatal},
};
use futures::future::BoxFuture;
use rollcall_presence::{NodeName, PartitionId, Policy, limits::PARTITIONS_MAX};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// What a node's partitions are started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything durable is kept.
    pub data_dir: PathBuf,
    /// The node's name.
    pub node: NodeName,
    /// How many partitions the cluster has; fixed when it is made.
    pub partitions: u16,
    /// Raft's heartbeat, ms.
    pub heartbeat_ms: u64,
    /// Raft's shortest election timeout, ms; the longest is twice that.
    pub election_ms: u64,
    /// The capacities proposed with each entry.
    pub policy: Policy,
    /// Writes in flight a partition; more are refused as busy.
    pub writes_in_flight: usize,
    /// What the database keeps in memory, bytes.
    pub cache_bytes: u64,
    /// Addresses of nodes to join; none: found a cluster of one. Only a node without data joins or founds.
    pub join: Vec<String>,
    /// How long a node without data tries to be let in, ms.
    pub join_patience_ms: u64,
    /// Replicas wanted, 1 or 3; counts where a cluster is founded.
    pub replication: u8,
    /// Where peers connect to; port 0 takes a free one.
    pub peer_listen: SocketAddr,
    /// Where peers are told to connect to, `host:port`; none: where this node listens.
    pub peer_advertise: Option<String>,
    /// Where clients are told to connect to, `host:port`.
    pub http_advertise: String,
    /// The version of the program, for people.
    pub version: String,
    /// What nodes prove with that they may be members.
    pub cluster_key: Vec<u8>,
    /// Certificates for the links to peers; none: what is said can be read on the way.
    pub peer_tls: Option<TlsFiles>,
    /// How long a dead node's replicas wait for it before they are rebuilt elsewhere, ms.
    pub replace_after_ms: u64,
    /// Within which time after a deletion the logs hold nothing of the user, s.
    pub erase_within_s: u64,
}

impl Options {
    /// The defaults of a node of this name.
    #[must_use]
    pub fn new(data_dir: PathBuf, node: NodeName) -> Self {
        Self {
            data_dir,
            node,
            partitions: 32,
            heartbeat_ms: 200,
            election_ms: 600,
            policy: Policy::default(),
            writes_in_flight: 4_096,
            cache_bytes: 32 * 1_024 * 1_024,
            join: Vec::new(),
            join_patience_ms: 60_000,
            replication: 3,
            peer_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            peer_advertise: None,
            http_advertise: "127.0.0.1:7700".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            cluster_key: Vec::new(),
            peer_tls: None,
            replace_after_ms: 300_000,
            erase_within_s: 3_600,
        }
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        let refuse = |text: String| Err(StartError::Setting(text));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return refuse(format!("cluster.partitions ({}) must be 1 to {PARTITIONS_MAX}", self.partitions));
        }
        if self.heartbeat_ms == 0 || self.election_ms < 3 * self.heartbeat_ms {
            let (election, heartbeat) = (self.election_ms, self.heartbeat_ms);
            return refuse(format!("election_ms ({election}) must be at least 3 × heartbeat_ms ({heartbeat})"));
        }
        if self.writes_in_flight == 0 {
            return refuse("limits.writes_in_flight (0) must be at least 1".into());
        }
        if !matches!(self.replication, 1 | 3) {
            return refuse(format!("cluster.replication ({}) must be 1 or 3", self.replication));
        }
        Ok(())
    }
}

/// Makes the links of a node, given who it is and what it answers its peers.
pub type MakeLink = Box<dyn FnOnce(Peer, Arc<dyn PeerSide>) -> Arc<dyn PeerLink> + Send>;

/// Called before this node hands the leadership of a partition over to another one, and waited for, though not for long.
pub type HandingOver = Arc<dyn Fn(PartitionId, NodeName) -> BoxFuture<'static, ()> + Send + Sync>;

/// This machine's clock, ms since the epoch; it may be wrong, and may jump.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// This machine's clock, ms since the epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A part of a round of the store's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundPart {
    /// The batch is handed to the disk.
    Apply,
    /// The disk is flushed and synced.
    Sync,
    /// The watermark is raised.
    Mark,
    /// Whoever waits is answered.
    Answer,
}

/// Asked before each part of a round how long it takes. An error ends the writer, as a failed disk does.
pub type Pace = Arc<dyn Fn(RoundPart) -> std::io::Result<Duration> + Send + Sync>;

/// What is passed in rather than reached for, where it is not the default.
#[derive(Default)]
pub struct Surroundings {
    /// Makes the way to other nodes from what this one answers them; none: streams over sockets, as the options say.
    pub link: Option<MakeLink>,
    /// Where those are dialled, if not at the address itself.
    pub dial: Option<Dial>,
    /// Opens the store's disk; none: sled.
    pub disk: Option<OpenDisk>,
    /// Has the store's writer run as a task of the runtime, at this pace; none: on threads of its own, as disks that block need
    /// it. With it nothing of the store runs outside of the runtime.
    pub pace: Option<Pace>,
    /// This machine's clock; none: the system's.
    pub wall_clock: Option<WallClock>,
    /// By how many entries a log grows until a snapshot is taken; none: as the limits say. Small ones make snapshots and purges
    /// common where runs are short.
    pub snapshot_entries: Option<u64>,
    /// Called when the process must end; by default it logs the reason and ends the process with code 1.
    pub on_fatal: Option<OnFatal>,
    /// Hears of hand-overs before they happen.
    pub handing_over: Option<HandingOver>,
}
