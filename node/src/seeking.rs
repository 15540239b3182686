//! Where to look for a home of which nothing is known here: at the nodes that run replicas, one after the other.
//!
//! A node without a replica knows a home from hearsay only, and the answer of one that knew no better, in an election, must not be the
//! last that it hears. Promises that every replica's node is asked in the end, and none more often than the pace allows.

use crate::bounds::HOME_LOOK_MS;
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId, Placement};
use std::time::Duration;
use tokio::time::Instant;

/// Whose turn it is, of all partitions.
pub(crate) struct Seeking(Vec<Mutex<Turn>>);

#[derive(Default)]
struct Turn {
    next: usize,
    last: Option<Instant>,
}

impl Seeking {
    /// Nobody was asked yet, for any of so many partitions.
    pub(crate) fn new(partitions: usize) -> Self {
        Self((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// The next node to ask who leads `partition`; `None` when another was asked just now, or when nobody else has a replica.
    pub(crate) fn next(&self, partition: PartitionId, placement: &Placement, this: &NodeName) -> Option<NodeName> {
        let mut turn = self.0.get(usize::from(partition.0))?.lock();
        let now = Instant::now();
        if turn.last.is_some_and(|last| now - last < Duration::from_millis(HOME_LOOK_MS)) {
            return None;
        }
        let others: Vec<&NodeName> = placement.replicas_of(partition).filter(|node| *node != this).collect();
        let next = (*others.get(turn.next % others.len().max(1))?).clone();
        *turn = Turn { next: turn.next.wrapping_add(1), last: Some(now) };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::Assignment;

    #[tokio::test(start_paused = true)]
    async fn every_other_replica_has_its_turn_at_a_pace() {
        let name = |text: &str| NodeName::new(text).unwrap();
        let voters = ["n1", "n2", "n3"].map(name).into();
        let placement =
            Placement { partitions: vec![Assignment { voters, ..Assignment::default() }], ..Placement::default() };
        let seeking = Seeking::new(1);
        let mut asked = Vec::new();
        for _ in 0..4 {
            let next = seeking.next(PartitionId(0), &placement, &name("n2"));
            assert_eq!(seeking.next(PartitionId(0), &placement, &name("n2")), None, "one at a time");
            asked.extend(next.map(|node| node.to_string()));
            tokio::time::advance(Duration::from_millis(HOME_LOOK_MS)).await;
        }
        assert_eq!(asked, ["n1", "n3", "n1", "n3"]);
        assert_eq!(seeking.next(PartitionId(0), &Placement::default(), &name("n2")), None);
        assert_eq!(seeking.next(PartitionId(7), &placement, &name("n2")), None);
    }
}
