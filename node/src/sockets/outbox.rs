//! What a connection has still to be told: at most one pending state a watched user, the latest.
//!
//! Holds no presences: a pending watch is a mark on its slot, and the state is read from the subject when the socket is
//! ready to take it. So a slow reader costs its slots and nothing more, and learns the latest state.

use super::{
    following::{Follow, Followed},
    slot::{CONTACT, DIRTY, EXPLICIT, LIVE, NOTHING_SENT, SENT_STALE, SUBJECT_ALLOWS, Slot, Why},
    subject::{Subject, Subjects},
};
use crate::bounds::DELIVERY_MAX;
use hashbrown::HashTable;
use parking_lot::Mutex;
use rollcall_api::{
    service::{Delivery, GoodbyeReason},
    wire::EncodedPresence,
};
use rollcall_presence::{UserId, Viewer};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    task::{Context, Poll, Waker},
};

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Slots by their subject's user, which stands in the slot alone: five bytes a watch.
    by_user: HashTable<u32>,
    hasher: RandomState,
    dirty: Vec<u32>,
    explicit: u32,
    pub(super) follows: BTreeMap<UserId, Follow>,
    pub(super) followed: Followed,
    /// One more than the revision of the viewer's home's latest decision, about whomever; 0 before the first.
    viewer_decided: u64,
    pub(super) unwatched: Vec<UserId>,
    pub(super) goodbye: Option<(GoodbyeReason, u64)>,
    waker: Option<Waker>,
    /// Pending states that newer ones replaced.
    conflated: u64,
}

/// The pending side of one connection.
#[derive(Debug)]
pub struct Outbox {
    viewer: Viewer,
    pub(super) inner: Mutex<Inner>,
}

/// What a poll finds.
#[derive(Debug)]
pub enum Pending {
    /// To be sent.
    Delivery(Delivery),
    /// Contacts to be followed first.
    Follows(BTreeMap<UserId, Follow>),
}

impl Outbox {
    /// An empty one for `viewer`.
    #[must_use]
    pub fn new(viewer: Viewer) -> Arc<Self> {
        Arc::new(Self { viewer, inner: Mutex::default() })
    }

    /// Whose connection it is.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The subject of a slot has a newer presence.
    pub(super) fn mark(&self, slot: u32) {
        self.inner.lock().mark(slot);
    }

    /// The subject's home decided anew whether the viewer may see.
    pub(super) fn subject_decides(&self, slot: u32, allowed: bool, revision: u64) {
        let mut inner = self.inner.lock();
        let Some(Some(held)) = inner.slots.get_mut(slot as usize) else { return };
        if held.subject_decides(allowed, revision) {
            inner.mark(slot);
        }
    }

    /// Whether the subject's home allows the viewer of a slot.
    pub(super) fn subject_allows(&self, slot: u32) -> bool {
        self.inner.lock().slots.get(slot as usize).is_some_and(|s| s.as_ref().is_some_and(|s| s.is(SUBJECT_ALLOWS)))
    }

    /// The viewer's home decided anew whether the viewer allows the subject.
    pub fn viewer_decides(&self, subject: &UserId, allowed: bool, revision: u64) {
        let mut inner = self.inner.lock();
        inner.viewer_decided = inner.viewer_decided.max(revision + 1);
        let Some(slot) = inner.find(subject) else { return };
        let Some(Some(held)) = inner.slots.get_mut(slot as usize) else { return };
        if held.viewer_decides(allowed, revision) {
            inner.mark(slot);
        }
    }

    /// Whether the viewer's home decided anything after `revision`: about a user who was not watched yet, it is lost.
    #[must_use]
    pub fn decided_since(&self, revision: u64) -> bool {
        self.inner.lock().viewer_decided > revision + 1
    }

    /// How many pending states newer ones have replaced since this was asked last.
    pub fn take_conflated(&self) -> u64 {
        std::mem::take(&mut self.inner.lock().conflated)
    }

    /// How many users are watched.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.inner.lock().by_user.len()
    }

    /// The connection is to be closed.
    pub fn goodbye(&self, reason: GoodbyeReason, after_ms: u64) {
        let mut inner = self.inner.lock();
        if inner.goodbye.is_none() {
            inner.goodbye = Some((reason, after_ms));
        }
        inner.wake();
    }

    pub(super) fn position(&self, slot: u32) -> Option<u32> {
        self.inner.lock().slots.get(slot as usize)?.as_ref().map(|s| s.position)
    }

    pub(super) fn moved(&self, slot: u32, position: u32) {
        if let Some(Some(held)) = self.inner.lock().slots.get_mut(slot as usize) {
            held.position = position;
        }
    }

    /// How many users would be watched explicitly if `users` were added.
    #[must_use]
    pub fn explicit_with<'a>(&self, users: impl Iterator<Item = &'a UserId>) -> u32 {
        let inner = self.inner.lock();
        let new = users.filter(|u| !inner.slot(u).is_some_and(|s| s.is(EXPLICIT))).count();
        inner.explicit + u32::try_from(new).unwrap_or(u32::MAX)
    }

    /// Watches `user`, silently until its snapshot is taken; `true` if it was not watched for this reason before.
    pub fn add(self: &Arc<Self>, subjects: &Subjects, user: &UserId, explicit: bool) -> bool {
        let flag = if explicit { EXPLICIT } else { CONTACT };
        {
            let mut inner = self.inner.lock();
            let slot = inner.find(user);
            if let Some(held) = slot.and_then(|s| inner.slots[s as usize].as_mut()) {
                let first = !held.is(flag);
                held.put(flag, true);
                inner.explicit += u32::from(first && explicit);
                return first;
            }
        }
        subjects.add(user, self, |subject, position| self.inner.lock().insert(subject, position, flag));
        true
    }

    /// Takes both halves of a first decision; a newer one that came meanwhile stays.
    pub fn granted(&self, subject: &UserId, viewer: (bool, u64), allowed: (bool, u64)) {
        let mut inner = self.inner.lock();
        let Some(slot) = inner.find(subject) else { return };
        let Some(Some(held)) = inner.slots.get_mut(slot as usize) else { return };
        let (by_viewer, by_subject) =
            (held.viewer_decides(viewer.0, viewer.1), held.subject_decides(allowed.0, allowed.1));
        if by_viewer || by_subject {
            inner.mark(slot);
        }
    }

    /// The snapshot of `users`, which from now on are told of changes. With a known version only what is newer is in it, and
    /// version 0 where more was known.
    pub fn snapshot(&self, users: &[(UserId, Option<u64>)]) -> Vec<Arc<EncodedPresence>> {
        let mut inner = self.inner.lock();
        let mut snapshot = Vec::with_capacity(users.len());
        for (user, known) in users {
            let Some(slot) = inner.find(user) else { continue };
            let Some(Some(held)) = inner.slots.get_mut(slot as usize) else { continue };
            held.put(LIVE, true);
            let Some(presence) = held.visible() else { continue };
            held.sent(&presence);
            if let Some(known) = known.filter(|known| presence.stale && (1..*known).contains(&presence.version)) {
                // What this node cannot confirm is no news to who knows more, and will not be until it has caught up.
                held.sent_version = known;
            }
            let is_news = |known| presence.version > known || (presence.version == 0 && known > 0);
            if known.is_none_or(|known| is_news(known) || (presence.stale && presence.version == known)) {
                snapshot.push(presence);
            }
        }
        inner.shrink();
        snapshot
    }

    /// From now on tells of changes of `users`, and of their state as it is.
    pub fn begin<'a>(&self, users: impl Iterator<Item = &'a UserId>) {
        let mut inner = self.inner.lock();
        for user in users {
            let Some(slot) = inner.find(user) else { continue };
            if let Some(Some(held)) = inner.slots.get_mut(slot as usize)
                && !held.is(LIVE)
            {
                held.put(LIVE, true);
                inner.mark(slot);
            }
        }
    }

    /// Stops watching `user` for the reasons given; `true` if it is no longer watched.
    pub fn remove(&self, subjects: &Subjects, user: &UserId, why: Why, forgotten: impl FnOnce(&UserId)) -> bool {
        let (subject, slot) = {
            let mut inner = self.inner.lock();
            let Some(slot) = inner.find(user) else { return false };
            let Some(held) = inner.slots[slot as usize].as_mut() else { return false };
            let (asked, left) = (held.is(EXPLICIT), held.flags & (EXPLICIT | CONTACT) & !why.flags());
            if left != 0 {
                held.put(why.flags(), false);
                inner.explicit -= u32::from(asked && left & EXPLICIT == 0);
                return false;
            }
            (held.subject.clone(), slot)
        };
        subjects.remove(&subject, self, slot, forgotten);
        self.inner.lock().take_out(slot);
        true
    }

    /// Everybody watched.
    #[must_use]
    pub fn watched(&self) -> Vec<UserId> {
        self.inner.lock().slots.iter().flatten().map(|s| s.subject.user().clone()).collect()
    }

    /// Whether there is anything to be done for the socket, or wake when there is something. Takes nothing.
    pub fn poll_pending(&self, cx: &Context<'_>, follow: bool) -> Poll<()> {
        let mut inner = self.inner.lock();
        let follows = follow && !inner.follows.is_empty();
        if inner.goodbye.is_some() || follows || !inner.unwatched.is_empty() || !inner.dirty.is_empty() {
            return Poll::Ready(());
        }
        inner.wake_by(cx);
        Poll::Pending
    }

    /// What is to be done next for the socket, or wake when there is something. Contacts come only when `follow` is set.
    pub fn poll(&self, cx: &Context<'_>, follow: bool) -> Poll<Pending> {
        let mut inner = self.inner.lock();
        if let Some((reason, after_ms)) = inner.goodbye {
            return Poll::Ready(Pending::Delivery(Delivery::Goodbye { reason, after_ms }));
        }
        if follow && !inner.follows.is_empty() {
            return Poll::Ready(Pending::Follows(std::mem::take(&mut inner.follows)));
        }
        if !inner.unwatched.is_empty() {
            return Poll::Ready(Pending::Delivery(Delivery::Unwatched(std::mem::take(&mut inner.unwatched))));
        }
        let presences = inner.take_dirty();
        if !presences.is_empty() {
            return Poll::Ready(Pending::Delivery(Delivery::Presences(presences)));
        }
        inner.wake_by(cx);
        Poll::Pending
    }
}

impl Inner {
    pub(super) fn find(&self, user: &UserId) -> Option<u32> {
        let of = |slot: &u32| {
            self.slots.get(*slot as usize).is_some_and(|s| s.as_ref().is_some_and(|s| s.subject.user() == user))
        };
        self.by_user.find(self.hasher.hash_one(user), of).copied()
    }

    fn slot(&self, user: &UserId) -> Option<&Slot> {
        self.slots[self.find(user)? as usize].as_ref()
    }

    /// Gives back what growing by doubling took too much; called once a snapshot is taken.
    fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        self.dirty.shrink_to_fit();
    }

    fn wake_by(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn mark(&mut self, slot: u32) {
        let Some(Some(held)) = self.slots.get_mut(slot as usize) else { return };
        if held.is(DIRTY) || !held.is(LIVE) {
            self.conflated += u64::from(held.is(DIRTY));
            return;
        }
        tracing::trace!(target: "rollcall::path", hop = "outbox");
        held.put(DIRTY, true);
        self.dirty.push(slot);
        self.wake();
    }

    fn insert(&mut self, subject: Arc<Subject>, position: u32, flag: u8) -> u32 {
        let user = subject.user().clone();
        let held =
            Slot { subject, sent_version: NOTHING_SENT, subject_decided: 0, viewer_decided: 0, position, flags: flag };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(held);
                slot
            }
            None => {
                self.slots.push(Some(held));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |slot: &u32| slots[*slot as usize].as_ref().map_or(0, |s| hasher.hash_one(s.subject.user()));
        self.by_user.insert_unique(hasher.hash_one(&user), slot, hash_of);
        self.explicit += u32::from(flag == EXPLICIT);
        slot
    }

    fn take_out(&mut self, slot: u32) {
        let Some(held) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.explicit -= u32::from(held.is(EXPLICIT));
        let hash = self.hasher.hash_one(held.subject.user());
        if let Ok(found) = self.by_user.find_entry(hash, |of| *of == slot) {
            found.remove();
        }
        self.dirty.retain(|d| *d != slot);
        self.free.push(slot);
    }

    /// The pending states, as they are now, of at most [`DELIVERY_MAX`] users.
    fn take_dirty(&mut self) -> Vec<Arc<EncodedPresence>> {
        let mut presences = Vec::new();
        let most = self.dirty.len().min(DELIVERY_MAX);
        for slot in self.dirty.drain(..most) {
            let Some(Some(held)) = self.slots.get_mut(slot as usize) else { continue };
            if !held.is(DIRTY) {
                continue; // its state went out with a snapshot
            }
            held.put(DIRTY, false);
            let Some(presence) = held.visible() else { continue };
            if presence.stale && held.was_sent_more_than(&presence) {
                continue;
            }
            if presence.version != held.sent_version || presence.stale != held.is(SENT_STALE) {
                held.sent(&presence);
                presences.push(presence);
            }
        }
        presences
    }
}
