//! All partitions of this node, over one store.

use crate::{
    hosting::{self, Found, Ground, Hosting},
    observer::Observer,
    options::{Options, Surroundings},
    partition::Partition,
    peers::{NoPeers, NoPresence, Peer, PeerLink, PeerSide},
    raft::landing::sweep,
    side::Side,
    store::{
        disk::{Disk, OpenDisk, SledDisk},
        key,
        ledger::{Described, StoredIdentity},
        lock::DirectoryLock,
        opening::{self, Expected, Opened, StartError},
        work::{BulkWork, LogWork, promise},
        writer::{OnFatal, Writer},
    },
    upkeep,
};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId};
use std::{path::Path, sync::Arc};
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
    hosting: Arc<Hosting>,
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
        let config = hosting::config(&options)?;
        let Opened { lock, disk, watermark, position, identity, log_bytes, states, leftovers, dropped } = opened;
        let found = Found { states, logs: position.logs.clone(), log_bytes };
        let on_fatal = surroundings.on_fatal.unwrap_or_else(default_on_fatal);
        let writer = Writer::start(Arc::clone(&disk), watermark, position, Arc::clone(&on_fatal))
            .map_err(|source| StartError::Io { path: options.data_dir.clone(), source })?;
        let mut identity = next_identity(identity, &options);
        write_identity(&writer, &identity, &options).await?;
        for (from, to) in leftovers {
            writer.queue().bulk(BulkWork::Sweep(from, to, Box::new(|| {})));
        }
        for (from, to) in dropped {
            sweep(&writer, from, to).await.map_err(|_| disk_failed(&options))?;
        }
        let (healthy, health) = watch::channel(true);
        let side = Side::new(Arc::new(NoPresence));
        let link: Arc<dyn PeerLink> = match surroundings.link {
            Some(make) => {
                let (name, raft_id, generation) = (identity.node.clone(), identity.raft_id, identity.generation);
                make(Peer { name, raft_id, generation }, Arc::clone(&side) as Arc<dyn PeerSide>)
            }
            None => Arc::new(NoPeers),
        };
        let ground = Ground {
            node: identity.node.clone(),
            raft_id: identity.raft_id,
            disk: Arc::clone(&disk),
            writer: Arc::clone(&writer),
            link,
            observer,
            config,
            policy: options.policy,
            writes_in_flight: options.writes_in_flight,
            health: health.clone(),
        };
        let hosting = Hosting::new(ground, identity.partitions, found);
        side.answer_from(&hosting);
        hosting.open_held().await?;
        if identity.founder {
            hosting.found_all().await?;
            // Never again: what this node does not keep any more is kept by others.
            identity.founder = false;
            write_identity(&writer, &identity, &options).await?;
        }
        let tasks = vec![
            tokio::spawn(upkeep::watch_writer(Arc::clone(&writer), Arc::clone(&hosting), healthy, on_fatal)),
            tokio::spawn(upkeep::take_snapshots(Arc::clone(&hosting))),
        ];
        let StoredIdentity { cluster_id, node, generation, .. } = identity;
        Ok(Arc::new(Self {
            identity: Identity { cluster_id, node, generation },
            hosting,
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
        u16::try_from(self.hosting.partitions().len()).unwrap_or(u16::MAX)
    }

    /// A partition.
    ///
    /// # Panics
    /// When `id` is not below [`partitions`](Self::partitions).
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> &Arc<Partition> {
        &self.hosting.partitions()[usize::from(id.0)]
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
        self.hosting.stop().await;
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
    wait.await.map_err(|_| disk_failed(options))
}

fn disk_failed(options: &Options) -> StartError {
    let source = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the disk failed");
    StartError::Io { path: options.data_dir.clone(), source }
}
