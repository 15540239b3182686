//! All partitions of this node, over one store.

use crate::{
    limits,
    observer::Observer,
    options::{Options, Surroundings},
    partition::{Partition, Parts},
    peers::{NoPeers, PeerLink},
    raft::{
        link::GroupLinks,
        log::{LogCell, LogStore},
        machine::Machine,
        types::Member,
    },
    store::{
        disk::{Disk, OpenDisk, SledDisk},
        key,
        ledger::{Described, LogLedger, StateHeader, StoredIdentity},
        lock::DirectoryLock,
        opening::{self, Expected, Opened, StartError},
        work::{BulkWork, LogWork, promise},
        writer::{OnFatal, Writer},
    },
    upkeep,
};
use futures::future::{join_all, try_join_all};
use openraft::{Config, Raft, SnapshotPolicy, async_runtime::watch::WatchReceiver};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tokio::{sync::watch, task::JoinHandle};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's name.
    pub node: NodeName,
    /// Counts the node's starts: a restarted node is somebody new.
    pub generation: u64,
}

/// All partitions of this node.
pub struct Cluster {
    identity: Identity,
    partitions: Vec<Arc<Partition>>,
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    healthy: watch::Receiver<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Cluster {
    /// Opens the store, checks and recovers it, and starts every group; founds a cluster of one when there is none.
    ///
    /// # Errors
    /// [`StartError`], saying what to do.
    pub async fn start(options: Options, observer: Arc<dyn Observer>) -> Result<Arc<Self>, StartError> {
        Self::start_within(options, observer, Surroundings::default()).await
    }

    /// The same with links and the end of the process passed in.
    ///
    /// # Errors
    /// [`StartError`], saying what to do.
    pub async fn start_within(
        options: Options,
        observer: Arc<dyn Observer>,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>, StartError> {
        options.check()?;
        let cache_bytes = options.cache_bytes;
        let sled = move |path: &Path| SledDisk::open(path, cache_bytes).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        let opened = open(&options, surroundings.disk.unwrap_or_else(|| Box::new(sled))).await?;
        let Opened { lock, disk, watermark, position, identity, log_bytes, states, leftovers } = opened;
        let found = Found { states, logs: position.logs.clone(), log_bytes };
        let on_fatal = surroundings.on_fatal.unwrap_or_else(default_on_fatal);
        let writer = Writer::start(Arc::clone(&disk), watermark, position, Arc::clone(&on_fatal))
            .map_err(|source| StartError::Io { path: options.data_dir.clone(), source })?;
        let identity = next_identity(identity, &options);
        write_identity(&writer, &identity, &options).await?;
        for (from, to) in leftovers {
            writer.queue().bulk(BulkWork::Sweep(from, to, Box::new(|| {})));
        }
        let (healthy, health) = watch::channel(true);
        let link: Arc<dyn PeerLink> = Arc::new(NoPeers);
        let starter = Starter { options, observer, writer, disk, link, health, raft_id: identity.raft_id };
        let partitions = starter.start_all(found, identity.founder).await?;
        let Starter { writer, disk, health, .. } = starter;
        let tasks = vec![
            tokio::spawn(upkeep::watch_writer(Arc::clone(&writer), partitions.clone(), healthy, on_fatal)),
            tokio::spawn(upkeep::take_snapshots(partitions.clone())),
        ];
        let StoredIdentity { cluster_id, node, generation, .. } = identity;
        Ok(Arc::new(Self {
            identity: Identity { cluster_id, node, generation },
            partitions,
            writer,
            disk,
            healthy: health,
            tasks: Mutex::new(tasks),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)
    }

    /// A partition.
    ///
    /// # Panics
    /// When `id` is not below [`partitions`](Self::partitions).
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> &Arc<Partition> {
        &self.partitions[usize::from(id.0)]
    }

    /// Whether the disk keeps up; a node whose disk does not is the home of nothing.
    #[must_use]
    pub fn healthy(&self) -> watch::Receiver<bool> {
        self.healthy.clone()
    }

    /// How many rounds were written since the start.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.writer.rounds()
    }

    /// Ends all groups, makes what waits durable, closes the store and lets go of the directory. A second call does
    /// nothing.
    pub async fn stop(&self) {
        for task in std::mem::take(&mut *self.tasks.lock()) {
            task.abort();
        }
        for ended in join_all(self.partitions.iter().map(|p| p.group().shutdown())).await {
            if let Err(error) = ended {
                tracing::warn!(%error, "a group did not end cleanly");
            }
        }
        let (writer, disk) = (Arc::clone(&self.writer), Arc::clone(&self.disk));
        let closed = tokio::task::spawn_blocking(move || {
            writer.stop();
            disk.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the store did not close cleanly");
        }
        drop(self.lock.lock().take());
    }
}

/// Logs the reason and ends the process: whoever comes after must not see a half-working node.
fn default_on_fatal() -> OnFatal {
    Arc::new(|reason| {
        tracing::error!(reason, "this node ends");
        std::process::exit(1);
    })
}

async fn open(options: &Options, open_disk: OpenDisk) -> Result<Opened, StartError> {
    let path = options.data_dir.clone();
    let expected = Expected { node: options.node.clone(), partitions: options.partitions };
    let opening = tokio::task::spawn_blocking(move || opening::open(&path, open_disk, &expected));
    opening.await.unwrap_or_else(|panic| {
        let why = format!("reading it panicked: {panic}");
        Err(StartError::Damaged { path: options.data_dir.clone(), why })
    })
}

/// A number nobody else draws.
fn draw() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        // No randomness at boot on strange machines: time and process still tell nodes apart.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32);
    }
    u64::from_le_bytes(bytes)
}

fn next_identity(found: Option<StoredIdentity>, options: &Options) -> StoredIdentity {
    match found {
        Some(found) => StoredIdentity { generation: found.generation + 1, ..found },
        None => StoredIdentity {
            cluster_id: format!("{:016x}{:016x}", draw(), draw()),
            node: options.node.clone(),
            raft_id: draw(),
            generation: 1,
            partitions: options.partitions,
            founder: true,
        },
    }
}

async fn write_identity(writer: &Writer, identity: &StoredIdentity, options: &Options) -> Result<(), StartError> {
    let (done, wait) = promise();
    writer.queue().log(LogWork::Describe(key::IDENTITY.to_vec(), identity.sealed(), done));
    wait.await.map_err(|_| StartError::Io {
        path: options.data_dir.clone(),
        source: std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the disk failed"),
    })
}

/// What was found of the groups.
struct Found {
    states: BTreeMap<PartitionId, StateHeader>,
    logs: BTreeMap<PartitionId, LogLedger>,
    log_bytes: BTreeMap<PartitionId, u64>,
}

impl Found {
    /// What was found of one group; nothing, if it is new.
    fn take(&mut self, id: PartitionId) -> (StateHeader, LogLedger, u64) {
        let state = self.states.remove(&id).unwrap_or_default();
        (state, self.logs.remove(&id).unwrap_or_default(), self.log_bytes.remove(&id).unwrap_or_default())
    }
}

/// What groups are started with.
struct Starter {
    options: Options,
    observer: Arc<dyn Observer>,
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    link: Arc<dyn PeerLink>,
    health: watch::Receiver<bool>,
    raft_id: u64,
}

impl Starter {
    fn config(&self) -> Result<Arc<Config>, StartError> {
        let config = Config {
            cluster_name: "rollcall".into(),
            heartbeat_interval: self.options.heartbeat_ms,
            election_timeout_min: self.options.election_ms,
            election_timeout_max: self.options.election_ms * 2,
            // A leader that restarts in its old term would go unnoticed, and with it the sessions it forgot.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
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

    async fn start_all(&self, mut found: Found, founder: bool) -> Result<Vec<Arc<Partition>>, StartError> {
        let config = self.config()?;
        let starts = (0..self.options.partitions)
            .map(PartitionId)
            .map(|id| self.start_one(id, Arc::clone(&config), found.take(id), founder));
        try_join_all(starts).await
    }

    async fn start_one(
        &self,
        id: PartitionId,
        config: Arc<Config>,
        (header, ledger, log_bytes): (StateHeader, LogLedger, u64),
        founder: bool,
    ) -> Result<Arc<Partition>, StartError> {
        let failed = |why: String| StartError::Group { partition: id, why };
        let state = crate::state::cell::StateCell::new(id, Arc::clone(&self.disk), header);
        let log = LogCell::new(id, Arc::clone(&self.disk), &ledger, log_bytes);
        let store = LogStore::new(Arc::clone(&log), Arc::clone(&self.writer));
        let machine =
            Machine::new(Arc::clone(&state), Arc::clone(&log), Arc::clone(&self.writer), Arc::clone(&self.observer));
        let links = GroupLinks::new(id, Arc::clone(&self.link));
        let group = Raft::new(self.raft_id, config, links, store, machine).await.map_err(|e| failed(e.to_string()))?;
        let new = !group.is_initialized().await.map_err(|e| failed(e.to_string()))?;
        if new && founder {
            let member = Member { name: self.options.node.clone() };
            let members = BTreeMap::from([(self.raft_id, member)]);
            group.initialize(members).await.map_err(|e| failed(e.to_string()))?;
        }
        // Who votes alone need not wait for anybody's silence.
        let alone = group.metrics().borrow_watched().membership_config.voter_ids().eq([self.raft_id]);
        if alone && !new {
            group.trigger().elect(false).await.map_err(|e| failed(e.to_string()))?;
        }
        let parts = Parts {
            group,
            state,
            log,
            policy: self.options.policy,
            writes_in_flight: self.options.writes_in_flight,
            healthy: self.health.clone(),
        };
        Ok(Arc::new(Partition::start(id, parts)))
    }
}
