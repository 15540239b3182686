//! What every request of a node shares.

use crate::{
    certificates::Certificates, cors::Cors, document, events::Streams, keys::Keys, metrics::Metrics, rates::Rates,
    service::PresenceService,
};
use bytes::Bytes;
use rollcall_config::{Http, Limits, Presence};
use rollcall_presence::UnixMs;
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// What a node hands to its API.
#[derive(Clone)]
pub struct ApiOptions {
    /// Where clients connect, and how long they may take.
    pub http: Http,
    /// The paces that clients are told and held to.
    pub presence: Presence,
    /// What is bounded.
    pub limits: Limits,
    /// The presence service of this node.
    pub service: Arc<dyn PresenceService>,
    /// Whom to believe.
    pub keys: Arc<Keys>,
    /// What clients are shown; without it they are spoken to as they come, without TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// Counts the open WebSockets and event streams; the node reads it for its status.
    pub connections: Connections,
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions").field("http", &self.http).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The open WebSockets and event streams of a node. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<AtomicU64>);

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more, until what is returned is dropped.
    pub(crate) fn enter(&self) -> Open {
        self.0.fetch_add(1, Ordering::Relaxed);
        Open(self.0.clone())
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The contract's outside for one node. Clones are the same API.
#[derive(Debug, Clone)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: ApiOptions,
    cors: Cors,
    streams: Streams,
    rates: Rates,
    trusted_proxies: Vec<IpAddr>,
    metrics: Metrics,
    document: Bytes,
}

impl Api {
    /// An API as the options say.
    #[must_use]
    pub fn new(options: ApiOptions) -> Self {
        let cors = Cors::new(&options.http.allowed_origins);
        let rates = Rates::new(&options.limits);
        // The settings' bound lets only addresses through.
        let trusted_proxies = options.http.trusted_proxies.iter().filter_map(|a| a.parse().ok()).collect();
        Self(Arc::new(Shared {
            options,
            cors,
            streams: Streams::default(),
            rates,
            trusted_proxies,
            metrics: Metrics::default(),
            document: document::json(),
        }))
    }

    /// What the node handed over.
    pub(crate) fn options(&self) -> &ApiOptions {
        &self.0.options
    }

    /// Which pages may call.
    pub(crate) fn cors(&self) -> &Cors {
        &self.0.cors
    }

    /// The event streams, to be taken up again.
    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// How much may be asked for.
    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Whose `X-Forwarded-For` is believed.
    pub(crate) fn trusted_proxies(&self) -> &[IpAddr] {
        &self.0.trusted_proxies
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The OpenAPI document, in JSON.
    pub(crate) fn document(&self) -> Bytes {
        self.0.document.clone()
    }

    /// The presence service.
    pub(crate) fn service(&self) -> &dyn PresenceService {
        &*self.0.options.service
    }
}

/// The wall clock, ms.
pub(crate) fn now_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}
