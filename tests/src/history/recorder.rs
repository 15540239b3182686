//! The handle that all clients of a live run write their history through.

use super::{Fault, History, Life, Micros, OpKind, Outcome, Promises, Record, Sign};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

#[derive(Debug)]
struct Inner {
    begun: Instant,
    history: Mutex<History>,
    /// Nodes' names by their addresses.
    names: Mutex<BTreeMap<String, String>>,
    acknowledged: AtomicUsize,
}

/// Writes a history. Cloned handles write the same one; its clock begins with it.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Inner>);

/// A fault that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(usize);

impl Recorder {
    /// An empty history, from now on. `addresses` are the nodes' names with `host:port` for clients.
    #[must_use]
    pub fn new(mut promises: Promises, addresses: &[(String, String)]) -> Self {
        if promises.nodes.is_empty() {
            promises.nodes = addresses.iter().map(|(name, _)| name.clone()).collect();
        }
        let names = addresses.iter().map(|(name, address)| (address.clone(), name.clone())).collect();
        Self(Arc::new(Inner {
            begun: Instant::now(),
            history: Mutex::new(History::new(promises)),
            names: Mutex::new(names),
            acknowledged: AtomicUsize::new(0),
        }))
    }

    /// Time since the run began, µs.
    #[must_use]
    pub fn now(&self) -> Micros {
        Micros::try_from(self.0.begun.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// The name of the node at `address`; the address itself, if nobody named it.
    #[must_use]
    pub fn name_of(&self, address: &str) -> String {
        let names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(address).cloned().unwrap_or_else(|| address.to_owned())
    }

    /// Names one more node.
    pub fn name(&self, name: &str, address: &str) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(address.to_owned(), name.to_owned());
    }

    /// Writes a record down.
    pub fn push(&self, record: Record) {
        if matches!(&record, Record::Op(op) if op.kind == OpKind::SetStatus && op.outcome == Outcome::Ok) {
            self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.lock().push(record);
    }

    /// How many statuses were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Looks at what is written so far.
    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.lock())
    }

    /// A sign of the life of an HTTP session, now, or of its end.
    pub fn session(&self, user: &str, sign: Sign, node: &str) {
        let lasts_us = self.lock().promises.ttl_us;
        self.life(user, sign, node, lasts_us);
    }

    /// A sign of the life of a connection, now, or of its end.
    pub fn connection(&self, user: &str, sign: Sign, node: &str) {
        let lasts_us = self.lock().promises.grace_us;
        self.life(user, sign, node, lasts_us);
    }

    fn life(&self, user: &str, sign: Sign, node: &str, lasts_us: Micros) {
        let mut history = self.lock();
        let life = Life { user: user.into(), at: self.now(), sign, lasts_us, node: node.into() };
        history.push(Record::Life(life));
    }

    /// A fault has taken effect on `nodes`.
    #[must_use]
    pub fn fault_begins(&self, kind: &str, nodes: &[&str]) -> FaultId {
        let nodes = nodes.iter().map(|&n| n.to_owned()).collect();
        let mut history = self.lock();
        let fault = Fault { kind: kind.into(), nodes, start: self.now(), end: None };
        // Faults are few, and a run without one of them cannot be judged: they are never left out.
        history.faults.push(fault);
        FaultId(history.faults.len() - 1)
    }

    /// A fault is about to be taken back.
    pub fn fault_ends(&self, fault: FaultId) {
        let mut history = self.lock();
        let now = self.now();
        if let Some(fault) = history.faults.get_mut(fault.0) {
            fault.end = Some(now);
        }
    }

    /// Nobody writes any more, and everybody had time to hear of all.
    pub fn quiet(&self) {
        let at = self.now();
        self.push(Record::Quiet { at });
    }

    /// The history as it is now.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
