//! Black-box tests of the program `rollcall`: what its users see, judged by the contract and nothing else.
//!
//! This library starts and stops real nodes, speaks HTTP and WebSocket to them, and waits for conditions with deadlines.
//! Only where links are cut do nodes run in the test's own process. It promises that nothing outlives a test run: no process,
//! no directory. The tests stand in `tests/`, a file a subject.
#![allow(clippy::expect_used, reason = "all of this crate is test code: a failed expectation is a failed test")]

mod audience;
pub mod chaos;
mod client;
mod cluster;
mod cluster_status;
mod events;
pub mod history;
mod in_process;
pub mod invariants;
mod judge;
mod links;
mod load;
mod output;
mod place;
mod ports;
mod program;
mod raw;
mod reaper;
mod server;
mod socket;
mod stage;
mod token;
mod upgrade;
mod wait;

pub use audience::{Audience, Round, resident_kib};
pub use client::{Client, Reply, befriend};
pub use cluster::{Cluster, ClusterPlan, FORMING_MAX};
pub use cluster_status::ClusterStatus;
pub use events::{Events, Told};
pub use in_process::{TestCluster, TestPlan};
pub use links::{Cut, Links};
pub use load::{Load, LoadPlan, Roll, Sightings, Verdict, Written};
pub use output::Output;
pub use place::Place;
pub use program::{Piped, program, use_program};
pub use raw::exchange;
pub use server::{Launch, Refusal, Server};
pub use socket::{Ended, Event, RefusedHandshake, Socket};
pub use stage::{Stage, StagePlan};
pub use token::{Claims, now_ms, now_s};
pub use wait::{DEADLINE, eventually, eventually_within};
