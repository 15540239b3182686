//! Where the contract is checked: one node or several, with the same words for the tests.
//!
//! A stage is shared by the tests of a process and ended by the [`Reaper`](crate::reaper::Reaper)s of its nodes. Its clients
//! send each request to the next node in turn, so that whatever they read, they read on another node than they wrote.

use crate::{
    client::Client,
    cluster::{Cluster, ClusterPlan},
    token::Claims,
};
use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

/// Nodes of one cluster, and where they are.
#[derive(Debug)]
pub struct Stage {
    cluster: Cluster,
    addresses: Vec<String>,
    next: AtomicUsize,
}

/// A stage to be.
#[derive(Debug, Clone)]
pub struct StagePlan(ClusterPlan);

impl StagePlan {
    /// Sets a setting of every node by its dotted name.
    #[must_use]
    pub fn set(self, name: &str, value: impl ToString) -> Self {
        Self(self.0.set(name, value))
    }

    /// Starts the nodes, and waits until they have formed their cluster. May be called on a runtime, which it blocks.
    ///
    /// # Panics
    /// When they do not form.
    #[must_use]
    pub fn start(self) -> Stage {
        let starting = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(self.0.beside_others().start())
        });
        let cluster = starting.join().expect("a formed cluster");
        let addresses = cluster.addresses();
        Stage { cluster, addresses, next: AtomicUsize::new(0) }
    }
}

impl Stage {
    /// A stage of `nodes`, with settings of a test's choice.
    #[must_use]
    pub fn of(nodes: usize) -> StagePlan {
        StagePlan(Cluster::plan(nodes))
    }

    /// The nodes.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `host:port` of the next node in turn.
    #[must_use]
    pub fn address(&self) -> String {
        self.addresses[self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len()].clone()
    }

    /// The secret of the key that signs tokens.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.cluster.secret()
    }

    /// Users that no other test of this process has: each name with a number behind it, of one length for all.
    #[must_use]
    pub fn people<const N: usize>(&self, names: [&str; N]) -> [Client; N] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        names.map(|name| self.client(&format!("{name}-{:04}", NEXT.fetch_add(1, Ordering::Relaxed)), "user"))
    }

    /// A client of all nodes in turn whose token has this `sub` and `scope`.
    #[must_use]
    pub fn client(&self, id: &str, scope: &str) -> Client {
        self.holder(id, Claims::of(id).with("scope", scope).sign(self.secret()))
    }

    /// A client of all nodes in turn with this token.
    #[must_use]
    pub fn holder(&self, id: &str, token: String) -> Client {
        let mut addresses = self.addresses.clone();
        // Each client begins at another node, so that the sockets of different users are on different nodes.
        addresses.rotate_left(self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len());
        Client::in_turn(addresses, id, token)
    }

    /// A client that may act for every user.
    #[must_use]
    pub fn service(&self) -> Client {
        self.client("the-service", "service")
    }

    /// A client that may see the cluster.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.client("the-admin", "admin")
    }
}
