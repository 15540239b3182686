//! The contract, section by section, checked from outside as a client would: on one node and on three.
//!
//! `NODES` of the test binary says on how many. Every request of a client goes to the next node in turn, so that "reads see
//! writes on any node" is in every test. Stages are shared by all tests of the binary that need the same settings.

mod authentication;
mod cluster_endpoints;
mod connection_endings;
mod contacts;
mod deletion;
mod errors;
mod events;
mod frames;
mod history;
mod idempotency;
mod idempotent_writes;
mod pages;
mod presence_rules;
mod reading;
mod requests;
mod resuming;
mod sessions;
mod sizes;
mod sockets;
mod status;
mod streams;
mod visibility;
mod visibility_matrix;
mod watching;
mod websocket;

use rollcall_tests::Stage;
use std::sync::OnceLock;

/// TTL of an HTTP session on the brief stage, ms.
const TTL_MS: u64 = 1_500;
/// Pace of heartbeats on the brief stage, ms.
const HEARTBEAT_MS: u64 = 500;
/// Grace of a lost connection on the brief stage, ms.
const GRACE_MS: u64 = 1_000;
/// Pace of pings on the brief stage, ms.
const PING_MS: u64 = 1_000;
/// A grace that outlives every test, ms.
const LONG_GRACE_MS: u64 = 60_000;

/// Nodes with the settings that the contract names, but for a grace that outlives every test.
fn usual() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let plan = Stage::of(crate::NODES).set("http.allowed_origins", r#"["https://app.example"]"#);
        plan.set("presence.grace_ms", LONG_GRACE_MS).start()
    })
}

/// Nodes on which sessions, graces and pings are short.
fn brief() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let plan = Stage::of(crate::NODES).set("presence.session_ttl_ms", TTL_MS);
        let plan = plan.set("presence.heartbeat_ms", HEARTBEAT_MS).set("presence.grace_ms", GRACE_MS);
        plan.set("presence.ping_interval_ms", PING_MS).start()
    })
}

/// Nodes on which everybody sees everybody.
fn open() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| Stage::of(crate::NODES).set("presence.visibility", "everyone").start())
}
