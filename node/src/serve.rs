//! A node from start to stop: keys, store, groups, actors, API; and back in the opposite order.

use crate::{
    assembly::{Assembled, Parts},
    bounds::{RETURN_SPREAD_MS, TICK_MS},
    clock::{Clock, SystemClock},
    home::{fanout::Fanout, group::Group},
    key_file::{self, KeyFileError},
    node::Node,
    peers::{clustered::Clustered, lane::Lane},
    reloading::{Reloading, Source, certificate_files, local_key},
    service::NodeService,
    signals,
    status::ClusterView,
    welcome::Welcome,
};
use rollcall_api::{
    Api, ApiOptions, Certificates, CertificatesError, Connections, Keys, keys::KeysError, service::GoodbyeReason,
};
use rollcall_cluster::{Cluster, Options, Role, StartError, Surroundings, TlsFiles};
use rollcall_config::Settings;
use rollcall_presence::{Holder, InvalidId, NodeName, PartitionId, Policy};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};

/// How long clients have to leave after they were told that the node stops, ms.
const LEAVE_MS: u64 = 3_000;
/// How long a stopping node tries to hand over what it leads, ms: a hand-over takes milliseconds, and clients wait meanwhile.
const HAND_OVER_MS: u64 = 5_000;
/// How long a starting node waits for its partitions' homes before it says where it listens, ms: a few elections.
const HOMES_WAIT_MS: u64 = 10_000;

/// Why a node does not serve. Nothing of what it acknowledged before is touched.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The name in the settings cannot be a node's.
    #[error("node.name: {0}")]
    Name(#[from] InvalidId),
    /// The data directory cannot be made.
    #[error("data directory {path}: {source}")]
    DataDir {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A key file cannot be read or made.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys that sign tokens are not usable.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The certificate for clients is not usable.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The store or its groups do not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using it?")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The actors do not start.
    #[error("the actors do not start: {0}")]
    Actors(#[from] ractor::SpawnErr),
    /// The system does not give signals.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

impl ServeError {
    /// Whether the settings are at fault: the program then exits with 2.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Keys(_) | Self::Certificates(_))
    }
}

/// Serves until a signal asks for the end; another one has `source` read again. Prints where it listens.
///
/// # Errors
/// [`ServeError`]: it did not come to serve.
pub async fn run(settings: Settings, source: Source) -> Result<(), ServeError> {
    let signals::Signals { mut stop, reload } = signals::listen().map_err(ServeError::Signals)?;
    let started = tokio::select! {
        started = start_from(settings, source.asked_by(reload), Surroundings::default()) => started?,
        _ = stop.changed() => return Ok(()),
    };
    tokio::select! {
        () = started.served() => {}
        _ = stop.changed() => {}
    }
    started.stop().await;
    Ok(())
}

/// A node that serves.
pub struct Started {
    http: String,
    node: Arc<Node>,
    cluster: Arc<Cluster>,
    assembled: Assembled,
    stopping: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Starts a node: it serves on return.
///
/// # Errors
/// [`ServeError`].
pub async fn start(settings: Settings) -> Result<Started, ServeError> {
    start_within(settings, Surroundings::default()).await
}

/// The same with links, disk and the end of the process passed in.
///
/// # Errors
/// [`ServeError`].
pub async fn start_within(settings: Settings, surroundings: Surroundings) -> Result<Started, ServeError> {
    let source = Source::fixed(settings.clone());
    start_from(settings, source, surroundings).await
}

async fn start_from(settings: Settings, source: Source, surroundings: Surroundings) -> Result<Started, ServeError> {
    let name = NodeName::new(&settings.node.name)?;
    let data_dir = settings.node.data_dir.clone();
    std::fs::create_dir_all(&data_dir)
        .map_err(|source| ServeError::DataDir { path: data_dir.display().to_string(), source })?;
    let local = match (local_key(&settings), &settings.auth.key_file) {
        (Some(file), None) => Some(key_file::read_or_make(&file)?),
        (file, _) => file.map(|file| key_file::read(&file)).transpose()?,
    };
    let keys = Arc::new(Keys::load(&settings.auth, local.as_deref())?);
    let certificates = certificate_files(&settings).map(|files| Certificates::load(&files)).transpose()?.map(Arc::new);
    let listener = listen(&settings.http.listen).await?;
    let ops = match &settings.http.ops_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let http = listener.local_addr().map_or_else(|_| settings.http.listen.clone(), |a| a.to_string());

    let advertised = settings.http.advertise.clone().unwrap_or_else(|| http.clone());
    let options = options(&settings, name.clone(), advertised.clone()).await?;
    let (cluster, assembled) = assemble(&settings, options, surroundings).await?;
    let node = assembled.node.clone();
    let peer = settings.peer.advertise.clone().unwrap_or_else(|| cluster.peer_addr().to_string());
    let view = ClusterView::new(cluster.identity().cluster_id.clone(), advertised, peer);
    let api = Api::new(ApiOptions {
        http: settings.http.clone(),
        presence: settings.presence.clone(),
        limits: settings.limits.clone(),
        service: Arc::new(NodeService::new(node.clone(), view, cluster.clone())),
        keys: keys.clone(),
        certificates: certificates.clone(),
        connections: Connections::default(),
    });
    node.doors.is_starting(true);
    let (stopping, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    if let Some(ops) = ops {
        tasks.push(tokio::spawn(rollcall_api::serve_ops(ops, api.clone(), until(stopped.clone()))));
    }
    tasks.push(tokio::spawn(rollcall_api::serve(listener, api, until(stopped))));
    let reloading = Reloading { source, keys, certificates, settings: settings.clone() };
    tasks.push(tokio::spawn(reloading.run()));
    homes_found(&node).await;
    node.doors.is_starting(false);
    Welcome { http: &http, settings: &settings }.print();
    Ok(Started { http, node, cluster, assembled, stopping, tasks })
}

/// The groups of this node, and the node on top of them.
async fn assemble(
    settings: &Settings,
    options: Options,
    surroundings: Surroundings,
) -> Result<(Arc<Cluster>, Assembled), ServeError> {
    let (fanout, lane) = (Arc::new(Fanout::default()), Arc::new(Lane::default()));
    let surroundings = Surroundings { handing_over: Some(lane.handing_over()), ..surroundings };
    let cluster = Cluster::start_within(options, fanout.clone(), lane.clone(), surroundings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let identity = cluster.identity();
    let groups = (0..cluster.partitions()).map(|p| cluster.partition(PartitionId(p)).clone() as Arc<dyn Group>);
    let parts = Parts {
        holder: Holder { node: identity.node.clone(), generation: identity.generation },
        groups: groups.collect(),
        fanout,
        lane,
        links: Clustered::new(cluster.clone()),
        clock,
        presence: settings.presence.clone(),
        limits: settings.limits.clone(),
    };
    let assembled = Assembled::new(parts).await?;
    Ok((cluster, assembled))
}

impl Started {
    /// Where it listens for clients.
    #[must_use]
    pub fn http(&self) -> &str {
        &self.http
    }

    /// Its part in the cluster.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns when the API has ended by itself, which it should not.
    async fn served(&self) {
        let ended = |task: &tokio::task::JoinHandle<()>| task.is_finished();
        while !self.tasks.iter().any(ended) {
            tokio::time::sleep(Duration::from_millis(LEAVE_MS)).await;
        }
        tracing::error!("a part of the node ended by itself; stopping");
    }

    /// Stops: what it leads is handed over, clients are told to go and come back, then actors, groups and the store end.
    pub async fn stop(self) {
        tracing::info!("stopping");
        if !self.cluster.leave(Duration::from_millis(HAND_OVER_MS)).await {
            tracing::warn!("this node still leads something; others take it up once they miss it");
        }
        self.stopping.send_replace(true);
        self.node.sockets.goodbye_all(GoodbyeReason::Drain, crate::token::jitter(RETURN_SPREAD_MS));
        let left = async {
            while !self.node.sockets.is_empty() {
                tokio::time::sleep(Duration::from_millis(TICK_MS)).await;
            }
        };
        if tokio::time::timeout(Duration::from_millis(LEAVE_MS), left).await.is_err() {
            tracing::warn!(connections = self.node.sockets.len(), "connections that did not leave are cut");
        }
        self.assembled.stop();
        for task in self.tasks {
            task.abort();
        }
        self.cluster.stop().await;
    }
}

/// The certificates of the links between nodes; the settings have all three or none.
fn peer_tls(settings: &Settings) -> Option<TlsFiles> {
    let peer = &settings.peer;
    match (&peer.certificate, &peer.private_key, &peer.authorities) {
        (Some(certificate), Some(private_key), Some(authorities)) => Some(TlsFiles {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            authorities: authorities.clone(),
        }),
        _ => None,
    }
}

/// What nodes prove to each other that they belong together with; made when no file is named.
fn cluster_key(settings: &Settings) -> Result<Vec<u8>, KeyFileError> {
    let file = settings.cluster.key_file.clone().unwrap_or_else(|| settings.node.data_dir.join("cluster.key"));
    Ok(key_file::read_or_make(&file)?.trim_ascii_end().to_vec())
}

async fn resolve(address: &str) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_owned(), source };
    let resolved = tokio::net::lookup_host(address).await.map_err(failed)?.next();
    resolved.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

async fn listen(address: &str) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_owned(), source };
    rollcall_api::bind(resolve(address).await?).map_err(failed)
}

async fn options(settings: &Settings, node: NodeName, http: String) -> Result<Options, ServeError> {
    Ok(Options {
        partitions: settings.cluster.partitions,
        heartbeat_ms: settings.cluster.heartbeat_ms,
        election_ms: settings.cluster.election_ms,
        policy: Policy {
            contacts_max: settings.limits.contacts,
            blocks_max: settings.limits.blocks,
            sessions_max: settings.limits.sessions,
            history_max: settings.limits.history_entries,
            history_age_ms: settings.limits.history_age_s.saturating_mul(1_000),
        },
        writes_in_flight: settings.limits.writes_in_flight as usize,
        cache_bytes: settings.limits.store_cache_bytes,
        join: settings.cluster.join.clone(),
        replication: settings.cluster.replication,
        peer_listen: resolve(&settings.peer.listen).await?,
        peer_advertise: settings.peer.advertise.clone(),
        http_advertise: http,
        version: env!("CARGO_PKG_VERSION").into(),
        cluster_key: cluster_key(settings)?,
        replace_after_ms: settings.cluster.replace_after_ms,
        erase_within_s: settings.cluster.erase_within_s,
        peer_tls: peer_tls(settings),
        ..Options::new(settings.node.data_dir.clone(), node)
    })
}

/// Waits until every partition has a home, so that what the welcome proposes to try works; not for ever: a node that waits for others
/// says where it listens all the same.
async fn homes_found(node: &Node) {
    let found = async {
        for partition in node.homes.partitions() {
            let known = |role: &Role| !matches!(role, Role::Follower { leader: None });
            // A group that has ended has no home to wait for.
            let _ = partition.group().role().wait_for(known).await;
        }
    };
    if tokio::time::timeout(Duration::from_millis(HOMES_WAIT_MS), found).await.is_err() {
        tracing::warn!("some partitions have no home yet");
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}
