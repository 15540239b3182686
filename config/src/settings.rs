//! The settings as types, with their defaults.

use rollcall_presence::{Visibility, limits};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All settings of a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// This node.
    pub node: Node,
    /// Where clients connect.
    pub http: Http,
    /// Where other nodes connect.
    pub peer: Peer,
    /// Whom to believe.
    pub auth: Auth,
    /// How presence behaves.
    pub presence: Presence,
    /// How the cluster behaves.
    pub cluster: Cluster,
    /// What is bounded, and where.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where everything durable is kept.
    pub data_dir: PathBuf,
}

impl Default for Node {
    fn default() -> Self {
        Self { name: "n1".into(), data_dir: "rollcall-data".into() }
    }
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub listen: String,
    /// Address that other nodes and clients are told; as `listen` if absent.
    pub advertise: Option<String>,
    /// Health and metrics on another address; as `listen` if absent.
    pub ops_listen: Option<String>,
    /// Origins whose pages may call the API and open a WebSocket; `*` is any.
    pub allowed_origins: Vec<String>,
    /// How long a client may take to send a request's header, ms.
    pub header_timeout_ms: u64,
    /// How long a client may take to send a request's body, ms.
    pub body_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7700".into(),
            advertise: None,
            ops_listen: None,
            allowed_origins: Vec::new(),
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
        }
    }
}

/// Where other nodes connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peer {
    /// Address to listen on.
    pub listen: String,
    /// Address that other nodes are told; as `listen` if absent.
    pub advertise: Option<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7701".into(), advertise: None }
    }
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Required `iss` of a token, if any.
    pub issuer: Option<String>,
    /// Required `aud` of a token, if any.
    pub audience: Option<String>,
    /// The keys that sign tokens; none: one is generated as `auth.key` in the data directory, `kid` `local`, all scopes.
    pub keys: Vec<AuthKey>,
    /// A file with an HMAC key (`kid` `local`, all scopes) instead of the generated one (`--auth-key`).
    pub key_file: Option<PathBuf>,
}

/// One key that signs tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthKey {
    /// The `kid` of tokens it signs.
    pub kid: String,
    /// Its only algorithm.
    pub algorithm: Algorithm,
    /// The file: an HMAC secret, or a public key in PEM.
    pub file: PathBuf,
    /// What its tokens may be granted at most; `["user"]` if absent.
    #[serde(default = "user_scope")]
    pub scopes: Vec<Scope>,
    /// Whether tokens without `kid` are tried against it.
    #[serde(default)]
    pub default: bool,
}

fn user_scope() -> Vec<Scope> {
    vec![Scope::User]
}

/// A signature algorithm of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the registered names say it all")]
pub enum Algorithm {
    HS256,
    ES256,
    EdDSA,
    RS256,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Act as its `sub`.
    User,
    /// Act for every user.
    Service,
    /// The cluster endpoints, and all that a service may.
    Admin,
}

/// How presence behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// How long a WebSocket's session survives its connection, ms.
    pub grace_ms: u64,
    /// How long an HTTP session lives without a heartbeat, ms.
    pub session_ttl_ms: u64,
    /// How often clients are told to send a heartbeat, ms.
    pub heartbeat_ms: u64,
    /// How often a WebSocket is pinged, ms.
    pub ping_interval_ms: u64,
    /// How often a busy connection is written to at most, ms.
    pub flush_ms: u64,
    /// Whom a presence is shown to.
    pub visibility: Visibility,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            grace_ms: 15_000,
            session_ttl_ms: 90_000,
            heartbeat_ms: 30_000,
            ping_interval_ms: 20_000,
            flush_ms: 20,
            visibility: Visibility::Contacts,
        }
    }
}

/// How the cluster behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Partitions, fixed when the cluster is made.
    pub partitions: u16,
    /// Replicas a partition, one or three.
    pub replication: u8,
    /// Raft's heartbeat, ms.
    pub heartbeat_ms: u64,
    /// Raft's shortest election timeout, ms; the longest is twice that.
    pub election_ms: u64,
    /// Nodes to join; none: found a cluster of one.
    pub join: Vec<String>,
    /// The key that nodes prove membership with; `cluster.key` in the data directory if absent.
    pub key_file: Option<PathBuf>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { partitions: 32, replication: 3, heartbeat_ms: 200, election_ms: 600, join: Vec::new(), key_file: None }
    }
}

/// What is bounded, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Contacts a user.
    pub contacts: u32,
    /// Blocks a user.
    pub blocks: u32,
    /// Live sessions a user.
    pub sessions: u32,
    /// Connections a user on one node.
    pub connections_per_user: u32,
    /// Connections a node.
    pub connections: u32,
    /// Explicit watches a connection.
    pub watches: u32,
    /// History entries kept a user.
    pub history_entries: u32,
    /// Writes in flight a partition; more are answered 503.
    pub writes_in_flight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            contacts: limits::CONTACTS_MAX,
            blocks: limits::BLOCKS_MAX,
            sessions: limits::SESSIONS_MAX,
            connections_per_user: 64,
            connections: 1_000_000,
            watches: limits::WATCHES_MAX,
            history_entries: limits::HISTORY_MAX_ENTRIES,
            writes_in_flight: 4_096,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text for people, JSON for machines.
    pub format: LogFormat,
    /// What is logged, as `tracing` filters are written.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "warn,rollcall=info".into() }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
