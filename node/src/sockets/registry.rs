//! The connections of this node by number, and what homes tell them.

use super::{following::Follow, outbox::Outbox, subject::Subjects};
use crate::home::request::NodeNote;
use parking_lot::Mutex;
use rollcall_api::service::{GoodbyeReason, ServiceError};
use rollcall_presence::{ConnectionAt, Holder, PartitionId, SessionId, UnixMs, UserId, partition_of};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How many connections this node serves at most.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// On this node.
    pub node: u32,
    /// Of one user on this node.
    pub user: u32,
}

/// A connection as the registry knows it.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its pending side.
    pub outbox: Arc<Outbox>,
    /// Its session and attachment, if it has one.
    pub session: Option<(SessionId, u32)>,
    /// Whether its user's contact changes are followed.
    pub follows: bool,
    /// When it was last heard, as far as its home was told.
    pub heard_at: UnixMs,
}

#[derive(Debug, Default)]
struct Table {
    by_number: HashMap<u64, Registered>,
    by_user: HashMap<UserId, Vec<u64>>,
    by_partition: HashMap<PartitionId, HashSet<u64>>,
}

/// Everything of this node that has to do with sockets.
#[derive(Debug)]
pub struct Sockets {
    holder: Holder,
    limits: ConnectionLimits,
    next: AtomicU64,
    partitions: u16,
    table: Mutex<Table>,
    subjects: Subjects,
    /// By partition: whether a presence was taken that no home confirmed.
    pub(super) doubts: Vec<AtomicBool>,
}

impl Sockets {
    /// No connections yet on `holder`, this node of a cluster of so many partitions.
    #[must_use]
    pub fn new(holder: Holder, limits: ConnectionLimits, partitions: u16) -> Arc<Self> {
        Arc::new(Self {
            holder,
            limits,
            next: AtomicU64::new(1),
            partitions,
            table: Mutex::default(),
            subjects: Subjects::new(partitions),
            doubts: (0..partitions).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// This node.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Whom this node's connections watch.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// Admits a connection and gives it its number.
    ///
    /// # Errors
    /// `LimitExceeded` when the user has, `Unavailable` when the node has as many as it may; nothing changed.
    pub fn admit(&self, outbox: &Arc<Outbox>, now: UnixMs) -> Result<ConnectionAt, ServiceError> {
        let mut table = self.table.lock();
        if table.by_number.len() >= self.limits.node as usize {
            let why = "this node serves as many connections as it may";
            return Err(ServiceError::Unavailable { why, after_ms: crate::bounds::RETRY_AFTER_MS });
        }
        let user = &outbox.viewer().user;
        let max = self.limits.user;
        if table.by_user.get(user).is_some_and(|of| of.len() >= max as usize) {
            return Err(ServiceError::LimitExceeded { what: "connections", max: u64::from(max) });
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed); // under the table's lock, see of_partition
        table.by_user.entry(user.clone()).or_default().push(number);
        table.by_partition.entry(partition_of(user, self.partitions)).or_default().insert(number);
        let admitted = Registered { outbox: outbox.clone(), session: None, follows: false, heard_at: now };
        table.by_number.insert(number, admitted);
        Ok(ConnectionAt { holder: self.holder.clone(), number })
    }

    /// Remembers the session of a connection.
    pub fn has_session(&self, number: u64, session: SessionId, attachment: u32) {
        if let Some(of) = self.table.lock().by_number.get_mut(&number) {
            of.session = Some((session, attachment));
        }
    }

    /// Remembers that a connection follows its user's contacts.
    pub fn has_followed(&self, number: u64) {
        if let Some(of) = self.table.lock().by_number.get_mut(&number) {
            of.follows = true;
        }
    }

    /// Remembers when a connection was last heard.
    pub fn has_heard(&self, number: u64, at: UnixMs) {
        if let Some(of) = self.table.lock().by_number.get_mut(&number) {
            of.heard_at = at;
        }
    }

    /// Forgets a connection.
    pub fn forget(&self, number: u64) {
        let mut table = self.table.lock();
        let Some(gone) = table.by_number.remove(&number) else { return };
        let user = &gone.outbox.viewer().user;
        if let Some(of) = table.by_partition.get_mut(&partition_of(user, self.partitions)) {
            of.remove(&number);
        }
        if let Some(of) = table.by_user.get_mut(user) {
            of.retain(|n| *n != number);
            if of.is_empty() {
                table.by_user.remove(user);
            }
        }
    }

    /// The connections of a partition's users by number, and the number that the next connection gets.
    #[must_use]
    pub fn of_partition(&self, partition: PartitionId) -> (Vec<(u64, Registered)>, u64) {
        let table = self.table.lock();
        let numbers = table.by_partition.get(&partition).into_iter().flatten();
        let of = numbers.filter_map(|n| Some((*n, table.by_number.get(n)?.clone()))).collect();
        // Read under the lock that numbers are given under: a lower one that is not there is gone.
        (of, self.next.load(Ordering::Relaxed))
    }

    /// Whether it serves a connection of a partition's user.
    #[must_use]
    pub fn serves(&self, partition: PartitionId) -> bool {
        self.table.lock().by_partition.get(&partition).is_some_and(|of| !of.is_empty())
    }

    /// A connection by its number.
    #[must_use]
    pub fn connection(&self, number: u64) -> Option<(ConnectionAt, Arc<Outbox>)> {
        let at = ConnectionAt { holder: self.holder.clone(), number };
        self.outbox(number).map(|outbox| (at, outbox))
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().by_number.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says goodbye to every connection.
    pub fn goodbye_all(&self, reason: GoodbyeReason, after_ms: impl Fn() -> u64) {
        for outbox in self.outboxes() {
            outbox.goodbye(reason, after_ms());
        }
    }

    /// The pending side of every connection.
    #[must_use]
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.table.lock().by_number.values().map(|r| r.outbox.clone()).collect()
    }

    pub(super) fn outbox(&self, number: u64) -> Option<Arc<Outbox>> {
        self.table.lock().by_number.get(&number).map(|r| r.outbox.clone())
    }

    /// Takes what a home tells this node. Who was told of and is watched by nobody here, if anybody.
    pub fn take(&self, note: NodeNote) -> Option<UserId> {
        match note {
            NodeNote::Presence { presence, revision } => match self.subjects.get(&presence.user) {
                Some(subject) => subject.publish(&presence, revision, false),
                None => return Some(presence.user),
            },
            NodeNote::SubjectDecides { subject, viewers, revision } => {
                if let Some(subject) = self.subjects.get(&subject) {
                    let viewers: HashMap<UserId, bool> = viewers.into_iter().collect();
                    subject.decide(revision, |outbox| {
                        if outbox.viewer().service { None } else { viewers.get(&outbox.viewer().user).copied() }
                    });
                }
            }
            NodeNote::SubjectForgotten { subject: user, allowed, revision } => {
                if let Some(subject) = self.subjects.get(&user) {
                    subject.decide(revision, |outbox| {
                        let own = outbox.viewer().service || outbox.viewer().user == user;
                        (!own).then_some(allowed)
                    });
                }
            }
            NodeNote::ViewerDecides { number, subjects, revision } => {
                if let Some(outbox) = self.outbox(number).filter(|o| !o.viewer().service) {
                    for (subject, allowed) in subjects {
                        outbox.viewer_decides(&subject, allowed, revision);
                    }
                }
            }
            NodeNote::Follow { number, added, removed, revision } => {
                if let Some(outbox) = self.outbox(number) {
                    let added = added.into_iter().map(|(u, blocked)| (u, Follow::Added { blocked, revision }));
                    outbox.follow(removed.into_iter().map(|u| (u, Follow::Removed)).chain(added), revision);
                }
            }
            NodeNote::Replaced { number } => self.part(number, GoodbyeReason::Replaced),
            NodeNote::Revoked { number } => self.part(number, GoodbyeReason::Revoked),
        }
        None
    }

    pub(super) fn part(&self, number: u64, reason: GoodbyeReason) {
        if let Some(outbox) = self.outbox(number) {
            outbox.goodbye(reason, 0);
        }
    }
}
