//! A node from its data directory to running groups.
//!
//! In this order: store, identity, links, a cluster to belong to, groups, control. Nothing is waited for that another node
//! would have to do first, but for being let in once.

use crate::{
    cluster::Identity,
    control::{Asked, Control, Foundation, greet, join},
    hosting::{self, Found, Ground, Hosting},
    limits::{FOUND_MS, GREET_MS},
    observer::Observer,
    options::{Options, Surroundings, unix_ms},
    peers::{Peer, PeerAt, PeerLink, PeerSide, Peers, PeersOptions, PresenceLane},
    placement_group::PLACEMENT,
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
use rollcall_presence::{Newcomer, RULES_VERSION};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// All that runs.
pub(crate) struct Started {
    pub(crate) identity: Identity,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) control: Arc<Control>,
    pub(crate) link: Arc<dyn PeerLink>,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) writer: Arc<Writer>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) healthy: watch::Receiver<bool>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    pub(crate) lock: DirectoryLock,
}

/// The store, opened and written to.
struct Store {
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    lock: DirectoryLock,
    found: Found,
    identity: StoredIdentity,
}

/// The way to others.
struct Links {
    side: Arc<Side>,
    link: Arc<dyn PeerLink>,
    addr: SocketAddr,
}

/// Starts a node.
///
/// # Errors
/// [`StartError`], saying what to do.
pub(crate) async fn start(
    options: Options,
    observer: Arc<dyn Observer>,
    lane: Arc<dyn PresenceLane>,
    mut surroundings: Surroundings,
) -> Result<Started, StartError> {
    options.check()?;
    let config = hosting::config(&options)?;
    let on_fatal = surroundings.on_fatal.take().unwrap_or_else(default_on_fatal);
    let mut store = open_store(&options, &mut surroundings, &on_fatal).await?;
    let links = match link_up(&options, &store.identity, lane, &mut surroundings).await {
        Ok(links) => links,
        Err(error) => {
            close(&store).await;
            return Err(error);
        }
    };
    let about = newcomer(&options, &store.identity, links.addr);
    let taken = match knows_nothing(&store) {
        true => be_let_in(&options, &mut store, &links, &about).await,
        false => be_taken_back(&options, &store, &links, &about).await,
    };
    if let Err(error) = taken {
        links.link.stop().await;
        close(&store).await;
        return Err(error);
    }
    let Store { writer, disk, lock, found, identity } = store;
    let (health_says, healthy) = watch::channel(true);
    let ground = Ground {
        node: identity.node.clone(),
        raft_id: identity.raft_id,
        disk: Arc::clone(&disk),
        writer: Arc::clone(&writer),
        link: Arc::clone(&links.link),
        observer,
        config,
        policy: options.policy,
        writes_in_flight: options.writes_in_flight,
        health: healthy.clone(),
    };
    let hosting = Hosting::new(ground, identity.partitions, found);
    links.side.answer_from(&hosting);
    hosting.open_held().await?;
    match identity.founder {
        true => hosting.found_all().await?,
        false => hosting.open(PLACEMENT).await?,
    }
    let tasks = vec![
        tokio::spawn(upkeep::watch_writer(Arc::clone(&writer), Arc::clone(&hosting), health_says, on_fatal)),
        tokio::spawn(upkeep::take_snapshots(Arc::clone(&hosting), surroundings.snapshot_entries)),
        tokio::spawn(upkeep::erase(Arc::clone(&hosting), Duration::from_secs(options.erase_within_s))),
    ];
    let control = Control::start(Foundation {
        about,
        cluster_id: identity.cluster_id.clone(),
        partitions: identity.partitions,
        replication: options.replication,
        founder: identity.founder,
        join: options.join.clone(),
        replace_after_ms: options.replace_after_ms,
        hosting: Arc::clone(&hosting),
        link: Arc::clone(&links.link),
        side: links.side,
        handing_over: surroundings.handing_over,
        wall_clock: surroundings.wall_clock.unwrap_or_else(|| Arc::new(unix_ms)),
    });
    if identity.founder {
        remember_founding(&control, &writer, &identity, &options).await?;
    }
    let StoredIdentity { cluster_id, node, generation, .. } = identity;
    let identity = Identity { cluster_id, node, generation };
    let (link, peer_addr) = (links.link, links.addr);
    Ok(Started { identity, hosting, control, link, peer_addr, writer, disk, healthy, tasks, lock })
}

/// Whether nobody has told this node anything yet: one that was let in and stopped before it had heard of anything asks again.
fn knows_nothing(store: &Store) -> bool {
    store.identity.cluster_id.is_empty() || (!store.identity.founder && !store.found.logs.contains_key(&PLACEMENT))
}

/// Once the founding is committed it is never repeated: what this node does not keep any more is kept by others.
async fn remember_founding(
    control: &Control,
    writer: &Writer,
    identity: &StoredIdentity,
    options: &Options,
) -> Result<(), StartError> {
    let mut placement = control.placement();
    let founded = placement.wait_for(|placement| placement.is_founded());
    if timeout(Duration::from_millis(FOUND_MS), founded).await.is_err() {
        tracing::warn!("the cluster is not founded yet");
        return Ok(());
    }
    write_identity(writer, &StoredIdentity { founder: false, ..identity.clone() }, options).await
}

async fn open_store(
    options: &Options,
    surroundings: &mut Surroundings,
    on_fatal: &OnFatal,
) -> Result<Store, StartError> {
    let (disk, pace) = (surroundings.disk.take(), surroundings.pace.take());
    let cache_bytes = options.cache_bytes;
    let sled = move |path: &Path| SledDisk::open(path, cache_bytes).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
    let opened = open(options, disk.unwrap_or_else(|| Box::new(sled)), pace.is_some()).await?;
    let Opened { lock, disk, watermark, position, identity, log_extents, states, leftovers, dropped } = opened;
    let found = Found { states, logs: position.logs.clone(), log_extents };
    let (own_disk, on_fatal) = (Arc::clone(&disk), Arc::clone(on_fatal));
    let writer = match pace {
        None => Writer::start(own_disk, watermark, position, on_fatal),
        Some(pace) => Ok(Writer::start_paced(own_disk, watermark, position, on_fatal, pace)),
    };
    let writer = writer.map_err(|source| StartError::Io { path: options.data_dir.clone(), source })?;
    let identity = next_identity(identity, options);
    write_identity(&writer, &identity, options).await?;
    for (partition, log) in &found.logs {
        // A purge that a stop cut off goes on: nothing else would make it, of a group in which nothing happens.
        if let Some(purged) = log.purged.filter(|purged| log.first <= purged.index) {
            writer.queue().log(LogWork::Purge(*partition, purged));
        }
    }
    for (from, to) in leftovers {
        writer.queue().bulk(BulkWork::Sweep(from, to, Box::new(|| {})));
    }
    for (from, to) in dropped {
        sweep(&writer, from, to).await.map_err(|_| disk_failed(options))?;
    }
    Ok(Store { writer, disk, lock, found, identity })
}

async fn close(store: &Store) {
    close_store(&store.writer, &store.disk).await;
}

/// Makes what waits durable and closes the disk, on a thread for what blocks where they do.
pub(crate) async fn close_store(writer: &Arc<Writer>, disk: &Arc<dyn Disk>) {
    if writer.is_paced() {
        writer.end_paced().await;
        disk.close();
        return;
    }
    let (writer, disk) = (Arc::clone(writer), Arc::clone(disk));
    let closed = tokio::task::spawn_blocking(move || {
        writer.stop();
        disk.close();
    });
    if let Err(error) = closed.await {
        tracing::error!(%error, "the store did not close cleanly");
    }
}

/// Links to peers: those that were passed in, or streams over sockets.
async fn link_up(
    options: &Options,
    identity: &StoredIdentity,
    lane: Arc<dyn PresenceLane>,
    surroundings: &mut Surroundings,
) -> Result<Links, StartError> {
    let side = Side::new(lane);
    let (name, raft_id, generation) = (identity.node.clone(), identity.raft_id, identity.generation);
    let (me, answers) = (Peer { name, raft_id, generation }, Arc::clone(&side) as Arc<dyn PeerSide>);
    if let Some(make) = surroundings.link.take() {
        return Ok(Links { link: make(me, answers), side, addr: options.peer_listen });
    }
    let peers = Peers::bind(PeersOptions {
        tls: options.peer_tls.clone(),
        dial: surroundings.dial.take(),
        ..PeersOptions::new(options.peer_listen, options.cluster_key.clone())
    });
    let peers = peers.await.map_err(|error| StartError::Links(error.to_string()))?;
    let (addr, link) = (peers.local_addr(), peers.serve(me, answers));
    if !identity.cluster_id.is_empty() {
        // Peers that dial meanwhile are not to take this node for one of no cluster.
        link.know(&identity.cluster_id, Vec::new());
    }
    Ok(Links { link, side, addr })
}

fn newcomer(options: &Options, identity: &StoredIdentity, addr: SocketAddr) -> Newcomer {
    // A node that nobody can link with has to name some port all the same.
    let addr = SocketAddr::new(addr.ip(), addr.port().max(1));
    Newcomer {
        name: identity.node.clone(),
        raft_id: identity.raft_id,
        generation: identity.generation,
        http: options.http_advertise.clone(),
        peer: options.peer_advertise.clone().unwrap_or_else(|| addr.to_string()),
        version: options.version.clone(),
        rules: RULES_VERSION,
    }
}

/// Asks to be let in, and takes note of it on disk.
async fn be_let_in(options: &Options, store: &mut Store, links: &Links, about: &Newcomer) -> Result<(), StartError> {
    let cluster_id = Some(store.identity.cluster_id.clone()).filter(|id| !id.is_empty());
    let asked = Asked { addresses: &options.join, cluster_id, partitions: options.partitions, newcomer: about };
    let welcome = join(&*links.link, &asked, Duration::from_millis(options.join_patience_ms)).await?;
    tracing::info!(cluster = welcome.cluster_id, members = welcome.members.len(), "this node was let in");
    store.identity.cluster_id = welcome.cluster_id;
    write_identity(&store.writer, &store.identity, options).await?;
    links.side.introduce(&welcome.members);
    let others = welcome.members.into_iter().filter(|member| member.name != about.name);
    let others = others.map(|member| PeerAt { name: member.name, address: member.peer });
    links.link.know(&store.identity.cluster_id, others.collect());
    Ok(())
}

/// Makes sure that those whom this node is told to join are not of another cluster.
async fn be_taken_back(options: &Options, store: &Store, links: &Links, about: &Newcomer) -> Result<(), StartError> {
    let cluster_id = Some(store.identity.cluster_id.clone());
    let asked = Asked { addresses: &options.join, cluster_id, partitions: options.partitions, newcomer: about };
    greet(&*links.link, &asked, Duration::from_millis(GREET_MS)).await
}

/// Logs the reason and ends the process: whoever comes after must not see a half-working node.
fn default_on_fatal() -> OnFatal {
    Arc::new(|reason| {
        tracing::error!(reason, "this node ends");
        std::process::exit(1);
    })
}

/// Opens the directory; `here` rather than on a thread for what blocks, where the disk is one that never does.
async fn open(options: &Options, open_disk: OpenDisk, here: bool) -> Result<Opened, StartError> {
    let path = options.data_dir.clone();
    let expected = Expected { node: options.node.clone(), partitions: options.partitions };
    if here {
        return opening::open(&path, open_disk, Some(&expected));
    }
    let opening = tokio::task::spawn_blocking(move || opening::open(&path, open_disk, Some(&expected)));
    opening.await.unwrap_or_else(|panic| {
        let why = format!("reading it panicked: {panic}");
        Err(StartError::Damaged { path: options.data_dir.clone(), why })
    })
}

/// An id that no other cluster has.
pub(crate) fn draw_cluster_id() -> String {
    format!("{:016x}{:016x}", draw(), draw())
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

/// Who this node is from now on. One without a cluster founds one unless it is to join; until it was let in it has none.
fn next_identity(found: Option<StoredIdentity>, options: &Options) -> StoredIdentity {
    let mut identity = match found {
        Some(found) => StoredIdentity { generation: found.generation + 1, ..found },
        None => StoredIdentity {
            cluster_id: String::new(),
            node: options.node.clone(),
            raft_id: draw(),
            generation: 1,
            partitions: options.partitions,
            founder: false,
        },
    };
    if identity.cluster_id.is_empty() && options.join.is_empty() {
        identity.cluster_id = draw_cluster_id();
        identity.founder = true;
    }
    identity
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
