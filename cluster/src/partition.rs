//! One partition on this node: proposing, confirming, reading, reporting.
//!
//! A shell that lives as long as the process, around the replica that is kept here now, if any. Promises that nothing goes
//! through a replica that is being dropped.

use crate::{
    planted::{self, Fault},
    proposer::ProposeError,
    raft::types::TypeConfig,
    replica::{Landing, Replica},
    role::{self, Role, RoleBoard},
    state::{cell::StateCell, view::View},
};
use openraft::{ReadPolicy, metrics::RaftMetrics};
use parking_lot::RwLock;
use rollcall_presence::{Command, NodeName, Outcome, PartitionId};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use thiserror::Error;
use tokio::sync::watch;

/// This node cannot confirm that it is the partition's home.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this node cannot confirm that it is the home of the partition")]
pub struct NotHome {
    /// Who may be.
    pub leader: Option<NodeName>,
}

/// No replica of the partition is kept on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no replica of the partition is kept on this node")]
pub struct NotHeld;

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

/// One partition on this node: stays, while replicas of it come and go.
pub struct Partition {
    id: PartitionId,
    replica: RwLock<Option<Arc<Replica>>>,
    board: Arc<RoleBoard>,
    proposed: AtomicU64,
    committed: AtomicU64,
}

impl Partition {
    /// A partition of which no replica is kept here.
    #[must_use]
    pub(crate) fn new(id: PartitionId) -> Self {
        Self {
            id,
            replica: RwLock::new(None),
            board: Arc::new(RoleBoard::new()),
            proposed: AtomicU64::new(0),
            committed: AtomicU64::new(0),
        }
    }

    /// From now on everything goes through `replica`, which is at home only as long as the node is well.
    pub(crate) fn seat(&self, replica: Arc<Replica>, health: watch::Receiver<bool>) {
        let mut seat = self.replica.write();
        role::follow(replica.group(), replica.state().term(), health, Arc::clone(&self.board));
        *seat = Some(replica);
    }

    /// From now on nothing goes through the replica: whoever read from it has finished.
    pub(crate) fn unseat(&self) -> Option<Arc<Replica>> {
        let replica = self.replica.write().take();
        if replica.is_some() {
            self.board.next_replica();
        }
        replica
    }

    /// The replica, if one is kept here.
    pub(crate) fn replica(&self) -> Option<Arc<Replica>> {
        self.replica.read().clone()
    }

    /// A snapshot may land in the replica here, unless there is none, or another one lands.
    pub(crate) fn landing(&self) -> Option<Landing> {
        // Under the lock: whoever takes the replica off its seat waits for this landing too.
        let seat = self.replica.read();
        seat.as_ref().and_then(Replica::landing)
    }

    /// Which partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Whether a replica is kept here.
    #[must_use]
    pub fn held(&self) -> bool {
        self.replica.read().is_some()
    }

    /// What this node is to it, as it changes, over all replicas of it that come and go here.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.board.role()
    }

    /// What this node is to it just now.
    #[must_use]
    pub(crate) fn role_now(&self) -> Role {
        self.board.now()
    }

    /// Takes note of who is said to lead: that is who is named as long as no replica here knows better.
    pub fn heard_hint(&self, leader: Option<NodeName>) {
        self.board.hint(leader);
    }

    /// Proposes `command`, and waits until it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; each variant says what may have happened.
    pub async fn propose(&self, command: Command) -> Result<Arc<Outcome>, ProposeError> {
        self.at_home().map_err(|NotHome { leader }| ProposeError::NotHome { leader })?;
        let Some(replica) = self.replica() else { return Err(ProposeError::NotHome { leader: None }) };
        self.proposed.fetch_add(1, Ordering::Relaxed);
        let outcome = replica.proposer().propose(command).await?;
        self.committed.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }

    /// How many commands were proposed here since the process began, and how many of them came back committed and applied.
    #[must_use]
    pub fn proposals(&self) -> (u64, u64) {
        (self.proposed.load(Ordering::Relaxed), self.committed.load(Ordering::Relaxed))
    }

    /// Makes sure that this node is still the home, and that reads from now on reflect every acknowledged write; returns
    /// the term. A lease makes it cheap: no peer is asked.
    ///
    /// # Errors
    /// [`NotHome`] when it is not, or cannot tell.
    pub async fn confirm(&self) -> Result<u64, NotHome> {
        let term = self.at_home()?;
        if planted::is(Fault::LeaseReadsWhilePaused) {
            return Ok(term);
        }
        let Some(replica) = self.replica() else { return Err(NotHome { leader: None }) };
        let confirmed = replica.group().ensure_linearizable(ReadPolicy::LeaseRead).await;
        // A term that began meanwhile is another home's, or one whose first entry the caller has not heard of.
        match confirmed {
            Ok(_) if self.at_home() == Ok(term) => Ok(term),
            _ => Err(NotHome { leader: None }),
        }
    }

    fn at_home(&self) -> Result<u64, NotHome> {
        match self.board.now() {
            Role::Home { term } => Ok(term),
            Role::Follower { leader } => Err(NotHome { leader }),
        }
    }

    /// Reads one consistent view: no entry is applied meanwhile, so be brief. Not to be called within itself.
    ///
    /// # Errors
    /// [`NotHeld`] when no replica is kept here.
    pub fn read<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> Result<T, NotHeld> {
        // Held while reading: the rows of a replica that is being dropped vanish one by one.
        let seat = self.replica.read();
        Ok(seat.as_ref().ok_or(NotHeld)?.state().read(read))
    }

    /// Works on the state of the replica here, which stays in its seat meanwhile: be brief.
    ///
    /// # Errors
    /// [`NotHeld`] when no replica is kept here.
    pub(crate) fn with_state<T>(&self, work: impl FnOnce(&Arc<StateCell>) -> T) -> Result<T, NotHeld> {
        let seat = self.replica.read();
        Ok(work(seat.as_ref().ok_or(NotHeld)?.state()))
    }

    /// The partition as the replica here sees it, if one is kept here.
    #[must_use]
    pub fn status(&self) -> Option<PartitionReport> {
        let replica = self.replica()?;
        let ledger = replica.state().read(|view| view.ledger());
        let metrics = replica.metrics();
        let members = &metrics.membership_config;
        let name = |id: u64| members.get_node(&id).map(|member| member.name.clone());
        let replicas = members.nodes().map(|(id, member)| ReplicaReport {
            node: member.name.clone(),
            voter: members.voter_ids().any(|voter| voter == *id),
            matched: matched(&metrics, *id),
        });
        Some(PartitionReport {
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
        })
    }
}

/// The last entry known to be on a member's disk.
fn matched(metrics: &RaftMetrics<TypeConfig>, id: u64) -> Option<u64> {
    if id == metrics.id {
        return metrics.last_log_index;
    }
    metrics.replication.as_ref()?.get(&id)?.as_ref().map(|log_id| log_id.index)
}
