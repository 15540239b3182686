//! What a run was set to, and the bounds that it is held to: settings where they exist, the design's figures otherwise.

use super::Micros;
use serde::{Deserialize, Serialize};

/// What the run was set to, and the bounds that it is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Promises {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// `presence.session_ttl_ms`, µs.
    pub ttl_us: Micros,
    /// `presence.grace_ms`, µs.
    pub grace_us: Micros,
    /// A killed node to the first write of every user it concerned.
    pub failover_us: Micros,
    /// The pace of the batches in which sessions of a dead node end, to the last of them.
    pub batch_us: Micros,
    /// How long a home that is cut off may still answer reads as its own: the lease, the longest election time-out.
    pub lease_us: Micros,
    /// From an acknowledgement to the sockets of friends, while nothing is broken.
    pub delivery_us: Micros,
    /// From the end of a fault to the first acknowledged write.
    pub heal_us: Micros,
    /// From the end of a fault to the last of a node's links that is back: the longest pause between two dials is 1 s, a lost
    /// packet of a handshake comes again after up to 3 s.
    pub relink_us: Micros,
    /// Acknowledged writes that must precede the first fault: a fault without load proves nothing.
    pub load_min: usize,
    /// Kinds of faults that must have happened.
    pub required_faults: Vec<String>,
    /// How much more memory a node may have afterwards, bytes: what allocators keep.
    pub rss_slack_bytes: u64,
    /// How many more file descriptors a node may have afterwards.
    pub fds_slack: u64,
    /// How many more actors a node may have afterwards.
    pub actors_slack: u64,
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            ttl_us: 90_000_000,
            grace_us: 15_000_000,
            failover_us: 5_000_000,
            batch_us: 5_000_000,
            lease_us: 2_000_000,
            delivery_us: 5_000_000,
            heal_us: 10_000_000,
            relink_us: 5_000_000,
            load_min: 50,
            required_faults: Vec::new(),
            rss_slack_bytes: 64 << 20,
            fds_slack: 16,
            actors_slack: 16,
        }
    }
}

impl Promises {
    /// How long after their last sign of life the dead may be shown: two TTLs (or graces), failover, batches.
    #[must_use]
    pub fn death_us(&self) -> Micros {
        2 * self.ttl_us.max(self.grace_us) + self.failover_us + self.batch_us
    }
}
