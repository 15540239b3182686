//! What the links of a node are started with.

use rollcall_presence::NodeName;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use thiserror::Error;

/// Says where to dial for a peer of this name and address; tests put proxies in between.
pub type Dial = Arc<dyn Fn(&NodeName, &str) -> String + Send + Sync>;

/// Files in PEM form.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// This node's certificate and what leads up to its authority; names the host of its address.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Who signs the certificates of nodes.
    pub authorities: PathBuf,
}

/// Signs of life on every connection, from both sides.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// How long nothing may come before a sign of life is asked for.
    pub interval: Duration,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for KeepAlive {
    /// 500 ms and 1 s: a dead peer is noticed within 1.5 s, and a busy machine is not taken for one.
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), timeout: Duration::from_secs(1) }
    }
}

/// What the links of a node are started with.
#[derive(Clone)]
pub struct PeersOptions {
    /// Where peers connect to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The cluster key: whoever has it may be a member.
    pub key: Vec<u8>,
    /// Certificates; none: what is said can be read on the way.
    pub tls: Option<TlsFiles>,
    /// Where to dial; none: at the address itself.
    pub dial: Option<Dial>,
    /// Signs of life.
    pub keep_alive: KeepAlive,
}

impl PeersOptions {
    /// Plain links with this key.
    #[must_use]
    pub fn new(listen: SocketAddr, key: Vec<u8>) -> Self {
        Self { listen, key, tls: None, dial: None, keep_alive: KeepAlive::default() }
    }
}

/// Why there are no links. Nothing was started.
#[derive(Debug, Error)]
pub enum PeersError {
    /// The address is taken, or not ours.
    #[error("cannot listen for peers at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates don't fit together.
    #[error("the certificates for the links between nodes cannot be used: {0}")]
    Certificates(String),
}
