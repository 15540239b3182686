//! The nodes that clients know: addresses, and the key that signs their tokens.
//!
//! Shared by everybody of a load, and changed by the test while it runs: a client that is refused at one address goes on to
//! the next one of the list as it is then.

use crate::{client::Client, cluster::Cluster, token::Claims};
use std::sync::{Arc, Mutex, PoisonError};

/// The list. Cloned handles are the same list.
#[derive(Debug, Clone)]
pub struct Roll {
    addresses: Arc<Mutex<Vec<String>>>,
    secret: Arc<str>,
}

impl Roll {
    /// A list of `host:port` for clients.
    ///
    /// # Panics
    /// When it is empty.
    #[must_use]
    pub fn new(addresses: Vec<String>, secret: &str) -> Self {
        assert!(!addresses.is_empty(), "a client knows a node");
        Self { addresses: Arc::new(Mutex::new(addresses)), secret: secret.into() }
    }

    /// The running nodes of a cluster.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self::new(cluster.addresses(), cluster.secret())
    }

    /// Another list from now on.
    ///
    /// # Panics
    /// When it is empty.
    pub fn set(&self, addresses: Vec<String>) {
        assert!(!addresses.is_empty(), "a client knows a node");
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The address at `at`, counted round and round.
    #[must_use]
    pub fn address(&self, at: usize) -> String {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses[at % addresses.len()].clone()
    }

    /// How many addresses there are now.
    pub(crate) fn len(&self) -> usize {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A token of `id`.
    #[must_use]
    pub fn token(&self, id: &str, scope: &str) -> String {
        Claims::of(id).with("scope", scope).sign(&self.secret)
    }

    /// A client of the node at `at`.
    #[must_use]
    pub fn client(&self, at: usize, id: &str, scope: &str) -> Client {
        Client::new(&self.address(at), id, self.token(id, scope))
    }
}
