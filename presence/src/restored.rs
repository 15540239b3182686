//! A user as a backup has it, in parts that each fit a command.
//!
//! Holds what was durable and nothing that lives: no sessions, no keys. What a part means is decided by
//! [`apply`](crate::apply::apply) alone.

use crate::{
    UnixMs,
    id::UserId,
    limits::{
        PROFILE_META_MAX_BYTES, PROFILE_NAME_MAX_BYTES, RESTORED_AHEAD_MAX_MS, RESTORED_VERSION_MAX,
        STATUS_META_MAX_BYTES, TEXT_MAX_BYTES,
    },
    outcome::HistoryEntry,
    record::{ManualStatus, Privacy, Profile, Setting, Shown, UserRecord},
};
use alloc::{boxed::Box, vec::Vec};
use bincode::{Decode, Encode};

/// One part of a user, in the order of the backup. The last one brings what is shown: until then nothing of the user is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restored {
    /// Which backup it is of: an interrupted restore goes on only with the same one.
    pub backup: u64,
    /// Which part, from 0.
    pub part: u32,
    /// Whether a user that is there already is replaced.
    pub overwrite: bool,
    /// Sequence of the oldest history entry of all parts.
    pub history_first: u64,
    /// Sequence after the newest one of all parts.
    pub history_next: u64,
    /// Some of the contacts, with the times they were added.
    pub contacts: Vec<(UserId, UnixMs)>,
    /// Some of the blocks, with the times they were added.
    pub blocks: Vec<(UserId, UnixMs)>,
    /// Some of the history, oldest first.
    pub history: Vec<HistoryEntry>,
    /// What is small, in the last part.
    pub last: Option<Box<Kept>>,
}

/// What is kept of a user beside lists and history.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kept {
    /// The status setting.
    pub setting: Setting,
    /// The privacy setting.
    pub privacy: Privacy,
    /// What was shown.
    pub shown: Shown,
    /// The last durable sign of life of a session that was live; `None` when there was none.
    pub heard_at: Option<UnixMs>,
    /// The profile, if there was one.
    pub profile: Option<Profile>,
}

impl Kept {
    /// What a backup keeps of `record`.
    #[must_use]
    pub fn of(record: &UserRecord, profile: Option<Profile>) -> Self {
        Self {
            setting: record.setting.clone(),
            privacy: record.privacy,
            shown: record.shown,
            heard_at: record.sessions.iter().map(|s| s.heard_at).max(),
            profile,
        }
    }

    /// The last evidence of life that may be shown: what was heard of an invisible user may not.
    #[must_use]
    pub fn last_seen(&self) -> Option<UnixMs> {
        let heard = self.heard_at.filter(|_| self.setting.status != ManualStatus::Invisible);
        self.shown.last_seen.max(heard)
    }
}

/// How far an interrupted restore of a user has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RestoreMark {
    /// Of which backup.
    pub backup: u64,
    /// The part that comes next.
    pub next: u32,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum RestoredAs {
    /// It is there, now or since an earlier try.
    Taken = 0,
    /// The user was there before, and is as it was.
    LeftAlone = 1,
}

impl Restored {
    /// The largest version in it.
    #[must_use]
    pub fn version(&self) -> u64 {
        let shown = self.last.as_ref().map_or(0, |kept| kept.shown.version);
        self.history.iter().map(|entry| entry.version).fold(shown, u64::max)
    }

    /// The latest time in it at which something happened.
    #[must_use]
    pub fn latest(&self) -> UnixMs {
        let listed = self.contacts.iter().chain(&self.blocks).map(|(_, added)| *added);
        let shown = self.last.iter().flat_map(|kept| [kept.shown.since, kept.shown.last_seen, kept.heard_at]);
        listed.chain(self.history.iter().map(|entry| entry.at)).chain(shown.flatten()).max().unwrap_or(0)
    }

    /// Why it cannot be restored at `now`, by the wall clock of who proposes it; `None` when it can. What a part may do to the
    /// time and the revision of its partition is bounded here.
    #[must_use]
    pub fn fault(&self, now: UnixMs) -> Option<&'static str> {
        if self.version() > RESTORED_VERSION_MAX || self.history_next > RESTORED_VERSION_MAX {
            return Some("a version or sequence is beyond what can be counted");
        }
        if self.latest() > now.saturating_add(RESTORED_AHEAD_MAX_MS) {
            return Some("a time in it lies more than a day ahead of this cluster's clock");
        }
        let too_long = |text: &Option<Box<str>>, max: usize| text.as_ref().is_some_and(|t| t.len() > max);
        if self.history.iter().any(|entry| too_long(&entry.text, TEXT_MAX_BYTES)) {
            return Some("a text of the history is too long");
        }
        let kept = self.last.as_ref()?;
        let profile = kept.profile.as_ref();
        if too_long(&kept.setting.text, TEXT_MAX_BYTES)
            || kept.setting.meta.as_json().len() > STATUS_META_MAX_BYTES
            || profile.is_some_and(|p| too_long(&p.name, PROFILE_NAME_MAX_BYTES))
            || profile.is_some_and(|p| p.meta.as_json().len() > PROFILE_META_MAX_BYTES)
        {
            return Some("a text or object of the status or the profile is too long");
        }
        None
    }
}
