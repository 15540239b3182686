//! The settings of a node: each declared once, with type, default, range and reason.
//!
//! Defaults < file (TOML) < environment (`ROLLCALL_PRESENCE__GRACE_MS=15000`) < options of the program.

pub mod settings;

pub use settings::{
    Algorithm, Auth, AuthKey, Cluster, Http, Limits, Log, LogFormat, Node, Peer, Presence, Scope, Settings,
};
