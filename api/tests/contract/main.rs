//! The contract from outside, over real sockets, on a presence service in memory: one module a section of `API.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "helpers of tests may fail a test")]

mod fake;
mod stage;

mod general;
