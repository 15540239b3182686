//! The contract on three nodes.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "contract/mod.rs"]
mod contract;

/// How many nodes every stage has.
const NODES: usize = 3;
