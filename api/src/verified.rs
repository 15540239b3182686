//! Tokens that were found true a short while ago: a client sends the same one with every request, and checking a
//! signature costs more than the rest of a small request.
//!
//! Lives and dies with one set of keys. Two generations bound it: when the younger is full, the older is forgotten.

use crate::token::Identity;
use parking_lot::Mutex;
use rollcall_presence::UnixMs;
use std::{collections::HashMap, mem, sync::Arc};

/// Tokens of one generation: the busiest clients of a node, in a few MiB.
const GENERATION_MAX: usize = 4_096;
/// Longest token remembered, bytes; a longer one is checked every time.
const TOKEN_MAX_BYTES: usize = 1_024;

type Generation = HashMap<Box<str>, Arc<Identity>>;

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

/// What was found true.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<Generations>);

impl Verified {
    /// Whom `token` stands for, if it was found true and has not expired since.
    pub(crate) fn look_up(&self, token: &str, now: UnixMs) -> Option<Arc<Identity>> {
        let mut generations = self.0.lock();
        let identity = match generations.young.get(token) {
            Some(identity) => identity.clone(),
            None => {
                let (token, identity) = generations.old.remove_entry(token)?;
                generations.insert(token, identity.clone());
                identity
            }
        };
        (now < identity.until).then_some(identity)
    }

    /// Remembers that `token` is true.
    pub(crate) fn remember(&self, token: &str, identity: &Arc<Identity>) {
        if token.len() <= TOKEN_MAX_BYTES {
            self.0.lock().insert(token.into(), identity.clone());
        }
    }
}

impl Generations {
    fn insert(&mut self, token: Box<str>, identity: Arc<Identity>) {
        if self.young.len() >= GENERATION_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::UserId;

    fn identity(until: UnixMs) -> Arc<Identity> {
        let user = UserId::new("alice").unwrap();
        Arc::new(Identity { user, own: true, service: false, admin: false, until, key: Arc::default() })
    }

    #[test]
    fn a_remembered_token_is_no_longer_true_once_it_expires() {
        let verified = Verified::default();
        verified.remember("t", &identity(10));
        assert!(verified.look_up("t", 9).is_some());
        assert!(verified.look_up("t", 10).is_none());
        assert!(verified.look_up("u", 9).is_none());
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let verified = Verified::default();
        for n in 0..GENERATION_MAX * 5 {
            verified.remember(&n.to_string(), &identity(10));
            assert!(verified.look_up("0", 9).is_some());
        }
        assert!(verified.look_up("1", 9).is_none());
        let generations = verified.0.lock();
        assert!(generations.young.len() + generations.old.len() <= GENERATION_MAX * 2);
    }

    #[test]
    fn a_long_token_is_not_remembered() {
        let verified = Verified::default();
        let long = "t".repeat(TOKEN_MAX_BYTES + 1);
        verified.remember(&long, &identity(10));
        assert!(verified.look_up(&long, 9).is_none());
    }
}
