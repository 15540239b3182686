//! The consistent-hash ring: users to partitions, partitions to nodes. Seeds are fixed: every node computes the same.

use crate::id::{NodeName, UserId};
use alloc::vec::Vec;
use bincode::{Decode, Encode};
use core::hash::Hasher;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// Virtual nodes a node: enough that shares stay within a fifth of even (three nodes: 2 %; a test holds three to five).
pub const VIRTUAL_NODES: u32 = 128;

/// A partition, `0..P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub u16);

impl core::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn hash(seed: u64, bytes: &[u8], extra: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x726f_6c6c_6361_6c6c, seed);
    hasher.write(bytes);
    hasher.write(&extra.to_le_bytes());
    hasher.finish()
}

/// The partition that `user` belongs to in a cluster of `partitions`. Stable for the cluster's life.
#[must_use]
pub fn partition_of(user: &UserId, partitions: u16) -> PartitionId {
    // Less than `partitions`, so it fits.
    PartitionId((hash(1, user.as_bytes(), 0) % u64::from(partitions.max(1))) as u16)
}

/// Where partitions should be: each at the next distinct nodes on the ring. A proposal; what was committed is the truth.
#[derive(Debug, Clone)]
pub struct Ring {
    points: Vec<(u64, usize)>,
    nodes: Vec<NodeName>,
}

impl Ring {
    /// A ring of `nodes`, whatever their order.
    #[must_use]
    pub fn new(nodes: &[NodeName]) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        let mut points: Vec<(u64, usize)> = (0..VIRTUAL_NODES)
            .flat_map(|v| nodes.iter().enumerate().map(move |(i, n)| (hash(2, n.as_bytes(), v), i)))
            .collect();
        points.sort_unstable();
        Self { points, nodes }
    }

    /// The first `replication` distinct nodes after the partition's point; fewer when there are fewer nodes.
    #[must_use]
    pub fn replicas(&self, partition: PartitionId, replication: usize) -> Vec<NodeName> {
        let wanted = replication.min(self.nodes.len());
        let at = hash(3, &partition.0.to_le_bytes(), 0);
        let start = self.points.partition_point(|(point, _)| *point < at);
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        for (_, node) in self.points[start..].iter().chain(&self.points[..start]) {
            if chosen.len() == wanted {
                break;
            }
            if !chosen.contains(node) {
                chosen.push(*node);
            }
        }
        chosen.into_iter().map(|i| self.nodes[i].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn nodes(n: usize) -> Vec<NodeName> {
        (1..=n).map(|i| NodeName::new(&format!("n{i}")).unwrap()).collect()
    }

    #[test]
    fn users_keep_their_partition_for_ever() {
        let at = |u: &str| partition_of(&UserId::new(u).unwrap(), 32).0;
        assert_eq!([at("alice"), at("bob"), at("carol"), at("dave")], GOLDEN, "changing the hash loses every user");
    }
    const GOLDEN: [u16; 4] = [23, 11, 13, 5];

    #[test]
    fn users_spread_evenly_over_partitions() {
        let mut counts = [0u32; 32];
        for i in 0..32_000 {
            counts[usize::from(partition_of(&UserId::new(&format!("user{i}")).unwrap(), 32).0)] += 1;
        }
        assert!(counts.iter().all(|c| (850..1_150).contains(c)), "{counts:?}");
    }

    #[test]
    fn replicas_are_distinct_and_do_not_depend_on_the_order_of_nodes() {
        let mut names = nodes(5);
        let forward = Ring::new(&names);
        names.reverse();
        let backward = Ring::new(&names);
        for p in (0..256).map(PartitionId) {
            let mut replicas = forward.replicas(p, 3);
            assert_eq!(replicas, backward.replicas(p, 3));
            replicas.sort_unstable();
            replicas.dedup();
            assert_eq!(replicas.len(), 3);
        }
        assert_eq!(Ring::new(&nodes(1)).replicas(PartitionId(0), 3), nodes(1));
        assert!(Ring::new(&[]).replicas(PartitionId(0), 3).is_empty());
    }

    #[test]
    fn a_leaving_node_moves_only_its_own_replicas() {
        let all = nodes(5);
        let before = Ring::new(&all);
        let after = Ring::new(&all[..4]);
        for p in (0..256).map(PartitionId) {
            let kept: Vec<_> = before.replicas(p, 3).into_iter().filter(|n| *n != all[4]).collect();
            let now = after.replicas(p, 3);
            assert!(kept.iter().all(|n| now.contains(n)), "{p}: {kept:?} {now:?}");
        }
    }

    /// How far the node with the largest or smallest share of replicas is from an even share, in percent.
    fn imbalance_percent(n: usize, replication: usize) -> usize {
        let names = nodes(n);
        let ring = Ring::new(&names);
        let held: Vec<NodeName> = (0..PARTITIONS).flat_map(|p| ring.replicas(PartitionId(p), replication)).collect();
        let even = usize::from(PARTITIONS) * replication / n;
        let share = |name: &NodeName| held.iter().filter(|h| *h == name).count();
        names.iter().map(|name| share(name).abs_diff(even) * 100 / even).max().unwrap()
    }
    const PARTITIONS: u16 = 1_024;

    #[test]
    fn nodes_share_partitions_and_replicas_within_a_fifth() {
        for n in [3, 4, 5] {
            let (first, all) = (imbalance_percent(n, 1), imbalance_percent(n, 3));
            assert!(first.max(all) <= 20, "{n} nodes: {first} % of partitions, {all} % of replicas");
        }
    }
}
