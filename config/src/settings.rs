//! The settings as types, each declared once: what it is, type, default, bound, reason.
//!
//! A section's declaration makes the struct, its defaults and its rows in the [table](crate::table::table); the reference
//! page and the example file are generated from the same rows.

use crate::table::{Bound, Row};
use rollcall_presence::{Visibility, limits};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Declares a section: fields as `name: type = default, bound, reason;`.
macro_rules! section {
    ($(#[doc = $about:literal])+ $section:ident as $name:literal {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $bound:expr, $reason:literal;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $section {
            /// One row a setting, in the order of declaration.
            pub(crate) const ROWS: &'static [Row] = &[$(Row {
                section: $name,
                key: concat!($name, ".", stringify!($field)),
                what: concat!($($doc),+),
                bound: $bound,
                reason: $reason,
            }),+];
        }
    };
}

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

section! {
    /// This node.
    Node as "node" {
        /// Its name, unique in the cluster.
        name: String = "n1".into(), Bound::NodeName,
            "it stands in every session record and in the cluster's status";
        /// The directory where everything durable is kept.
        data_dir: PathBuf = "rollcall-data".into(), Bound::Path,
            "one process at a time holds it";
    }
}

section! {
    /// Where clients connect.
    Http as "http" {
        /// Address to listen on.
        listen: String = "127.0.0.1:7700".into(), Bound::Listen,
            "this machine only until somebody decides otherwise; port 0 takes a free one";
        /// Address that other nodes and clients are told; as `listen` if absent.
        advertise: Option<String> = None, Bound::Address { example: "presence-1.example.net:7700" },
            "what a node listens on is often not what others reach it by";
        /// Health and metrics on another address; as `listen` if absent.
        ops_listen: Option<String> = None, Bound::OptionalListen { example: "127.0.0.1:7790" },
            "they need no token, and may have to stay inside";
        /// The certificate that clients are shown, PEM, with those between it and an authority behind it.
        certificate: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/http.pem" },
            "with it clients are served over TLS only (`ops_listen` stays plain); a changed file is taken up while serving";
        /// The certificate's private key, PEM.
        private_key: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/http.key" },
            "certificate and private key are given together or not at all";
        /// Origins whose pages may call the API and open a WebSocket; `*` is any.
        allowed_origins: Vec<String> = Vec::new(), Bound::Origins,
            "a browser sends tokens for any page that asks; none is allowed by default";
        /// How long a client may take to send a request's header, ms.
        header_timeout_ms: u64 = 10_000, Bound::Integer { min: 10, max: 600_000, unit: "ms" },
            "slow headers must not hold connections for ever";
        /// How long a client may take to send a request's body, ms.
        body_timeout_ms: u64 = 10_000, Bound::Integer { min: 10, max: 600_000, unit: "ms" },
            "slow bodies must not hold connections for ever";
        /// Addresses of proxies whose `X-Forwarded-For` is believed; the client is the last address in it that is none of these.
        trusted_proxies: Vec<String> = Vec::new(), Bound::IpAddresses,
            "anybody can send that header; only a proxy of one's own says the truth in it";
    }
}

section! {
    /// Where other nodes connect.
    Peer as "peer" {
        /// Address to listen on.
        listen: String = "127.0.0.1:7701".into(), Bound::Listen,
            "this machine only until somebody decides otherwise; port 0 takes a free one";
        /// Address that other nodes are told; as `listen` if absent.
        advertise: Option<String> = None, Bound::Address { example: "presence-1.example.net:7701" },
            "what a node listens on is often not what others reach it by";
        /// This node's certificate, PEM, shown to other nodes whether it dials or is dialled.
        certificate: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/peer.pem" },
            "with it links between nodes are encrypted; the cluster key is demanded with and without";
        /// The certificate's private key, PEM.
        private_key: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/peer.key" },
            "certificate, private key and authorities are given together or not at all";
        /// The authorities whose certificates other nodes may show, PEM.
        authorities: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/peer-ca.pem" },
            "an authority of the cluster's own keeps everybody else's certificates out";
    }
}

section! {
    /// Whom to believe.
    Auth as "auth" {
        /// Required `iss` of a token, if any.
        issuer: Option<String> = None, Bound::OptionalText { example: "https://login.example.net" },
            "tokens of another system signed with the same key are refused";
        /// Required `aud` of a token, if any.
        audience: Option<String> = None, Bound::OptionalText { example: "rollcall" },
            "tokens meant for another service are refused";
        /// The keys that sign tokens; none: one is generated as `auth.key` in the data directory, `kid` `local`, all scopes.
        keys: Vec<AuthKey> = Vec::new(), Bound::Keys,
            "a `kid` names one key, and a token without `kid` must not be tried against several";
        /// A file with an HMAC key (`kid` `local`, all scopes) instead of the generated one (`--auth-key`).
        key_file: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/auth.key" },
            "nodes of one cluster share the key";
    }
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

section! {
    /// How presence behaves.
    Presence as "presence" {
        /// How long a WebSocket's session survives its connection, ms.
        grace_ms: u64 = 15_000, Bound::Integer { min: 0, max: 3_600_000, unit: "ms" },
            "a tunnel or a change of network should not show as offline; a closed lid should";
        /// How long an HTTP session lives without a heartbeat, ms.
        session_ttl_ms: u64 = 90_000, Bound::Integer { min: 100, max: 86_400_000, unit: "ms" },
            "two heartbeats may be lost; must be more than twice `presence.heartbeat_ms`";
        /// How often clients are told to send a heartbeat, ms; unless set, a third of a `presence.session_ttl_ms` that is shorter than 90000.
        heartbeat_ms: u64 = 30_000, Bound::Integer { min: 20, max: 43_200_000, unit: "ms" },
            "a heartbeat costs a mobile client its radio";
        /// How often a WebSocket is pinged, ms; silent for twice that plus 5 s is dead.
        ping_interval_ms: u64 = 20_000, Bound::Integer { min: 50, max: 3_600_000, unit: "ms" },
            "shorter than the idle time-out of common proxies (60 s) and mobile networks (30 s)";
        /// How often a busy connection is written to at most, ms.
        flush_ms: u64 = 20, Bound::Integer { min: 0, max: 10_000, unit: "ms" },
            "in bursts it divides the socket writes; nobody sees 20 ms";
        /// Whom a presence is shown to.
        visibility: Visibility = Visibility::Contacts, Bound::OneOf(&["contacts", "everyone"]),
            "seen by nobody unless asked for";
    }
}

section! {
    /// How the cluster behaves.
    Cluster as "cluster" {
        /// Partitions, fixed when the cluster is made.
        partitions: u16 = 32, Bound::Integer { min: 1, max: limits::PARTITIONS_MAX as u64, unit: "" },
            "idle cost grows with each, and a node can lead none that does not exist: 32 feed ten nodes";
        /// Replicas a partition, one or three.
        replication: u8 = 3, Bound::OneOfIntegers(&[1, 3]),
            "three survive the loss of any one; two would survive none";
        /// Raft's heartbeat, ms.
        heartbeat_ms: u64 = 200, Bound::Integer { min: 10, max: 10_000, unit: "ms" },
            "idle cost falls with it, failover takes longer with it";
        /// Raft's shortest election timeout, ms; the longest is twice that.
        election_ms: u64 = 600, Bound::Integer { min: 30, max: 60_000, unit: "ms" },
            "two heartbeats may be lost; must be at least three times `cluster.heartbeat_ms`";
        /// Nodes to join; none: found a cluster of one.
        join: Vec<String> = Vec::new(), Bound::Addresses,
            "a node with this never founds a cluster";
        /// The key that nodes prove membership with; `cluster.key` in the data directory if absent.
        key_file: Option<PathBuf> = None, Bound::OptionalPath { example: "/etc/rollcall/cluster.key" },
            "nodes of one cluster share the key";
        /// How long a node may be gone before its replicas are rebuilt on others, ms.
        replace_after_ms: u64 = 300_000, Bound::Integer { min: 1_000, max: 604_800_000, unit: "ms" },
            "longer than a reboot, shorter than the wait for a second failure";
        /// Within which time after `DELETE /v1/users/{user}` no log holds anything of the user, s.
        erase_within_s: u64 = 3_600, Bound::Integer { min: 1, max: 86_400, unit: "s" },
            "at half of it the state of a partition is recorded and its log given up; a follower that is further behind gets all anew";
    }
}

section! {
    /// What is bounded, and where.
    Limits as "limits" {
        /// Contacts a user.
        contacts: u32 = limits::CONTACTS_MAX, Bound::Integer { min: 1, max: 100_000, unit: "" },
            "each connection of the user watches all of them";
        /// Blocks a user.
        blocks: u32 = limits::BLOCKS_MAX, Bound::Integer { min: 1, max: 100_000, unit: "" },
            "they are read whenever a watch is checked";
        /// Live sessions a user.
        sessions: u32 = limits::SESSIONS_MAX, Bound::Integer { min: 1, max: 256, unit: "" },
            "all of them stand in the user's record, which every change rewrites";
        /// Connections a user on one node.
        connections_per_user: u32 = 64, Bound::Integer { min: 1, max: 100_000, unit: "" },
            "one user's tabs must not take the node";
        /// WebSockets and event streams a node; more are answered 503.
        connections: u32 = 1_000_000, Bound::Integer { min: 1, max: 10_000_000, unit: "" },
            "memory: up to 20 KiB each with 44 friends watched";
        /// Explicit watches a connection.
        watches: u32 = limits::WATCHES_MAX, Bound::Integer { min: 1, max: 100_000, unit: "" },
            "a connection holds one pending state for each";
        /// History entries kept a user.
        history_entries: u32 = limits::HISTORY_MAX_ENTRIES, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "what one flapping user may hold on disk";
        /// How long history entries are kept, s.
        history_age_s: u64 = limits::HISTORY_AGE_S, Bound::Integer { min: 1, max: 315_360_000, unit: "s" },
            "thirty days answer what happened lately; who was where for longer is nobody's business unless decided so";
        /// Writes in flight a partition; more are answered 503.
        writes_in_flight: u32 = 4_096, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "about one second of what a disk takes; beyond it waiting helps nobody";
        /// Pages of the store kept in memory, bytes.
        store_cache_bytes: u64 = 16 * 1_024 * 1_024, Bound::Integer { min: 1_048_576, max: 68_719_476_736, unit: "bytes" },
            "an empty node stays below 100 MiB; more pays where many offline users are read";
        /// Requests and frames a user and second, on one node; 0: no limit. Tokens of scope `service` or `admin` are not limited.
        user_requests_per_s: u32 = 1_000, Bound::Integer { min: 0, max: 1_000_000, unit: "" },
            "no person needs a tenth of it; a program that does is a service, or holds up nobody but itself";
        /// Requests and frames that a user may send at once, after a rest.
        user_requests_burst: u32 = 5_000, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "a client that comes back sends a watch for each 500 friends, and a status";
        /// Ids that a user may ask for a second, on one node; 0: no limit.
        user_ids_per_s: u32 = 10_000, Bound::Integer { min: 0, max: 10_000_000, unit: "" },
            "asking for many ids is how users are enumerated, whatever the number of requests";
        /// Ids that a user may ask for at once, after a rest; a request for more costs all of them.
        user_ids_burst: u32 = 50_000, Bound::Integer { min: 1, max: 10_000_000, unit: "" },
            "ten connections that watch 5,000 users each may come back together";
        /// Refused tokens and malformed requests an address and second; 0: no limit.
        address_refusals_per_s: u32 = 200, Bound::Integer { min: 0, max: 1_000_000, unit: "" },
            "guessing gets slow; a whole company behind one address, whose tokens expire together, does not";
        /// The same at once, after a rest.
        address_refusals_burst: u32 = 4_000, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "the tokens of many clients behind one address may expire together";
        /// Requests an address and second; 0: no limit.
        address_requests_per_s: u32 = 0, Bound::Integer { min: 0, max: 10_000_000, unit: "" },
            "behind a load balancer all clients share its address; see `http.trusted_proxies`";
        /// The same at once, after a rest.
        address_requests_burst: u32 = 10_000, Bound::Integer { min: 1, max: 10_000_000, unit: "" },
            "an office that starts work at nine";
        /// WebSockets and event streams that are being opened at once on a node; more are told when to come back.
        connects_in_flight: u32 = 2_048, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "each is a write to a quorum: about half a second of them, so that nobody waits until it gives up";
        /// Connections a node that have not sent a whole first head yet; a new one waits until the oldest has had 1 s, which then
        /// gives way.
        heads_in_flight: u32 = 2_048, Bound::Integer { min: 1, max: 1_000_000, unit: "" },
            "a head takes milliseconds; connections that say nothing must not take the places of those that do";
    }
}

section! {
    /// What is logged, and how.
    Log as "log" {
        /// Text for people, JSON for machines.
        format: LogFormat = LogFormat::Text, Bound::OneOf(&["text", "json"]),
            "a newcomer reads it first";
        /// What is logged, as `tracing` filters are written.
        filter: String = "warn,openraft=error,rollcall=info".into(), Bound::Text,
            "our own milestones, and others' troubles; openraft warns of every election";
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
