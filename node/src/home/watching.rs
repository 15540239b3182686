//! The partition's watch table: which nodes watch a user. One entry a watched user, whatever the number of watchers.

use parking_lot::Mutex;
use rollcall_presence::{Holder, UserId};
use std::collections::HashMap;

/// Nodes that may watch a partition's users at once: a node is a bit in its users' entries.
const WATCHING_NODES_MAX: usize = 64;

#[derive(Debug, Default)]
struct Table {
    nodes: Vec<Holder>,
    by_user: HashMap<UserId, u64>,
}

/// Which nodes watch which users of a partition.
#[derive(Debug, Default)]
pub struct Watching(Mutex<Table>);

impl Watching {
    /// Node `holder` watches `users`. `false`, and nothing done, when more nodes watch than the table can tell apart.
    pub fn add(&self, holder: &Holder, users: &[UserId]) -> bool {
        let mut table = self.0.lock();
        let Some(bit) = table.bit_or_new(holder) else { return false };
        for user in users {
            *table.by_user.entry(user.clone()).or_default() |= bit;
        }
        true
    }

    /// Nobody on node `holder` watches `users` any more.
    pub fn remove(&self, holder: &Holder, users: &[UserId]) {
        let mut table = self.0.lock();
        let Some(bit) = table.bit(holder) else { return };
        for user in users {
            if let Some(bits) = table.by_user.get_mut(user) {
                *bits &= !bit;
                if *bits == 0 {
                    table.by_user.remove(user);
                }
            }
        }
    }

    /// The nodes that watch `user`.
    #[must_use]
    pub fn nodes(&self, user: &UserId) -> Vec<Holder> {
        let table = self.0.lock();
        let bits = table.by_user.get(user).copied().unwrap_or_default();
        table.nodes.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, n)| n.clone()).collect()
    }

    /// Forgets everything: another node is the home now, and is told by the watching nodes.
    pub fn clear(&self) {
        *self.0.lock() = Table::default();
    }
}

impl Table {
    fn bit(&self, holder: &Holder) -> Option<u64> {
        self.nodes.iter().position(|n| n == holder).map(|i| 1 << i)
    }

    fn bit_or_new(&mut self, holder: &Holder) -> Option<u64> {
        if let Some(bit) = self.bit(holder) {
            return Some(bit);
        }
        // An earlier generation of the same node is gone for good: its bit is taken over, its watches with it.
        if let Some(old) = self.nodes.iter().position(|n| n.node == holder.node) {
            let bit = 1 << old;
            self.by_user.retain(|_, bits| {
                *bits &= !bit;
                *bits != 0
            });
            self.nodes[old] = holder.clone();
            return Some(bit);
        }
        if self.nodes.len() == WATCHING_NODES_MAX {
            return None;
        }
        self.nodes.push(holder.clone());
        Some(1 << (self.nodes.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::NodeName;

    fn holder(node: &str, generation: u64) -> Holder {
        Holder { node: NodeName::new(node).unwrap(), generation }
    }

    #[test]
    fn a_user_is_watched_by_the_nodes_that_said_so() {
        let (a, b, alice) = (holder("a", 1), holder("b", 1), UserId::new("alice").unwrap());
        let watching = Watching::default();
        assert!(watching.add(&a, std::slice::from_ref(&alice)));
        assert!(watching.add(&b, std::slice::from_ref(&alice)));
        assert_eq!(watching.nodes(&alice), [a.clone(), b.clone()]);
        watching.remove(&a, std::slice::from_ref(&alice));
        assert_eq!(watching.nodes(&alice), [b]);
    }

    #[test]
    fn a_restarted_node_watches_nobody_until_it_says_so() {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let watching = Watching::default();
        watching.add(&holder("a", 1), std::slice::from_ref(&alice));
        watching.add(&holder("a", 2), std::slice::from_ref(&bob));
        assert!(watching.nodes(&alice).is_empty());
        assert_eq!(watching.nodes(&bob), [holder("a", 2)]);
    }
}
