//! Histories: what clients asked for and were shown while things happened to a cluster, for checkers to judge afterwards.
//!
//! [`History`] is plain data, with or without a running server: what writes one pushes [`Record`]s, in any order of kinds and,
//! within a kind, by rising time. [`Recorder`] is the handle that clients of a live run share. `invariants` judges.

mod file;
mod observed;
mod person;
mod promises;
mod record;
mod recorder;
mod sampling;
mod settling;
mod watcher;
mod writer;

pub use observed::{Observed, ObservedPlan};
pub use person::RecordedPerson;
pub use promises::Promises;
pub use record::{
    CUT_OFF, Entry, Fault, FinalRead, KILL, Life, Link, Micros, Op, OpKind, Outcome, PAUSE, Pages, Phase, Presence,
    Record, Role, Sample, Sighting, Sign, Source,
};
pub use recorder::{FaultId, Recorder};
pub use sampling::{sample_process, sample_roles};
pub use watcher::RecordedWatcher;
pub use writer::RecordedWriter;

use std::collections::BTreeMap;

/// Most records of a history: an hour of twenty writers and watchers, some 500 MB; more are counted and left out.
pub const RECORDS_MAX: usize = 2_000_000;

/// All records of a run, by kind. Within a kind times rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What must hold.
    pub promises: Promises,
    /// What clients asked for, by the time of the answer.
    pub ops: Vec<Op>,
    /// Connections of watchers.
    pub links: Vec<Link>,
    /// What watchers were shown.
    pub sightings: Vec<Sighting>,
    /// Signs of life.
    pub lives: Vec<Life>,
    /// What was done to the cluster.
    pub faults: Vec<Fault>,
    /// Who led what.
    pub roles: Vec<Role>,
    /// What nodes say in the end.
    pub reads: Vec<FinalRead>,
    /// Histories in the end.
    pub pages: Vec<Pages>,
    /// What nodes used.
    pub samples: Vec<Sample>,
    /// Since when all is quiet.
    pub quiet_at: Option<Micros>,
    /// Records that were left out.
    pub dropped: usize,
}

impl History {
    /// An empty history that is to be held to `promises`.
    #[must_use]
    pub fn new(promises: Promises) -> Self {
        Self { promises, ..Self::default() }
    }

    /// How many records it has that grow with the run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
            + self.links.len()
            + self.sightings.len()
            + self.lives.len()
            + self.faults.len()
            + self.roles.len()
            + self.reads.len()
            + self.pages.len()
            + self.samples.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a record in; beyond [`RECORDS_MAX`] only counts it, which makes the run invalid.
    pub fn push(&mut self, record: Record) {
        self.push_within(record, RECORDS_MAX);
    }

    fn push_within(&mut self, record: Record, most: usize) {
        match record {
            Record::Promises(promises) => self.promises = promises,
            Record::Quiet { at } => self.quiet_at = Some(at),
            Record::Dropped { count } => self.dropped += count,
            _ if self.len() >= most => self.dropped += 1,
            Record::Op(op) => self.ops.push(op),
            Record::Link(link) => self.links.push(link),
            Record::Sighting(sighting) => self.sightings.push(sighting),
            Record::Life(life) => self.lives.push(life),
            Record::Fault(fault) => self.faults.push(fault),
            Record::Role(role) => self.roles.push(role),
            Record::Read(read) => self.reads.push(read),
            Record::Pages(pages) => self.pages.push(pages),
            Record::Sample(sample) => self.samples.push(sample),
        }
    }

    /// Acknowledged ops of this kind.
    pub fn acknowledged(&self, kind: OpKind) -> impl Iterator<Item = &Op> {
        self.ops.iter().filter(move |op| op.kind == kind && op.outcome == Outcome::Ok)
    }

    /// The ops of each user, by the time of the answer.
    #[must_use]
    pub fn ops_by_user(&self) -> BTreeMap<&str, Vec<&Op>> {
        grouped(&self.ops, |op| op.user.as_str())
    }

    /// What each watcher was shown of each subject, by time.
    #[must_use]
    pub fn sightings_by_watch(&self) -> BTreeMap<(&str, &str), Vec<&Sighting>> {
        grouped(&self.sightings, |s| (s.watcher.as_str(), s.subject.as_str()))
    }

    /// The signs of each user's life, by time.
    #[must_use]
    pub fn lives_by_user(&self) -> BTreeMap<&str, Vec<&Life>> {
        grouped(&self.lives, |life| life.user.as_str())
    }

    /// Each watcher's connections: number, node, from, to (never, if it lasted).
    #[must_use]
    pub fn connections(&self) -> BTreeMap<&str, Vec<Connection<'_>>> {
        let mut all: BTreeMap<&str, Vec<Connection<'_>>> = BTreeMap::new();
        for link in &self.links {
            let of_watcher = all.entry(&link.watcher).or_default();
            if link.up {
                of_watcher.push(Connection { link, until: Micros::MAX });
            } else if let Some(ended) = of_watcher.iter_mut().find(|c| c.link.connection == link.connection) {
                ended.until = link.at;
            }
        }
        all
    }

    /// Whether no fault was under way in any moment from `from` to `to`, nor had ended within `rest` before it.
    #[must_use]
    pub fn is_calm(&self, from: Micros, to: Micros, rest: Micros) -> bool {
        !self.faults.iter().any(|f| f.start <= to && f.end.unwrap_or(Micros::MAX).saturating_add(rest) >= from)
    }
}

/// A watcher's connection.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// How it came.
    pub link: &'a Link,
    /// When it went; [`Micros::MAX`] if it lasted to the end.
    pub until: Micros,
}

fn grouped<'a, T, K: Ord>(all: &'a [T], key: impl Fn(&'a T) -> K) -> BTreeMap<K, Vec<&'a T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for one in all {
        groups.entry(key(one)).or_default().push(one);
    }
    groups
}
