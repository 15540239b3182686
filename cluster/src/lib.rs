//! The partitions of this node: a Raft group each, over one power-safe store.
//!
//! Relies on `presence` for what commands mean. Promises that an outcome handed out is durable on a quorum, that entries are
//! applied once and in order, and that nothing acknowledged is lost without the next start saying so.
#![cfg_attr(not(test), deny(clippy::expect_used))]

#[cfg(test)]
extern crate self as rollcall_cluster;

pub mod backup;
mod cluster;
mod control;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod groups_trials;
mod hosting;
mod limits;
mod observer;
mod options;
mod partition;
mod peers;
mod placement_group;
pub mod planted;
mod probation;
mod proposer;
mod raft;
pub mod recover;
mod replica;
mod role;
mod side;
mod starting;
mod state;
mod store;
#[cfg(test)]
#[allow(unreachable_pub, reason = "integration tests use it too")]
#[path = "../tests/bench/switchboard.rs"]
mod switchboard;
mod transfer;
mod upkeep;

pub use cluster::{Cluster, Identity};
pub use control::{AdminError, ClusterStanding};
pub use observer::Observer;
pub use options::{HandingOver, MakeLink, Options, Pace, RoundPart, Surroundings, WallClock};
pub use partition::{NotHeld, NotHome, Partition, PartitionReport, ReplicaReport};
pub use peers::{
    Dial, GroupSnapshot, JoinFailure, KeepAlive, LeaderVote, LinkError, NoPeers, NoPresence, Peer, PeerAt, PeerLink,
    PeerSide, Peers, PeersError, PeersOptions, PresenceLane, SnapshotAnswer, TlsFiles,
};
pub use proposer::ProposeError;
pub use raft::link::{Ask, Told};
pub use role::Role;
pub use state::{
    read_error::ReadError,
    view::{Expired, View},
};
pub use store::disk;
pub use store::{opening::StartError, writer::OnFatal};
