//! One watch of a connection: what was decided about it, what was sent of it, and what may be seen now.

use super::subject::Subject;
use crate::planted::{self, Fault};
use rollcall_api::wire::EncodedPresence;
use rollcall_presence::PublicPresence;
use std::sync::Arc;

/// Why a user is watched; both may hold.
pub(super) const EXPLICIT: u8 = 1;
pub(super) const CONTACT: u8 = 2;
/// State of a slot.
pub(super) const DIRTY: u8 = 4;
pub(super) const SUBJECT_ALLOWS: u8 = 8;
pub(super) const VIEWER_ALLOWS: u8 = 16;
/// Nothing is sent before the snapshot that answers the watch.
pub(super) const LIVE: u8 = 32;
pub(super) const SENT_STALE: u8 = 64;
/// No version: the client was told nothing of the subject yet.
pub(super) const NOTHING_SENT: u64 = u64::MAX;

/// Why a user is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The client asked.
    Asked,
    /// It is a contact.
    Contact,
    /// Either, or both.
    Any,
}

impl Why {
    pub(super) fn flags(self) -> u8 {
        match self {
            Self::Asked => EXPLICIT,
            Self::Contact => CONTACT,
            Self::Any => EXPLICIT | CONTACT,
        }
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) subject: Arc<Subject>,
    pub(super) sent_version: u64,
    /// One more than the revision of the last decision; 0 before the first.
    pub(super) subject_decided: u64,
    pub(super) viewer_decided: u64,
    pub(super) position: u32,
    pub(super) flags: u8,
}

impl Slot {
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn put(&mut self, flag: u8, on: bool) {
        if on { self.flags |= flag } else { self.flags &= !flag }
    }

    /// What the viewer may see of the subject now; `None` while the home has not answered.
    pub(super) fn visible(&self) -> Option<Arc<EncodedPresence>> {
        let latest = self.subject.latest()?;
        if self.is(SUBJECT_ALLOWS) && self.is(VIEWER_ALLOWS) {
            return Some(latest);
        }
        Some(Arc::new(EncodedPresence::new(&PublicPresence::never_seen(self.subject.user().clone()), false)))
    }

    /// Takes the subject's half of a decision; `false` if it is not newer than the last.
    pub(super) fn subject_decides(&mut self, allowed: bool, revision: u64) -> bool {
        let newer = revision >= self.subject_decided || planted::is(Fault::LateFrameAfterRevoke);
        if newer {
            self.subject_decided = revision + 1;
            self.put(SUBJECT_ALLOWS, allowed);
        }
        newer
    }

    /// Takes the viewer's half of a decision; `false` if it is not newer than the last.
    pub(super) fn viewer_decides(&mut self, allowed: bool, revision: u64) -> bool {
        let newer = revision >= self.viewer_decided || planted::is(Fault::LateFrameAfterRevoke);
        if newer {
            self.viewer_decided = revision + 1;
            self.put(VIEWER_ALLOWS, allowed);
        }
        newer
    }

    /// Whether the client was told, or has told, of a version above this one.
    pub(super) fn was_sent_more_than(&self, presence: &EncodedPresence) -> bool {
        self.sent_version != NOTHING_SENT && presence.version > 0 && presence.version < self.sent_version
    }

    pub(super) fn sent(&mut self, presence: &EncodedPresence) {
        self.sent_version = presence.version;
        self.put(SENT_STALE, presence.stale);
        self.put(DIRTY, false);
    }
}
