//! The replicas that this node runs: opened, founded, dropped, and reached by peers.
//!
//! Relies on whoever decides: a replica is dropped only once its group has committed a membership without this node, and the
//! leader has stopped sending to it. Promises one replica a partition at a time, that a dropped one leaves nothing behind, also
//! over a crash, and that nothing goes through one that is being dropped.

use crate::{
    limits::{self, PLACEMENT_WRITES_IN_FLIGHT, REPLICA_END_MS},
    observer::Observer,
    options::Options,
    partition::Partition,
    peers::{GroupSnapshot, LeaderVote, Peer, PeerLink, SnapshotAnswer},
    placement_group::{PLACEMENT, PlacementGroup, name_of},
    proposer::Group,
    raft::{
        landing::{land, sweep},
        link::{Ask, Told},
        machine::Audience,
        types::Member,
    },
    replica::{OnDisk, Replica},
    role::Role,
    store::{
        checks::Extent,
        disk::Disk,
        key,
        ledger::{LogLedger, StateHeader},
        opening::StartError,
        work::promise,
        writer::Writer,
    },
};
use futures::future::{join_all, try_join_all};
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId, Placement, Policy};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// What all replicas of this node stand on.
pub(crate) struct Ground {
    pub(crate) node: NodeName,
    pub(crate) raft_id: u64,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) link: Arc<dyn PeerLink>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) config: Arc<Config>,
    pub(crate) policy: Policy,
    pub(crate) writes_in_flight: usize,
    pub(crate) health: watch::Receiver<bool>,
}

/// What a start found of the groups.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) states: BTreeMap<PartitionId, StateHeader>,
    pub(crate) logs: BTreeMap<PartitionId, LogLedger>,
    pub(crate) log_extents: BTreeMap<PartitionId, Extent>,
}

impl Found {
    /// What was found of one group; nothing, if it is new.
    fn take(&mut self, id: PartitionId) -> OnDisk {
        OnDisk {
            state: self.states.remove(&id).unwrap_or_default(),
            log: self.logs.remove(&id).unwrap_or_default(),
            log_extent: self.log_extents.remove(&id).unwrap_or_default(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = PartitionId> {
        self.logs.keys().copied()
    }
}

/// Why a replica is still there, at least in part. Asking again goes on where it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DropError {
    /// There is no such partition, or this node is stopping.
    #[error("this node keeps no such partition, or is stopping")]
    Gone,
    /// The group does not let go of its store. Nothing was removed.
    #[error("the group has not ended in time")]
    StillRunning,
    /// The disk failed, which ends the process.
    #[error("the disk failed")]
    Disk,
}

/// A partition's place on this node.
struct Seat {
    shell: Arc<Partition>,
    /// Who opens, founds or drops; one at a time.
    turn: Semaphore,
    /// A replica that nobody sees any more, until its rows are gone.
    leaving: Mutex<Option<Arc<Replica>>>,
}

/// The replicas of this node.
pub(crate) struct Hosting {
    ground: Ground,
    partitions: Vec<Arc<Partition>>,
    seats: BTreeMap<PartitionId, Seat>,
    found: Mutex<Found>,
    placement: watch::Sender<Arc<Placement>>,
    placement_writes: Arc<Semaphore>,
}

/// What every group is run with.
///
/// # Errors
/// When the settings contradict each other.
pub(crate) fn config(options: &Options) -> Result<Arc<Config>, StartError> {
    let config = Config {
        cluster_name: "rollcall".into(),
        heartbeat_interval: options.heartbeat_ms,
        election_timeout_min: options.election_ms,
        election_timeout_max: options.election_ms * 2,
        // A leader that restarts in its old term would go unnoticed, and with it the sessions it forgot.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        // Whoever opens a replica afresh while its leader still sends to it must not fell the leader. Of a voter that would be a lost
        // vote all the same: only what is no member any more is dropped, and a store that lost something is not started from.
        allow_log_reversion: Some(true),
        // Snapshots are asked for one group at a time.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: limits::LOG_KEEP_ENTRIES,
        purge_batch_size: 1,
        max_payload_entries: limits::RAFT_PAYLOAD_ENTRIES,
        max_append_entries: Some(limits::RAFT_PAYLOAD_ENTRIES),
        replication_lag_threshold: limits::RAFT_LAG_ENTRIES,
        api_channel_size: Some(limits::RAFT_CHANNEL_SIZE),
        api_batch_capacity: limits::RAFT_PAYLOAD_ENTRIES,
        notification_channel_size: Some(limits::RAFT_CHANNEL_SIZE),
        state_machine_channel_size: Some(limits::RAFT_CHANNEL_SIZE),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| StartError::Setting(error.to_string()))
}

impl Hosting {
    /// The places of `partitions` partitions and of the placement group, all of them empty; `found` is what they are opened
    /// with.
    #[must_use]
    pub(crate) fn new(ground: Ground, partitions: u16, found: Found) -> Arc<Self> {
        let seat = |id| {
            let shell = Arc::new(Partition::new(id));
            (id, Seat { shell, turn: Semaphore::new(1), leaving: Mutex::new(None) })
        };
        let seats: BTreeMap<_, _> = (0..partitions).map(PartitionId).chain([PLACEMENT]).map(seat).collect();
        let partitions = (0..partitions).map(PartitionId).map(|id| Arc::clone(&seats[&id].shell)).collect();
        let placement = watch::Sender::new(Arc::new(Placement::default()));
        let placement_writes = Arc::new(Semaphore::new(PLACEMENT_WRITES_IN_FLIGHT));
        Arc::new(Self { ground, partitions, seats, found: Mutex::new(found), placement, placement_writes })
    }

    /// Runs every replica that the disk holds, all at once.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn open_held(&self) -> Result<(), StartError> {
        let held: Vec<PartitionId> = self.found.lock().ids().collect();
        try_join_all(held.into_iter().map(|id| self.open(id))).await.map(|_| ())
    }

    /// Founds a cluster of this node alone, or goes on doing so after a crash: the placement group comes last, so that once it is
    /// there every partition was founded, and has gone its own way since.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn found_all(&self) -> Result<(), StartError> {
        self.open(PLACEMENT).await?;
        let placement = self.group(PLACEMENT).ok_or_else(|| stopping(PLACEMENT))?;
        if !placement.is_initialized().await.map_err(|e| failed(PLACEMENT, &e))? {
            try_join_all(self.partitions.iter().map(|p| self.found(p.id()))).await?;
            self.found(PLACEMENT).await?;
        }
        Ok(())
    }

    /// Runs a replica with what the disk holds, or an empty one, which is in no group until a leader sends to it. Does nothing
    /// when one runs.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn open(&self, id: PartitionId) -> Result<(), StartError> {
        let (seat, _turn) = self.turn(id).await.ok_or_else(|| stopping(id))?;
        if seat.shell.held() {
            return Ok(());
        }
        self.finish_drop(id, seat).await.map_err(|e| failed(id, &e))?;
        let on_disk = self.found.lock().take(id);
        let audience = match id {
            PLACEMENT => Audience::Placement(self.placement.clone()),
            _ => Audience::Observer(Arc::clone(&self.ground.observer)),
        };
        let replica = Replica::start(id, on_disk, audience, self.placement(), &self.ground).await;
        let replica = replica.map_err(|why| failed(id, &why))?;
        seat.shell.seat(Arc::new(replica), self.ground.health.clone());
        Ok(())
    }

    /// Runs a replica, and makes this node its group's only voter unless the group has members already.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn found(&self, id: PartitionId) -> Result<(), StartError> {
        self.open(id).await?;
        let replica = self.replica(id).ok_or_else(|| stopping(id))?;
        let member = Member { name: self.ground.node.clone() };
        replica.found(self.ground.raft_id, member).await.map_err(|e| failed(id, &e))?;
        Ok(())
    }

    /// Ends the group here, and removes its log, vote and state from the disk for good. Does nothing when there is nothing.
    /// After a crash on the way the next start either has the whole replica or none.
    ///
    /// # Errors
    /// [`DropError`]; asking again goes on.
    pub(crate) async fn drop_replica(&self, id: PartitionId) -> Result<(), DropError> {
        let (seat, _turn) = self.turn(id).await.ok_or(DropError::Gone)?;
        if let Some(replica) = seat.shell.unseat() {
            *seat.leaving.lock() = Some(replica);
        }
        self.finish_drop(id, seat).await
    }

    /// Ends a replica that was taken off its seat, and removes its rows.
    async fn finish_drop(&self, id: PartitionId, seat: &Seat) -> Result<(), DropError> {
        let Some(replica) = seat.leaving.lock().clone() else { return Ok(()) };
        let ended = tokio::time::timeout(Duration::from_millis(REPLICA_END_MS), replica.end()).await;
        ended.map_err(|_| DropError::StillRunning)?;
        let (done, forgotten) = promise();
        self.ground.writer.queue().forget(id, done);
        forgotten.await.map_err(|_| DropError::Disk)?;
        for (from, to) in [key::log_range(id), key::state_range(id)] {
            sweep(&self.ground.writer, from, to).await.map_err(|_| DropError::Disk)?;
        }
        *seat.leaving.lock() = None;
        tracing::info!(group = name_of(id), "a replica was dropped");
        Ok(())
    }

    async fn turn(&self, id: PartitionId) -> Option<(&Seat, SemaphorePermit<'_>)> {
        let seat = self.seats.get(&id)?;
        Some((seat, seat.turn.acquire().await.ok()?))
    }

    /// The group of a partition, or of the placement, if it runs here.
    #[must_use]
    pub(crate) fn group(&self, id: PartitionId) -> Option<Group> {
        self.replica(id).map(|replica| replica.group().clone())
    }

    /// The replica, unless peers get no answer of it.
    fn open_replica(&self, id: PartitionId) -> Option<Arc<Replica>> {
        self.replica(id).filter(|replica| !replica.is_closed())
    }

    /// The replica that runs here, if any.
    pub(crate) fn replica(&self, id: PartitionId) -> Option<Arc<Replica>> {
        self.seats.get(&id)?.shell.replica()
    }

    /// The partitions of which a replica runs here, without the placement group.
    #[must_use]
    pub(crate) fn held(&self) -> Vec<PartitionId> {
        self.partitions.iter().filter(|partition| partition.held()).map(|partition| partition.id()).collect()
    }

    /// All partitions, in the order of their numbers.
    #[must_use]
    pub(crate) fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    /// The replicas that run here, that of the placement group too.
    #[must_use]
    pub(crate) fn replicas(&self) -> Vec<(PartitionId, Arc<Replica>)> {
        self.seats.iter().filter_map(|(id, seat)| Some((*id, seat.shell.replica()?))).collect()
    }

    /// The placement group, if it runs here.
    #[must_use]
    pub(crate) fn placement_group(&self) -> Option<PlacementGroup> {
        Some(PlacementGroup::new(self.replica(PLACEMENT)?, Arc::clone(&self.placement_writes)))
    }

    /// What this node is to a group, if there is such a group.
    #[must_use]
    pub(crate) fn role_of(&self, id: PartitionId) -> Option<Role> {
        Some(self.seats.get(&id)?.shell.role_now())
    }

    /// What this node is to the placement group; `Home` is the placement leader.
    #[must_use]
    pub(crate) fn placement_role(&self) -> Role {
        self.role_of(PLACEMENT).unwrap_or(Role::Follower { leader: None })
    }

    /// The same, as it changes.
    #[must_use]
    pub(crate) fn placement_role_watch(&self) -> watch::Receiver<Role> {
        self.seats
            .get(&PLACEMENT)
            .map_or_else(|| watch::Sender::new(Role::Follower { leader: None }).subscribe(), |seat| seat.shell.role())
    }

    /// The placement as applied here; the default one as long as nothing is known.
    #[must_use]
    pub(crate) fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.placement.subscribe()
    }

    /// What the group of `id` answers to a peer; `None` when it does not run here, or the peer speaks in another's name.
    pub(crate) async fn raft(&self, from: &Peer, id: PartitionId, ask: Ask) -> Option<Told> {
        let replica = self.open_replica(id)?;
        let group = replica.group();
        let speaker = match &ask {
            Ask::Append(rpc) => rpc.vote.leader_id.voted_for,
            Ask::Vote(rpc) | Ask::PreVote(rpc) => rpc.vote.leader_id.voted_for,
            Ask::TransferLeader(rpc) => rpc.from_leader().leader_id.voted_for,
        };
        if speaker != from.raft_id {
            return None;
        }
        match ask {
            Ask::Append(rpc) => {
                replica.hears(&rpc);
                group.append_entries(rpc).await.ok().map(Told::Append)
            }
            _ if !replica.takes_part() => None,
            Ask::Vote(rpc) => group.vote(rpc).await.ok().map(Told::Vote),
            Ask::PreVote(rpc) => group.pre_vote(rpc).await.ok().map(Told::Vote),
            Ask::TransferLeader(rpc) => group.handle_transfer_leader(rpc).await.ok().map(Told::TransferLeader),
        }
    }

    /// Takes a snapshot from a peer; `None` when the group does not run here, could not take it, takes another one, or the peer
    /// speaks in another's name.
    pub(crate) async fn snapshot(
        &self,
        from: &Peer,
        id: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> Option<SnapshotAnswer> {
        if vote.leader_id.voted_for != from.raft_id || self.open_replica(id).is_none() {
            return None;
        }
        let landing = self.seats.get(&id)?.shell.landing()?;
        let writer = Arc::clone(&self.ground.writer);
        // In a task of its own: whoever sends may go away, and what was handed to the group is in use until it is installed.
        let installed = tokio::spawn(async move {
            let GroupSnapshot { meta, snapshot } = snapshot;
            let landed = tokio::select! {
                landed = land(landing.replica.state(), &writer, snapshot) => landed,
                () = landing.replica.ending() => return None,
            };
            match landed {
                Ok(snapshot) => {
                    let snapshot = GroupSnapshot { meta, snapshot };
                    landing.replica.group().install_full_snapshot(vote, snapshot).await.ok()
                }
                Err(error) => {
                    tracing::warn!(group = name_of(id), %error, "a snapshot did not arrive");
                    None
                }
            }
        });
        installed.await.ok().flatten()
    }

    /// Ends all groups, for good. What the disk holds stays.
    pub(crate) async fn stop(&self) {
        join_all(self.seats.iter().map(|(id, seat)| async move {
            let turn = seat.turn.acquire().await;
            if let Some(replica) = seat.shell.replica()
                && let Err(error) = replica.group().shutdown().await
            {
                tracing::warn!(group = name_of(*id), %error, "a group did not end cleanly");
            }
            seat.turn.close();
            drop(turn);
        }))
        .await;
    }
}

fn failed(id: PartitionId, why: &dyn std::fmt::Display) -> StartError {
    StartError::Group { group: name_of(id), why: why.to_string() }
}

fn stopping(id: PartitionId) -> StartError {
    failed(id, &"there is no such partition, or this node is stopping")
}
