//! The requests that a referee makes beside the play: to one node, or, through faults, to any that answers.
//!
//! Owns a client a node, and the repeats. Relies on the requests being reads, or writes that may be made twice.

use super::patience::{Patience, may_pass};
use crate::program::{
    client::{Client, ClientError},
    server::{Server, ServerError},
};
use reqwest::Url;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
pub(crate) struct Referee {
    clients: Vec<Client>,
    next: AtomicUsize,
    through_faults: bool,
}

impl Referee {
    /// Of `nodes`; at least one. Without `through_faults` the first one is asked, and once.
    pub(crate) fn new(nodes: &[Server], through_faults: bool) -> Result<Self, ClientError> {
        let clients: Vec<Client> = nodes.iter().cloned().map(Client::new).collect::<Result<_, _>>()?;
        if clients.is_empty() {
            return Err(ServerError::Address(String::new()).into());
        }
        Ok(Self { clients, next: AtomicUsize::new(0), through_faults })
    }

    /// The address to name in messages.
    pub(crate) fn url(&self) -> &Url {
        self.client(0).url()
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, token: &str, path: &str) -> Result<String, ClientError> {
        let mut patience = Patience::new(self.through_faults);
        loop {
            match self.any().get(token, path).await {
                Err(e) if may_pass(&e) && patience.again().await => self.go_elsewhere(),
                answer => return answer,
            }
        }
    }

    /// The answer to a POST that changes nothing.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &impl Serialize) -> Result<String, ClientError> {
        let mut patience = Patience::new(self.through_faults);
        loop {
            match self.any().post(token, path, body).await {
                Err(e) if may_pass(&e) && patience.again().await => self.go_elsewhere(),
                answer => return answer,
            }
        }
    }

    /// Makes `others` contacts of `user`; doing so twice changes nothing.
    pub(crate) async fn add_contacts(&self, token: &str, user: &str, others: &[&str]) -> Result<(), ClientError> {
        let mut patience = Patience::new(self.through_faults);
        loop {
            match self.any().add_contacts(token, user, others).await {
                Err(e) if may_pass(&e) && patience.again().await => self.go_elsewhere(),
                answer => return answer,
            }
        }
    }

    /// The node that answered last.
    fn any(&self) -> &Client {
        self.client(self.next.load(Ordering::Relaxed))
    }

    fn go_elsewhere(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }

    fn client(&self, index: usize) -> &Client {
        &self.clients[index % self.clients.len()]
    }
}
