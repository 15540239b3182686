//! The contract's outside: HTTP, WebSocket and Server-Sent Events, authentication, wire types, and one map from errors to HTTP.
//!
//! Sees the presence service only as the trait [`PresenceService`](service::PresenceService).

pub mod service;
pub mod wire;
