//! One replica of a group on this node: its Raft group, its state and its log.
//!
//! Made by [`Hosting`](crate::hosting::Hosting), which also ends it; whoever holds one must not do so across the end.

use crate::{
    probation::Probation,
    proposer::{Group, Proposer, Terms},
    raft::{
        log::{LogCell, LogStore},
        machine::{Audience, Machine},
        tether::{Tether, Ties, tie},
        types::{Member, TypeConfig},
    },
    state::cell::StateCell,
    store::{
        checks::Extent,
        ledger::{LogLedger, StateHeader},
    },
};
use openraft::{Raft, async_runtime::watch::WatchReceiver, metrics::RaftMetrics, raft::AppendEntriesRequest};
use rollcall_presence::{PartitionId, Placement};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::hosting::Ground;

/// What is on disk of a replica.
#[derive(Default)]
pub(crate) struct OnDisk {
    pub(crate) state: StateHeader,
    pub(crate) log: LogLedger,
    pub(crate) log_extent: Extent,
}

/// One replica.
pub(crate) struct Replica {
    group: Group,
    state: Arc<StateCell>,
    log: Arc<LogCell>,
    proposer: Proposer,
    ties: Ties,
    ending: watch::Sender<bool>,
    lands: Arc<Semaphore>,
    /// Whether peers get no answer.
    closed: AtomicBool,
    probation: Probation,
}

/// The right to let a snapshot land in a replica, which is not ended meanwhile.
pub(crate) struct Landing {
    pub(crate) replica: Arc<Replica>,
    _turn: OwnedSemaphorePermit,
    _tether: Tether,
}

impl Replica {
    /// Runs what `on_disk` says is there.
    ///
    /// # Errors
    /// With the reason, when the group does not start.
    pub(crate) async fn start(
        id: PartitionId,
        on_disk: OnDisk,
        audience: Audience,
        placement: watch::Receiver<Arc<Placement>>,
        ground: &Ground,
    ) -> Result<Self, String> {
        let OnDisk { state, log, log_extent } = on_disk;
        let probation = Probation::new(log.last.is_none() && log.purged.is_none());
        let state = StateCell::new(id, Arc::clone(&ground.disk), state);
        let log = LogCell::new(id, Arc::clone(&ground.disk), &log, log_extent);
        let (tether, ties) = tie();
        let store = LogStore::new(Arc::clone(&log), Arc::clone(&ground.writer), tether.clone());
        let machine = Machine::new(Arc::clone(&state), Arc::clone(&log), Arc::clone(&ground.writer), audience, tether)
            .map_err(|e| e.to_string())?;
        let links = crate::raft::link::GroupLinks::new(id, Arc::clone(&ground.link));
        let group = Raft::new(ground.raft_id, Arc::clone(&ground.config), links, store, machine).await;
        let group: Group = group.map_err(|e| e.to_string())?;
        group.runtime_config().elect(probation.is_over());
        // Who votes alone need not wait for anybody's silence.
        let alone = group.metrics().borrow_watched().membership_config.voter_ids().eq([ground.raft_id]);
        if alone {
            group.trigger().elect(false).await.map_err(|e| e.to_string())?;
        }
        let proposer =
            Proposer::start(group.clone(), Terms { policy: ground.policy, placement }, ground.writes_in_flight);
        let lands = Arc::new(Semaphore::new(1));
        let (ending, closed) = (watch::Sender::new(false), AtomicBool::new(false));
        Ok(Self { group, state, log, proposer, ties, ending, lands, closed, probation })
    }

    /// Whether the replica votes and may lead: not before it holds what its group had committed when it came.
    pub(crate) fn takes_part(&self) -> bool {
        self.probation.is_over()
    }

    /// Makes this node its group's only voter unless the group has members already: there is nothing that the first replica
    /// could have forgotten.
    ///
    /// # Errors
    /// With the reason, when the group has ended.
    pub(crate) async fn found(&self, raft_id: u64, member: Member) -> Result<(), String> {
        if self.group.is_initialized().await.map_err(|e| e.to_string())? {
            return Ok(());
        }
        self.probation.end();
        self.group.runtime_config().elect(true);
        let founded = self.group.initialize(BTreeMap::from([(raft_id, member)])).await;
        founded.map_err(|e| e.to_string())
    }

    /// A leader appends: whether the replica takes part may be settled by that.
    pub(crate) fn hears(&self, append: &AppendEntriesRequest<TypeConfig>) {
        if self.takes_part() {
            return;
        }
        let committed = append.leader_commit.map(|id| (id.leader_id.term, id.index));
        let last = self.group.metrics().borrow_watched().last_log_index;
        if self.probation.heard(append.vote.leader_id.term, committed, last) {
            self.group.runtime_config().elect(true);
        }
    }

    /// From now on peers get no answer, or get one again. While they get none, nobody counts on what is here.
    pub(crate) fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    /// Whether peers get no answer.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The group.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// The state.
    pub(crate) fn state(&self) -> &Arc<StateCell> {
        &self.state
    }

    /// The log.
    pub(crate) fn log(&self) -> &LogCell {
        &self.log
    }

    /// The way for commands into the log.
    pub(crate) fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    /// What the group says of itself just now.
    pub(crate) fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.group.metrics().borrow_watched().clone()
    }

    /// A snapshot may land, unless another one does.
    pub(crate) fn landing(self: &Arc<Self>) -> Option<Landing> {
        let turn = Arc::clone(&self.lands).try_acquire_owned().ok()?;
        Some(Landing { replica: Arc::clone(self), _turn: turn, _tether: self.ties.tether() })
    }

    /// Returns once the replica is to end.
    pub(crate) async fn ending(&self) {
        // The sender is this replica's own, so that waiting cannot fail.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Ends the group, and returns once nothing of it can write any more.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        if let Err(error) = self.group.shutdown().await {
            tracing::warn!(%error, "a group did not end cleanly");
        }
        self.ties.all_gone().await;
    }
}
