//! Whether this node takes connections: not while it is cut off from the cluster, and not while it is being emptied.
//!
//! Promises that clients are told to go elsewhere, spread over time, and that a node alone never sends its clients away.

use crate::{
    bounds::{
        DRAIN_BATCH, DRAIN_BATCH_MS, DRAIN_WAIT_MS, ISOLATED_AFTER_MS, RETRY_AFTER_MS, RETURN_SPREAD_MS, TICK_MS,
    },
    node::Node,
    peers::Peers,
};
use rollcall_api::service::{GoodbyeReason, ServiceError};
use rollcall_cluster::Role;
use rollcall_presence::MemberState;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Whether connections are taken.
#[derive(Debug, Default)]
pub struct Doors {
    starting: AtomicBool,
    isolated: AtomicBool,
    draining: AtomicBool,
}

impl Doors {
    /// Nothing is served while the node looks for its partitions' homes: what a replica has not applied yet would be taken for the
    /// truth, and another node answers sooner.
    pub fn is_starting(&self, is: bool) {
        self.starting.store(is, Ordering::Release);
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `Unavailable` while the node is starting.
    pub fn ask(&self) -> Result<(), ServiceError> {
        if self.starting.load(Ordering::Acquire) {
            return Err(ServiceError::Unavailable { why: "this node is starting", after_ms: RETRY_AFTER_MS });
        }
        Ok(())
    }

    /// Lets a connection in.
    ///
    /// # Errors
    /// `Unavailable` while the node is starting, is cut off, or is being emptied.
    pub fn enter(&self) -> Result<(), ServiceError> {
        self.ask()?;
        let refused = |why| Err(ServiceError::Unavailable { why, after_ms: RETRY_AFTER_MS });
        if self.isolated.load(Ordering::Acquire) {
            return refused("this node has lost the cluster; connect to another one");
        }
        if self.draining.load(Ordering::Acquire) {
            return refused("this node is being emptied; connect to another one");
        }
        Ok(())
    }
}

/// Follows whether this node reaches a majority: cut off for too long, it sends its clients elsewhere until it is back.
pub async fn watch_isolation(node: Arc<Node>, peers: Arc<Peers>) {
    let mut confirmed = peers.links().confirmed();
    loop {
        if confirmed.wait_for(|confirmed| !*confirmed).await.is_err() {
            return;
        }
        let back = confirmed.wait_for(|confirmed| *confirmed);
        match timeout(Duration::from_millis(ISOLATED_AFTER_MS), back).await {
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        if peers.placement().members.len() <= 1 {
            // There is nowhere else to go.
            if confirmed.wait_for(|confirmed| *confirmed).await.is_err() {
                return;
            }
            continue;
        }
        tracing::warn!(connections = node.sockets.len(), "cut off from the cluster; clients are sent elsewhere");
        node.doors.isolated.store(true, Ordering::Release);
        node.sockets.goodbye_all(GoodbyeReason::Isolated, crate::token::jitter(RETURN_SPREAD_MS));
        if confirmed.wait_for(|confirmed| *confirmed).await.is_err() {
            return;
        }
        tracing::info!("back in the cluster");
        node.doors.isolated.store(false, Ordering::Release);
    }
}

/// Follows whether this node is being emptied: clients are sent elsewhere in batches once its partitions have other homes.
pub async fn watch_drain(node: Arc<Node>, peers: Arc<Peers>) {
    let mut placement = peers.links().placement();
    let this = peers.this().node.clone();
    let emptied = move |placement: &Arc<rollcall_presence::Placement>| {
        let leaves = |m: &rollcall_presence::Member| {
            matches!(m.state, MemberState::Draining | MemberState::Drained | MemberState::Removing)
        };
        match placement.members.get(&this) {
            Some(member) => placement.members.len() > 1 && leaves(member),
            // It was removed, and has yet to stop.
            None => placement.is_founded(),
        }
    };
    loop {
        if placement.wait_for(&emptied).await.is_err() {
            return;
        }
        tracing::info!(connections = node.sockets.len(), "this node is being emptied; clients are sent elsewhere");
        node.doors.draining.store(true, Ordering::Release);
        let leads_nothing = async {
            while node.homes.partitions().iter().any(|p| matches!(p.role(), Role::Home { .. })) {
                sleep(Duration::from_millis(TICK_MS)).await;
            }
        };
        if timeout(Duration::from_millis(DRAIN_WAIT_MS), leads_nothing).await.is_err() {
            tracing::warn!("this node still leads partitions; its clients go all the same");
        }
        for batch in node.sockets.outboxes().chunks(DRAIN_BATCH) {
            let after = crate::token::jitter(RETURN_SPREAD_MS);
            batch.iter().for_each(|outbox| outbox.goodbye(GoodbyeReason::Drain, after()));
            sleep(Duration::from_millis(DRAIN_BATCH_MS)).await;
        }
        if placement.wait_for(|placement| !emptied(placement)).await.is_err() {
            return;
        }
        node.doors.draining.store(false, Ordering::Release);
    }
}
