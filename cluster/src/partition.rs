//! One partition on this node: proposing, confirming, reading, reporting.

use crate::{
    proposer::{Group, ProposeError, Proposer},
    raft::{log::LogCell, types::TypeConfig},
    role::{self, Role},
    state::{cell::StateCell, view::View},
};
use openraft::{ReadPolicy, async_runtime::watch::WatchReceiver, metrics::RaftMetrics};
use rollcall_presence::{Command, NodeName, Outcome, PartitionId, Policy};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

/// This node cannot confirm that it is the partition's home.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this node cannot confirm that it is the home of the partition")]
pub struct NotHome {
    /// Who may be.
    pub leader: Option<NodeName>,
}

/// One replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Where it is.
    pub node: NodeName,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry known to be on its disk; known at the leader only.
    pub matched: Option<u64>,
}

/// A partition as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// Which.
    pub id: PartitionId,
    /// Its leader, if known.
    pub leader: Option<NodeName>,
    /// The term.
    pub term: u64,
    /// Its replicas.
    pub replicas: Vec<ReplicaReport>,
    /// The last entry known to be committed.
    pub committed: Option<u64>,
    /// The last entry applied here.
    pub applied: Option<u64>,
    /// The last entry of the log that was given up, behind a snapshot.
    pub purged: Option<u64>,
    /// Users of whom anything is stored.
    pub users: u64,
    /// Users with a live session.
    pub online: u64,
    /// Whether the group runs here, and has a leader.
    pub healthy: bool,
}

/// One partition on this node.
pub struct Partition {
    id: PartitionId,
    group: Group,
    state: Arc<StateCell>,
    log: Arc<LogCell>,
    proposer: Proposer,
    role: watch::Receiver<Role>,
}

/// What a partition is made of.
pub(crate) struct Parts {
    pub(crate) group: Group,
    pub(crate) state: Arc<StateCell>,
    pub(crate) log: Arc<LogCell>,
    pub(crate) policy: Policy,
    pub(crate) writes_in_flight: usize,
    pub(crate) healthy: watch::Receiver<bool>,
}

impl Partition {
    pub(crate) fn start(id: PartitionId, parts: Parts) -> Self {
        let Parts { group, state, log, policy, writes_in_flight, healthy } = parts;
        let proposer = Proposer::start(group.clone(), policy, writes_in_flight);
        let role = role::follow(&group, state.term(), healthy);
        Self { id, group, state, log, proposer, role }
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn log(&self) -> &LogCell {
        &self.log
    }

    /// Which partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// What this node is to it, as it changes.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Proposes `command`, and waits until it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; each variant says what may have happened.
    pub async fn propose(&self, command: Command) -> Result<Arc<Outcome>, ProposeError> {
        if let Role::Follower { leader } = &*self.role.borrow() {
            return Err(ProposeError::NotHome { leader: leader.clone() });
        }
        self.proposer.propose(command).await
    }

    /// Makes sure that this node is still the home, and that reads from now on reflect every acknowledged write; returns
    /// the term. A lease makes it cheap: no peer is asked.
    ///
    /// # Errors
    /// [`NotHome`] when it is not, or cannot tell.
    pub async fn confirm(&self) -> Result<u64, NotHome> {
        let term = match &*self.role.borrow() {
            Role::Home { term } => *term,
            Role::Follower { leader } => return Err(NotHome { leader: leader.clone() }),
        };
        let confirmed = self.group.ensure_linearizable(ReadPolicy::LeaseRead).await;
        // A term that began meanwhile is another home's, or one whose first entry the caller has not heard of.
        match confirmed {
            Ok(_) if *self.role.borrow() == (Role::Home { term }) => Ok(term),
            _ => Err(NotHome { leader: None }),
        }
    }

    /// Reads one consistent view: no entry is applied meanwhile, so be brief.
    pub fn read<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        self.state.read(read)
    }

    /// The partition as this node sees it.
    #[must_use]
    pub fn status(&self) -> PartitionReport {
        let ledger = self.state.read(|view| view.ledger());
        let metrics = self.group.metrics();
        let metrics = metrics.borrow_watched();
        let members = &metrics.membership_config;
        let name = |id: u64| members.get_node(&id).map(|member| member.name.clone());
        let replicas = members.nodes().map(|(id, member)| ReplicaReport {
            node: member.name.clone(),
            voter: members.voter_ids().any(|voter| voter == *id),
            matched: matched(&metrics, *id),
        });
        PartitionReport {
            id: self.id,
            leader: metrics.current_leader.and_then(name),
            term: metrics.current_term,
            replicas: replicas.collect(),
            committed: metrics.local_committed.map(|id| id.index),
            applied: metrics.last_applied.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            users: ledger.users,
            online: ledger.online,
            healthy: metrics.running_state.is_ok() && metrics.current_leader.is_some(),
        }
    }
}

/// The last entry known to be on a member's disk.
fn matched(metrics: &RaftMetrics<TypeConfig>, id: u64) -> Option<u64> {
    if id == metrics.id {
        return metrics.last_log_index;
    }
    metrics.replication.as_ref()?.get(&id)?.as_ref().map(|log_id| log_id.index)
}
