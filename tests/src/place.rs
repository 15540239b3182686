//! Where a node of a cluster runs: its addresses, its data directory, and what surrounds its process.

use crate::ports::free_address;
use std::path::PathBuf;

/// Characters of a key.
const KEY: &str = "0123456789abcdef";

/// A place for one node, which stays its own over restarts.
#[derive(Debug, Clone)]
pub struct Place {
    /// `host:port` for clients.
    pub http: String,
    /// `host:port` for other nodes.
    pub peer: String,
    /// What starts the program, if not itself: it must become the program (`nsenter` does).
    pub within: Vec<String>,
    /// The data directory, if it is not one beside the node's other files.
    pub data: Option<PathBuf>,
    /// The environment, whole names.
    pub env: Vec<(String, String)>,
}

impl Place {
    /// On this machine, on two free ports.
    #[must_use]
    pub fn here() -> Self {
        let (http, peer) = (free_address(), free_address());
        Self { http, peer, within: Vec::new(), data: None, env: Vec::new() }
    }
}

/// A key of 64 characters.
pub(crate) fn secret(number: usize) -> String {
    KEY.repeat(4).chars().cycle().skip(number).take(64).collect()
}
