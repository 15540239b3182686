//! What a run may be told.

use clap::Parser;
use rollcall_tests::chaos::{ChaosPlan, Kind};
use std::{path::PathBuf, time::Duration};

/// Real processes under faults, judged.
#[derive(Debug, Parser)]
#[command(after_help = kinds())]
pub(crate) struct Options {
    /// The program `rollcall`.
    pub(crate) program: PathBuf,
    /// Nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: u8,
    /// Passes over all faults are made until so much time has passed.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Exactly this many passes instead.
    #[arg(long)]
    rounds: Option<usize>,
    /// The order, victims and lengths of faults are drawn from it.
    #[arg(long)]
    seed: Option<u64>,
    /// Names, with commas between; or `all`.
    #[arg(long, default_value = "all", value_parser = list)]
    faults: Kinds,
    /// Two faults at a time.
    #[arg(long)]
    overlap: bool,
    /// Users who write.
    #[arg(long, default_value_t = 24)]
    writers: usize,
    /// Users who live by heartbeats over HTTP.
    #[arg(long, default_value_t = 8)]
    heartbeats: usize,
    /// Keeps the history there, whatever comes of it.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

/// A list of faults, as one argument.
#[derive(Debug, Clone)]
struct Kinds(Vec<Kind>);

fn list(words: &str) -> Result<Kinds, String> {
    Kind::list(words).map(Kinds)
}

fn kinds() -> String {
    let lines: Vec<String> = Kind::all().map(|kind| format!("  {kind:<16} {}", kind.what())).collect();
    format!("Faults:\n{}", lines.join("\n"))
}

impl Options {
    /// The run that is meant. Without a seed it is drawn from the clock, and printed as every seed is.
    pub(crate) fn plan(&self) -> ChaosPlan {
        let drawn = rollcall_tests::now_ms() % 1_000_000;
        ChaosPlan {
            nodes: usize::from(self.nodes),
            lasting: Duration::from_secs(self.seconds),
            passes: self.rounds,
            seed: self.seed.unwrap_or(drawn),
            kinds: self.faults.0.clone(),
            overlap: self.overlap,
            writers: self.writers,
            heartbeats: self.heartbeats,
            ..ChaosPlan::default()
        }
    }
}
