//! Watches a run: what clients were answered, what every replica published.
//!
//! Each kind of promise is a check with a name, by which a planted fault is expected to be caught.

use super::history::{Read, Write, Wrong};
use rollcall_cluster::Observer;
use rollcall_presence::{Answer, Outcome, PartitionId, UserId};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

/// A failed run tells of so many findings at most: the first one is what counts.
const FINDINGS_MAX: usize = 20;

/// All that is remembered of a run.
#[derive(Default)]
pub struct Seen {
    pub writes: BTreeMap<UserId, Vec<Write>>,
    pub reads: BTreeMap<UserId, Vec<Read>>,
    /// Contacts that were added with success, by user.
    pub contacts: BTreeMap<UserId, Vec<UserId>>,
    pub wrong: Vec<Wrong>,
    /// Who acknowledged writes of a partition's term.
    homes: BTreeMap<(PartitionId, u64), u64>,
    /// What was published under a version, by user.
    published: BTreeMap<(UserId, u64), String>,
    log: Log,
}

/// What happened, as lines: summed up always, kept when asked for.
struct Log {
    digest: u64,
    lines: u64,
    is_verbose: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, lines: 0, is_verbose: false }
    }
}

impl Seen {
    pub fn verbose(is_verbose: bool) -> Self {
        Self { log: Log { is_verbose, ..Log::default() }, ..Self::default() }
    }

    /// Notes that something happened, `at` µs after the start.
    #[allow(clippy::print_stdout, reason = "it was asked for")]
    pub fn note(&mut self, at: u64, what: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = write!(line, "{:>10.3} s  {what}", at as f64 / 1e6);
        for byte in line.bytes() {
            self.log.digest = (self.log.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.log.lines += 1;
        if self.log.is_verbose {
            println!("{line}");
        }
    }

    /// What sums up all that happened: two runs with the same digest were the same.
    pub fn digest(&self) -> u64 {
        self.log.digest
    }

    /// Notes what is wrong.
    pub fn blame(&mut self, at: u64, check: &'static str, why: String) {
        self.note(at, format_args!("WRONG {check}: {why}"));
        if self.wrong.len() < FINDINGS_MAX {
            self.wrong.push((check, why));
        }
    }

    /// `node` acknowledged a write that it had made as the home of `id` in `term`.
    pub fn acknowledged(&mut self, at: u64, node: u64, id: PartitionId, term: u64) {
        let home = *self.homes.entry((id, term)).or_insert(node);
        if home != node {
            self.blame(at, "one-home", format!("n{home} and n{node} both acknowledged in term {term} of {id}"));
        }
    }
}

/// The term that a text was made in, if it says so.
fn term_of(text: &str) -> Option<u64> {
    text.split_once('@').and_then(|(_, term)| term.parse().ok())
}

/// What one life of a node publishes.
pub struct Witness {
    pub node: u64,
    pub seen: Arc<Mutex<Seen>>,
    pub now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Asked at each publication whether the node is still alive; it may die by that.
    pub alive: Arc<dyn Fn() -> bool + Send + Sync>,
    pub versions: Mutex<BTreeMap<UserId, u64>>,
}

impl Observer for Witness {
    fn applied(&self, id: PartitionId, term: u64, outcomes: &[Arc<Outcome>]) {
        if !(self.alive)() {
            return;
        }
        let (at, mut seen) = ((self.now)(), super::held(&self.seen));
        let count = outcomes.len();
        seen.note(at, format_args!("n{} applies {count} commands to {id} in term {term}", self.node));
        for outcome in outcomes {
            if let Ok(Answer::Status { setting, .. }) = &outcome.answer
                && let Some(made) = setting.text.as_deref().and_then(term_of).filter(|made| *made != term)
            {
                let text = setting.text.as_deref().unwrap_or_default();
                seen.blame(
                    at,
                    "one-home",
                    format!("{text} was made in term {made} and applied in term {term} of {id}"),
                );
            }
            let Some(presence) = &outcome.presence else { continue };
            let shown = format!("{presence:?}");
            let key = (outcome.user.clone(), presence.version);
            let before = seen.published.insert(key, shown.clone());
            let last = super::held(&self.versions).insert(outcome.user.clone(), presence.version);
            // A replica that was dropped and is built anew goes through what was published long ago.
            if before.is_none() && last.is_some_and(|last| last >= presence.version) {
                let now = presence.version;
                seen.blame(
                    at,
                    "versions-rise",
                    format!("n{}: {} went from {last:?} to {now}", self.node, outcome.user),
                );
            }
            if before.as_ref().is_some_and(|before| *before != shown) {
                let why = format!("n{}: {before:?} was published before, now {shown}", self.node);
                seen.blame(at, "versions-rise", why);
            }
        }
    }
}
