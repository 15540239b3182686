//! The partition's watch table: which nodes watch a user. One entry a watched user, whatever the number of watchers.
//!
//! Soft state: a node announces all that it ties to a new home, and what an announcement does not name is forgotten.

use parking_lot::Mutex;
use rollcall_presence::{ConnectionAt, Holder, UserId};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Nodes that may watch a partition's users at once: a node is a bit in its users' entries.
const WATCHING_NODES_MAX: usize = 64;

#[derive(Debug)]
struct WatchingNode {
    holder: Holder,
    sent: Arc<Sent>,
    /// What an announcement under way has named, with what was added since it began.
    named: Option<Named>,
    /// Its connections with a number below this were all announced.
    announced: Option<u64>,
}

impl WatchingNode {
    fn new(holder: &Holder) -> Self {
        Self { holder: holder.clone(), sent: Arc::default(), named: None, announced: None }
    }
}

/// The number of the last parcel sent to a node. Sending holds the lock, and nothing else does: where it leads to is another node's.
#[derive(Debug, Default)]
struct Sent {
    last: AtomicU64,
    sending: Mutex<()>,
}

/// What a node's announcement names.
#[derive(Debug, Default)]
pub struct Named {
    subjects: HashSet<UserId>,
    /// Connections by number.
    pub connections: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Table {
    nodes: Vec<WatchingNode>,
    by_user: HashMap<UserId, u64>,
}

/// Which nodes watch which users of a partition.
#[derive(Debug, Default)]
pub struct Watching(Mutex<Table>);

impl Watching {
    /// Node `holder` watches `users`. `false`, and nothing done, when more nodes watch than the table can tell apart.
    pub fn add<'a>(&self, holder: &Holder, users: impl Iterator<Item = &'a UserId>) -> bool {
        let mut table = self.0.lock();
        let Some(index) = table.index_or_new(holder) else { return false };
        for user in users {
            *table.by_user.entry(user.clone()).or_default() |= 1 << index;
            if let Some(named) = &mut table.nodes[index].named {
                named.subjects.insert(user.clone());
            }
        }
        true
    }

    /// Makes room for `holder` when as many nodes watch as the table can tell apart: in the place of one that `gone` names, whose watches
    /// are forgotten. Not in that of one that is down only: it comes back as who it was.
    pub fn make_room(&self, holder: &Holder, gone: impl Fn(&Holder) -> bool) {
        let mut table = self.0.lock();
        if table.nodes.len() < WATCHING_NODES_MAX || table.nodes.iter().any(|n| n.holder.node == holder.node) {
            return;
        }
        if let Some(old) = table.nodes.iter().position(|n| gone(&n.holder)) {
            table.replace(old, WatchingNode::new(holder));
        }
    }

    /// Nobody on node `holder` watches `users` any more.
    pub fn remove(&self, holder: &Holder, users: &[UserId]) {
        let mut table = self.0.lock();
        let Some(index) = table.index(holder) else { return };
        for user in users {
            table.clear_bits(user, 1 << index);
            if let Some(named) = &mut table.nodes[index].named {
                named.subjects.remove(user);
            }
        }
    }

    /// The nodes that watch `user`.
    #[must_use]
    pub fn nodes(&self, user: &UserId) -> Vec<Holder> {
        let table = self.0.lock();
        let bits = table.by_user.get(user).copied().unwrap_or_default();
        table.nodes.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, n)| n.holder.clone()).collect()
    }

    /// Sends a parcel to `holder` under its number, in the order of the numbers.
    pub fn send(&self, holder: &Holder, send: impl FnOnce(u64)) {
        let sent = {
            let mut table = self.0.lock();
            let Some(index) = table.index_or_new(holder) else { return };
            Arc::clone(&table.nodes[index].sent)
        };
        let _sending = sent.sending.lock();
        send(sent.last.fetch_add(1, Ordering::AcqRel) + 1);
    }

    /// The number of the last parcel sent to `holder`.
    #[must_use]
    pub fn sent(&self, holder: &Holder) -> u64 {
        let table = self.0.lock();
        table.index(holder).map_or(0, |index| table.nodes[index].sent.last.load(Ordering::Acquire))
    }

    /// Node `holder` begins to announce; what was announced before is replaced in the end. The number of the last parcel.
    pub fn begin(&self, holder: &Holder) -> Option<u64> {
        let mut table = self.0.lock();
        let index = table.index_or_new(holder)?;
        table.nodes[index].named = Some(Named::default());
        Some(table.nodes[index].sent.last.load(Ordering::Acquire))
    }

    /// A connection of `holder` is named by its announcement, if one is under way.
    pub fn name(&self, holder: &Holder, number: u64) {
        let mut table = self.0.lock();
        if let Some(index) = table.index(holder)
            && let Some(named) = &mut table.nodes[index].named
        {
            named.connections.insert(number);
        }
    }

    /// The announcement of `holder` is complete but for connections from `below` on: watches that it did not name are forgotten.
    /// What it named; `None` when no announcement was under way.
    pub fn end(&self, holder: &Holder, below: u64) -> Option<Named> {
        let mut table = self.0.lock();
        let index = table.index(holder)?;
        let named = table.nodes[index].named.take()?;
        table.nodes[index].announced = Some(below);
        let bit = 1 << index;
        table.by_user.retain(|user, bits| {
            if *bits & bit != 0 && !named.subjects.contains(user) {
                *bits &= !bit;
            }
            *bits != 0
        });
        Some(named)
    }

    /// Whether the node of `at` has announced every connection up to it.
    #[must_use]
    pub fn has_announced(&self, at: &ConnectionAt) -> bool {
        let table = self.0.lock();
        table.index(&at.holder).is_some_and(|i| table.nodes[i].announced.is_some_and(|below| at.number < below))
    }

    /// Calls `told` with every user that `holder` watches.
    pub fn each_of(&self, holder: &Holder, told: impl FnMut(&UserId)) {
        let table = self.0.lock();
        let Some(index) = table.index(holder) else { return };
        table.by_user.iter().filter(|(_, bits)| *bits & (1 << index) != 0).map(|(user, _)| user).for_each(told);
    }

    /// Forgets everything: another node is the home now, and is told by the watching nodes.
    pub fn clear(&self) {
        *self.0.lock() = Table::default();
    }
}

impl Table {
    fn index(&self, holder: &Holder) -> Option<usize> {
        self.nodes.iter().position(|n| n.holder == *holder)
    }

    fn clear_bits(&mut self, user: &UserId, which: u64) {
        if let Some(bits) = self.by_user.get_mut(user) {
            *bits &= !which;
            if *bits == 0 {
                self.by_user.remove(user);
            }
        }
    }

    /// Gives the bit of a node that is gone for good to `new`; nobody is watched by it any more.
    fn replace(&mut self, old: usize, new: WatchingNode) {
        let bit = 1 << old;
        self.by_user.retain(|_, bits| {
            *bits &= !bit;
            *bits != 0
        });
        self.nodes[old] = new;
    }

    fn index_or_new(&mut self, holder: &Holder) -> Option<usize> {
        if let Some(index) = self.index(holder) {
            return Some(index);
        }
        let new = WatchingNode::new(holder);
        // An earlier generation of the same node is gone for good: its bit is taken over, its watches with it.
        if let Some(old) = self.nodes.iter().position(|n| n.holder.node == holder.node) {
            if self.nodes[old].holder.generation > holder.generation {
                return None;
            }
            self.replace(old, new);
            return Some(old);
        }
        if self.nodes.len() == WATCHING_NODES_MAX {
            return None;
        }
        self.nodes.push(new);
        Some(self.nodes.len() - 1)
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
        assert!(watching.add(&a, [&alice].into_iter()));
        assert!(watching.add(&b, [&alice].into_iter()));
        assert_eq!(watching.nodes(&alice), [a.clone(), b.clone()]);
        watching.remove(&a, std::slice::from_ref(&alice));
        assert_eq!(watching.nodes(&alice), [b]);
    }

    #[test]
    fn a_restarted_node_watches_nobody_until_it_says_so() {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let watching = Watching::default();
        watching.add(&holder("a", 1), [&alice].into_iter());
        watching.add(&holder("a", 2), [&bob].into_iter());
        assert!(watching.nodes(&alice).is_empty());
        assert_eq!(watching.nodes(&bob), [holder("a", 2)]);
    }
    #[test]
    fn a_full_table_has_room_in_the_place_of_a_node_that_is_no_member_any_more() {
        let (alice, new) = (UserId::new("alice").unwrap(), holder("new", 1));
        let watching = Watching::default();
        for n in 0..WATCHING_NODES_MAX {
            assert!(watching.add(&holder(&format!("n{n}"), 1), [&alice].into_iter()));
        }
        watching.make_room(&new, |_| false);
        assert!(!watching.add(&new, [&alice].into_iter()), "all of them are there");
        watching.make_room(&new, |of| *of == holder("n7", 1));
        assert!(!watching.nodes(&alice).contains(&holder("n7", 1)));
        assert!(!watching.nodes(&alice).contains(&new), "it watches what it says, not what that one did");
        assert!(watching.add(&new, [&alice].into_iter()));
        assert!(watching.nodes(&alice).contains(&new));
    }
}
