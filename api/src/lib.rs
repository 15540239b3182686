//! The contract's outside: HTTP, WebSocket and Server-Sent Events, authentication, wire types, and one map from errors to HTTP.
//!
//! Sees the presence service only as the trait [`PresenceService`](service::PresenceService). A node loads its [`Keys`],
//! makes an [`Api`] and hands listeners to [`serve`]; everything else here is private.

mod api;
mod auth;
mod certificates;
mod client_address;
mod cluster;
mod connect;
mod cors;
mod cursor;
mod document;
mod envelope;
mod events;
pub mod figures;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod head;
mod heads;
mod health;
mod idempotency;
mod key_changes;
pub mod keys;
mod lists;
mod members;
mod meta;
mod meter;
mod metrics;
mod page_headers;
mod pages;
mod privacy;
mod problem;
mod profile;
mod rates;
mod reading;
mod request;
mod request_id;
mod router;
mod server;
pub mod service;
mod sessions;
mod stall;
mod status;
mod token;
mod verified;
pub mod wire;
mod wire_stream;

pub use api::{Api, ApiOptions, Connections};
pub use certificates::{CertificateFiles, Certificates, CertificatesError};
pub use keys::Keys;
pub use server::{bind, serve, serve_ops};
pub use token::{MintError, mint};
