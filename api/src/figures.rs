//! What a node knows of itself in numbers, for `/metrics`: read when somebody asks, never kept here.
//!
//! Promises that no number is about a single user.

use rollcall_presence::NodeName;
use std::collections::BTreeMap;

/// A node in numbers. Counters start at zero with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The node's name; empty where there is none.
    pub node: String,
    /// How long it runs, seconds.
    pub uptime_s: u64,
    /// Live sessions of the users whose home it is.
    pub sessions: u64,
    /// Users' actors that run here.
    pub user_actors: u64,
    /// Partitions that it leads, as far as it knows itself.
    pub partitions_led: u64,
    /// Partitions of which it keeps a replica.
    pub partitions_held: u64,
    /// Watches of the connections here, one a connection and watched user.
    pub watches: u64,
    /// Commands proposed to the partitions' groups.
    pub proposals: u64,
    /// Commands of them that came back committed and applied.
    pub commits: u64,
    /// Frames that the homes of this node have sent, by the node that watches: one a watching node and change.
    pub frames_sent: BTreeMap<NodeName, u64>,
    /// Resident memory of the process, bytes; `None` where the system does not tell.
    pub rss_bytes: Option<u64>,
}
