//! The contacts that a connection follows: what its user's home told of them, and what is still to be done about it.

use super::{
    outbox::Outbox,
    slot::{CONTACT, VIEWER_ALLOWS},
};
use crate::bounds::FOLLOWS_MAX;
use rollcall_api::service::GoodbyeReason;
use rollcall_presence::UserId;
use std::collections::{BTreeSet, HashSet};

/// A contact that came (and whether the user blocks it) or went, at a revision of the user's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Watch it.
    Added {
        /// Whether the user blocks it.
        blocked: bool,
        /// The revision.
        revision: u64,
    },
    /// Stop watching it.
    Removed,
}

/// What a connection knows of its user's contacts beside whom it watches.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Contacts that the client no longer watches.
    left: HashSet<UserId>,
    /// The newest revision of a change that was told.
    newest: u64,
    /// The revision at which all contacts were told: older changes are in it.
    whole: u64,
}

impl Outbox {
    /// Contacts came or went, at `revision`.
    pub fn follow(&self, changes: impl Iterator<Item = (UserId, Follow)>, revision: u64) {
        let mut inner = self.inner.lock();
        if revision <= inner.followed.whole && inner.followed.whole > 0 {
            return;
        }
        inner.followed.newest = inner.followed.newest.max(revision);
        for (user, change) in changes {
            inner.followed.left.remove(&user);
            inner.follows.insert(user, change);
        }
        if inner.follows.len() > FOLLOWS_MAX {
            // More contacts than anybody may have: the connection starts over, which repairs whatever happened.
            inner.follows.clear();
            inner.goodbye = Some((GoodbyeReason::Slow, 0));
        }
        inner.wake();
    }

    /// All contacts as they are at `revision`, with whether the user blocks them: what differs from those known is followed.
    /// `false`, and nothing done, when a newer change is known already.
    pub fn follow_all(&self, contacts: Vec<(UserId, bool)>, revision: u64) -> bool {
        let known = self.contacts();
        let is: HashSet<&UserId> = contacts.iter().map(|(user, _)| user).collect();
        let gone: Vec<UserId> = known.iter().filter(|user| !is.contains(user)).cloned().collect();
        let came: Vec<(UserId, Follow)> = contacts
            .iter()
            .filter(|(user, _)| !known.contains(user))
            .map(|(user, blocked)| (user.clone(), Follow::Added { blocked: *blocked, revision }))
            .collect();
        let mut inner = self.inner.lock();
        if revision < inner.followed.newest {
            return false;
        }
        inner.followed.whole = inner.followed.whole.max(revision);
        for (user, change) in gone.into_iter().map(|user| (user, Follow::Removed)).chain(came) {
            inner.followed.left.remove(&user);
            inner.follows.insert(user, change);
        }
        inner.wake();
        true
    }

    /// Contacts that could not be watched are to be followed later, unless something newer became of them meanwhile.
    pub fn follow_again(&self, contacts: Vec<(UserId, bool)>, revision: u64) {
        let mut inner = self.inner.lock();
        for (user, blocked) in contacts {
            inner.follows.entry(user).or_insert(Follow::Added { blocked, revision });
        }
    }

    /// Nothing is to be said of `users` that is still waiting to be: neither that they became contacts, nor that they were.
    pub fn unfollow(&self, users: &[UserId]) {
        let mut inner = self.inner.lock();
        for user in users {
            let watched = inner.find(user).and_then(|slot| inner.slots[slot as usize].as_ref());
            let mut contact = watched.is_some_and(|slot| slot.is(CONTACT));
            if matches!(inner.follows.get(user), Some(Follow::Added { .. })) {
                inner.follows.remove(user);
                contact = true;
            }
            if contact {
                inner.followed.left.insert(user.clone());
            }
        }
        if !inner.unwatched.is_empty() {
            let users: HashSet<&UserId> = users.iter().collect();
            inner.unwatched.retain(|user| !users.contains(user));
        }
    }

    /// The contacts that this connection was told of, watched or not.
    #[must_use]
    pub fn contacts(&self) -> BTreeSet<UserId> {
        let inner = self.inner.lock();
        let watched = inner.slots.iter().flatten().filter(|slot| slot.is(CONTACT)).map(|slot| slot.subject.user());
        let mut contacts: BTreeSet<UserId> = watched.chain(&inner.followed.left).cloned().collect();
        for (user, change) in &inner.follows {
            match change {
                Follow::Added { .. } => contacts.insert(user.clone()),
                Follow::Removed => contacts.remove(user),
            };
        }
        contacts
    }

    /// Whether anybody is watched whom the viewer does not allow, or is not known to.
    #[must_use]
    pub fn has_blocks(&self) -> bool {
        self.inner.lock().slots.iter().flatten().any(|slot| !slot.is(VIEWER_ALLOWS))
    }

    /// Tells the client that contacts are no longer watched.
    pub fn tell_unwatched(&self, users: Vec<UserId>) {
        let mut inner = self.inner.lock();
        inner.unwatched.extend(users);
        inner.wake();
    }
}
