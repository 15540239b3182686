//! Chaos: real processes of a cluster under a recorded load, while faults come and go; healed, settled, and judged.
//!
//! [`run`] does all of it from a [`ChaosPlan`] and gives a [`Report`]. Which faults come when is drawn from the plan's seed
//! ([`Schedule`]); what happens then is the machine's. A fault that this machine cannot inject is reported as not run.

mod ground;
mod heartbeats;
mod inject;
mod kind;
mod members;
mod network;
mod report;
mod run;
mod schedule;
mod store_damage;
mod system;
mod volume;

pub use ground::NotRun;
pub use kind::{Kind, Need};
pub use report::{Injected, Report, all_written_after};
pub use run::run;
pub use schedule::{Round, Schedule, Step};

use std::time::Duration;

/// `presence.session_ttl_ms` of a run: short enough that a pause outlasts it.
pub const TTL_MS: u64 = 10_000;

/// What is to be done to which cluster.
#[derive(Debug, Clone)]
pub struct ChaosPlan {
    /// Nodes: three or five.
    pub nodes: usize,
    /// Passes are made until so much time has passed, at least one.
    pub lasting: Duration,
    /// Exactly this many passes, whatever time they take.
    pub passes: Option<usize>,
    /// From which all is drawn.
    pub seed: u64,
    /// The kinds of faults of each pass.
    pub kinds: Vec<Kind>,
    /// Whether faults overlap.
    pub overlap: bool,
    /// Users who write and are connected.
    pub writers: usize,
    /// Users who live by heartbeats alone.
    pub heartbeats: usize,
    /// A writer's pause between an answer and its next request.
    pub pace: Duration,
    /// How many times the promised time everything may take: 1 for an optimised build on an idle machine.
    pub slack: u64,
}

impl Default for ChaosPlan {
    fn default() -> Self {
        Self {
            nodes: 3,
            lasting: Duration::ZERO,
            passes: None,
            seed: 1,
            kinds: vec![Kind::Kill],
            overlap: false,
            writers: 24,
            heartbeats: 8,
            pace: Duration::from_millis(100),
            slack: 4,
        }
    }
}
