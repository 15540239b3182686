//! The connections of a partition's users, wherever their sockets are: soft state, told by the nodes that hold them.

use parking_lot::Mutex;
use rollcall_presence::{ConnectionAt, Holder, SessionId, UserId};
use std::collections::HashMap;

/// A connection of a user, wherever its socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Where.
    pub at: ConnectionAt,
    /// Its session, and the attachment that it is to it.
    pub session: Option<(SessionId, u32)>,
    /// Whether it is told of the contacts that come and go.
    pub follows: bool,
}

/// The connections of a partition's users.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<UserId, Vec<Connected>>>);

impl Connections {
    /// Those of `user`.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Vec<Connected> {
        self.0.lock().get(user).cloned().unwrap_or_default()
    }

    /// Whether `at` is one of `user`.
    #[must_use]
    pub fn has(&self, user: &UserId, at: &ConnectionAt) -> bool {
        self.0.lock().get(user).is_some_and(|all| all.iter().any(|c| c.at == *at))
    }

    /// Remembers `at` as one of `user`, with what `change` makes of it.
    pub fn hold(&self, user: &UserId, at: &ConnectionAt, change: impl FnOnce(&mut Connected)) {
        let mut table = self.0.lock();
        let all = table.entry(user.clone()).or_default();
        let index = all.iter().position(|c| c.at == *at).unwrap_or_else(|| {
            all.push(Connected { at: at.clone(), session: None, follows: false });
            all.len() - 1
        });
        change(&mut all[index]);
    }

    /// Forgets `at`.
    pub fn remove(&self, user: &UserId, at: &ConnectionAt) {
        self.take(user, |c| c.at == *at);
    }

    /// Takes out those of `user` that `gone` names.
    pub fn take(&self, user: &UserId, mut gone: impl FnMut(&Connected) -> bool) -> Vec<Connected> {
        let mut table = self.0.lock();
        let Some(all) = table.get_mut(user) else { return Vec::new() };
        let taken = all.extract_if(.., |c| gone(c)).collect();
        if all.is_empty() {
            table.remove(user);
        }
        taken
    }

    /// Forgets what `keep` does not name of a node's connections.
    pub fn keep(&self, holder: &Holder, mut keep: impl FnMut(&Connected) -> bool) {
        self.0.lock().retain(|_, all| {
            all.retain(|c| c.at.holder != *holder || keep(c));
            !all.is_empty()
        });
    }

    /// All of a node's connections, each with its user.
    pub fn each_of(&self, holder: &Holder, mut told: impl FnMut(&UserId, &Connected)) {
        for (user, all) in &*self.0.lock() {
            all.iter().filter(|c| c.at.holder == *holder).for_each(|c| told(user, c));
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}
