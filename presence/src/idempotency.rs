//! Idempotency keys: one effect and one answer for a request that is repeated. They live in the state machine, so that a new
//! home answers as the old one did.

use crate::{
    UnixMs,
    limits::{KEY_LIFETIME_MS, KEYS_MAX},
    outcome::{Answer, Refusal},
};
use alloc::{boxed::Box, vec::Vec};
use bincode::{Decode, Encode};

/// A client's key and what it was sent with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestKey {
    /// 1 to 64 visible ASCII characters.
    pub key: Box<str>,
    /// SHA-256 over method, path and body.
    pub digest: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Remembered {
    key: Box<str>,
    digest: [u8; 32],
    at: UnixMs,
    answer: Result<Answer, Refusal>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Not seen, or too long ago.
    New,
    /// The same request was answered so.
    Repeated(Box<Result<Answer, Refusal>>),
    /// Another request had this key.
    Reused,
}

/// The latest keys of a user, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct KeyTable(Vec<Remembered>);

impl KeyTable {
    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known of `key` at `now`.
    #[must_use]
    pub fn look_up(&self, key: &RequestKey, now: UnixMs) -> Known {
        match self.0.iter().find(|r| r.key == key.key && now < r.at.saturating_add(KEY_LIFETIME_MS)) {
            None => Known::New,
            Some(r) if r.digest == key.digest => Known::Repeated(Box::new(r.answer.clone())),
            Some(_) => Known::Reused,
        }
    }

    /// Whether an answer was remembered long enough at `now`.
    #[must_use]
    pub fn has_expired(&self, now: UnixMs) -> bool {
        self.0.iter().any(|r| now >= r.at.saturating_add(KEY_LIFETIME_MS))
    }

    /// Forgets what was remembered long enough; says whether there was any.
    pub fn drop_expired(&mut self, now: UnixMs) -> bool {
        let before = self.0.len();
        self.0.retain(|r| now < r.at.saturating_add(KEY_LIFETIME_MS));
        self.0.len() != before
    }

    /// Remembers the answer, and forgets what is too old or too many.
    pub fn remember(&mut self, key: &RequestKey, now: UnixMs, answer: Result<Answer, Refusal>) {
        self.0.retain(|r| r.key != key.key && now < r.at.saturating_add(KEY_LIFETIME_MS));
        if self.0.len() >= KEYS_MAX {
            self.0.drain(..=self.0.len() - KEYS_MAX);
        }
        self.0.push(Remembered { key: key.key.clone(), digest: key.digest, at: now, answer });
    }
}
