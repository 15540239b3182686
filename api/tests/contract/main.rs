//! The contract from outside, over real sockets, on a presence service in memory: one module a part of `API.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "helpers of tests may fail a test")]

mod fake;
mod stage;

mod authentication;
mod cluster;
mod endings;
mod errors;
mod events;
mod frames;
mod general;
mod handshake;
mod hostile;
mod keys;
mod lists;
mod pages;
mod reading;
mod rotation;
mod sessions;
mod setting;
mod slow;
mod tls;
