//! The settings of a node: each declared once, with type, default, bound and reason.
//!
//! Defaults < file (TOML) < environment (`ROLLCALL_PRESENCE__GRACE_MS=15000`) < options of the program.

pub mod load;
pub mod reference;
pub mod settings;
pub mod table;
pub mod validate;

pub use load::{CLIENT_VARIABLES, Effective, LoadError, Loaded, Origin, Override, load};
pub use settings::{
    Algorithm, Auth, AuthKey, Cluster, Http, Limits, Log, LogFormat, Node, Peer, Presence, Scope, Settings,
};
pub use validate::{InvalidSettings, Violation};
