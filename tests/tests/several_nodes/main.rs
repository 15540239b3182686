//! Clusters of several processes, as their operators and clients see them: a module a subject.
//!
//! One binary, since a cluster waits until no other one of its process runs: elections are timed.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod alone;
mod cluster_status;
mod dev;
mod drain;
mod failover;
mod forming;
mod joining;
mod replaying;
mod rolling_restart;
