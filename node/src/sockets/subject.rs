//! Whom the sockets of this node watch: one entry a watched user, with its latest presence and its watchers.
//!
//! Lock order, everywhere: shard, then a subject's watchers, then an outbox, then a subject's latest presence. Promises that a
//! subject with no watcher is forgotten and its home told, and that a presence that is not newer is dropped.

use super::outbox::Outbox;
use parking_lot::Mutex;
use rollcall_api::wire::EncodedPresence;
use rollcall_presence::{PartitionId, PublicPresence, UserId, partition_of};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// Shards of the table, at least: enough that two cores rarely meet.
const SHARDS_MIN: usize = 64;

/// One connection's watch of a subject.
#[derive(Debug)]
struct Watcher {
    outbox: Arc<Outbox>,
    slot: u32,
}

/// The latest that this node knows of a subject.
#[derive(Debug, Default)]
struct Latest {
    presence: Option<Arc<EncodedPresence>>,
    revision: u64,
}

/// A user that sockets of this node watch.
#[derive(Debug)]
pub struct Subject {
    user: UserId,
    watchers: Mutex<Vec<Watcher>>,
    latest: Mutex<Latest>,
}

impl Subject {
    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The latest presence known; `None` until the home has answered.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<EncodedPresence>> {
        self.latest.lock().presence.clone()
    }

    /// Takes a presence read at `revision` of the subject's partition, and marks it for every watcher if it is newer.
    pub fn publish(&self, presence: &PublicPresence, revision: u64, stale: bool) {
        let watchers = self.watchers.lock();
        {
            let mut latest = self.latest.lock();
            let newer = match &latest.presence {
                None => true,
                Some(held) if revision == latest.revision => held.stale != stale,
                Some(_) => revision > latest.revision,
            };
            if !newer {
                return;
            }
            latest.revision = revision;
            if latest.presence.as_ref().is_some_and(|p| p.version == presence.version && p.stale == stale) {
                return;
            }
            latest.presence = Some(Arc::new(EncodedPresence::new(presence, stale)));
        }
        for watcher in watchers.iter() {
            watcher.outbox.mark(watcher.slot);
        }
    }

    /// The home of the subject was lost, or is back: what is held says so.
    pub fn restale(&self, stale: bool) {
        let watchers = self.watchers.lock();
        {
            let mut latest = self.latest.lock();
            let Some(held) = latest.presence.as_ref().filter(|held| held.stale != stale) else { return };
            latest.presence = Some(Arc::new(held.restaled(stale)));
        }
        for watcher in watchers.iter() {
            watcher.outbox.mark(watcher.slot);
        }
    }

    /// Who watches, and whether the subject's home allows it as far as is known; without those to whom it always does.
    #[must_use]
    pub fn viewers(&self) -> Vec<(UserId, bool)> {
        let watchers = self.watchers.lock();
        let mut viewers: Vec<(UserId, bool)> = watchers
            .iter()
            .filter(|w| !w.outbox.viewer().service && w.outbox.viewer().user != self.user)
            .map(|w| (w.outbox.viewer().user.clone(), w.outbox.subject_allows(w.slot)))
            .collect();
        drop(watchers);
        viewers.sort_unstable();
        viewers.dedup();
        viewers
    }

    /// Takes the subject's half of the decision for the viewers that `allowed` names.
    pub fn decide(&self, revision: u64, allowed: impl Fn(&Outbox) -> Option<bool>) {
        for watcher in self.watchers.lock().iter() {
            if let Some(allowed) = allowed(&watcher.outbox) {
                watcher.outbox.subject_decides(watcher.slot, allowed, revision);
            }
        }
    }
}

/// The watched users of this node.
#[derive(Debug)]
pub struct Subjects {
    partitions: u16,
    /// A few for each partition, in their order, so that a partition's are found together.
    shards: Vec<Mutex<HashMap<UserId, Arc<Subject>>>>,
    hasher: RandomState,
}

impl Default for Subjects {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Subjects {
    /// Nobody is watched yet in a cluster of so many partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let partitions = partitions.max(1);
        let count = SHARDS_MIN.div_ceil(usize::from(partitions)) * usize::from(partitions);
        Self { partitions, shards: (0..count).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn shard(&self, user: &UserId) -> &Mutex<HashMap<UserId, Arc<Subject>>> {
        let of = self.of(partition_of(user, self.partitions));
        &of[self.hasher.hash_one(user) as usize % of.len()]
    }

    fn of(&self, partition: PartitionId) -> &[Mutex<HashMap<UserId, Arc<Subject>>>] {
        let each = self.shards.len() / usize::from(self.partitions);
        let from = each * usize::from(partition.0);
        &self.shards[from..from + each]
    }

    /// The watched users of a partition.
    #[must_use]
    pub fn of_partition(&self, partition: PartitionId) -> Vec<Arc<Subject>> {
        self.of(partition).iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// The subject, if anybody on this node watches it.
    #[must_use]
    pub fn get(&self, user: &UserId) -> Option<Arc<Subject>> {
        self.shard(user).lock().get(user).cloned()
    }

    /// Whether anybody on this node watches a user of the partition.
    #[must_use]
    pub fn watches(&self, partition: PartitionId) -> bool {
        self.of(partition).iter().any(|shard| !shard.lock().is_empty())
    }

    /// Calls `then` if nobody on this node watches `user`, ordered with later additions.
    pub fn unless_watched(&self, user: &UserId, then: impl FnOnce()) {
        let shard = self.shard(user).lock();
        if !shard.contains_key(user) {
            then();
        }
    }

    /// Adds a watcher: `slot` makes its slot for the subject, at the position that it is told.
    pub fn add(&self, user: &UserId, outbox: &Arc<Outbox>, slot: impl FnOnce(Arc<Subject>, u32) -> u32) {
        let mut shard = self.shard(user).lock();
        let subject = shard.entry(user.clone()).or_insert_with(|| {
            Arc::new(Subject { user: user.clone(), watchers: Mutex::default(), latest: Mutex::default() })
        });
        let mut watchers = subject.watchers.lock();
        let position = u32::try_from(watchers.len()).unwrap_or(u32::MAX);
        let slot = slot(subject.clone(), position);
        watchers.push(Watcher { outbox: outbox.clone(), slot });
    }

    /// Removes the watcher at the position that `outbox` holds for `slot`; `forgotten` is called, ordered with later
    /// additions, when it was the last.
    pub fn remove(&self, subject: &Arc<Subject>, outbox: &Outbox, slot: u32, forgotten: impl FnOnce(&UserId)) {
        let mut shard = self.shard(&subject.user).lock();
        let mut watchers = subject.watchers.lock();
        let Some(position) = outbox.position(slot) else { return };
        let position = position as usize;
        if position >= watchers.len() {
            return;
        }
        watchers.swap_remove(position);
        if let Some(moved) = watchers.get(position) {
            moved.outbox.moved(moved.slot, u32::try_from(position).unwrap_or(u32::MAX));
        }
        if watchers.is_empty() {
            shard.remove(&subject.user);
            forgotten(&subject.user);
        }
    }

    /// How many users are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }

    /// Whether nobody is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
