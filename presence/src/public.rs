//! The one public presence of a user, and its computation from the record.
//!
//! A pure function of live sessions, setting, privacy and what was shown before; every viewer who may see it sees the same.

use crate::{
    UnixMs,
    id::{Device, UserId},
    record::{Activity, Audience, ManualStatus, Meta, UserRecord},
};
use alloc::{boxed::Box, vec::Vec};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Alive, and at a device.
    Online = 0,
    /// Alive, but idle, or set so.
    Away = 1,
    /// Do not disturb.
    Dnd = 2,
    /// Not alive, or invisible.
    Offline = 3,
}

/// What is true, for the user's own history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrueStatus {
    /// Alive, and at a device.
    Online = 0,
    /// Alive, but idle, or set so.
    Away = 1,
    /// Do not disturb.
    Dnd = 2,
    /// No live session.
    Offline = 3,
    /// Alive, and shown offline.
    Invisible = 4,
}

/// The public presence, without the staleness that only a node can know.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublicPresence {
    /// The user.
    pub user: UserId,
    /// Its status.
    pub status: Status,
    /// Free text, while not offline.
    pub text: Option<Box<str>>,
    /// Free object, while not offline.
    pub meta: Meta,
    /// When the status began.
    pub since: Option<UnixMs>,
    /// While offline, the last evidence of life.
    pub last_seen: Option<UnixMs>,
    /// The distinct devices of live sessions, sorted.
    pub devices: Vec<Device>,
    /// Rises with every change of the fields above; 0 for the never-seen user.
    pub version: u64,
}

impl PublicPresence {
    /// What is shown of a user that was never seen, or may not be seen: no difference between the two.
    #[must_use]
    pub fn never_seen(user: UserId) -> Self {
        Self {
            user,
            status: Status::Offline,
            text: None,
            meta: Meta::empty(),
            since: None,
            last_seen: None,
            devices: Vec::new(),
            version: 0,
        }
    }

    /// The public presence that `record` stands for.
    #[must_use]
    pub fn of(user: &UserId, record: &UserRecord) -> Self {
        let shown = &record.shown;
        let offline = shown.status == Status::Offline;
        let seen_hidden = record.privacy.last_seen == Audience::Nobody;
        let devices_hidden = record.privacy.devices == Audience::Nobody;
        Self {
            user: user.clone(),
            status: shown.status,
            text: if offline { None } else { record.setting.text.clone() },
            meta: if offline { Meta::empty() } else { record.setting.meta.clone() },
            since: if offline && seen_hidden { None } else { shown.since },
            last_seen: if offline && !seen_hidden { shown.last_seen } else { None },
            devices: if offline || devices_hidden { Vec::new() } else { devices(record) },
            version: shown.version,
        }
    }

    /// Whether everything but the version is the same.
    #[must_use]
    pub fn same_fields(&self, other: &Self) -> bool {
        self.user == other.user
            && self.status == other.status
            && self.text == other.text
            && self.meta == other.meta
            && self.since == other.since
            && self.last_seen == other.last_seen
            && self.devices == other.devices
    }
}

/// The distinct devices of the live sessions, sorted.
#[must_use]
pub fn devices(record: &UserRecord) -> Vec<Device> {
    let mut devices: Vec<Device> = record.sessions.iter().map(|s| s.device.clone()).collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

/// The true status: what the sessions and the setting say together.
#[must_use]
pub fn true_status(record: &UserRecord) -> TrueStatus {
    if record.sessions.is_empty() {
        return TrueStatus::Offline;
    }
    match record.setting.status {
        ManualStatus::Invisible => TrueStatus::Invisible,
        ManualStatus::Away => TrueStatus::Away,
        ManualStatus::Dnd => TrueStatus::Dnd,
        ManualStatus::Online if any_active(record) => TrueStatus::Online,
        ManualStatus::Online => TrueStatus::Away,
    }
}

/// Whether any live session is active.
#[must_use]
pub fn any_active(record: &UserRecord) -> bool {
    record.sessions.iter().any(|s| s.activity == Activity::Active)
}

/// The true status as others see it.
#[must_use]
pub fn masked(status: TrueStatus) -> Status {
    match status {
        TrueStatus::Online => Status::Online,
        TrueStatus::Away => Status::Away,
        TrueStatus::Dnd => Status::Dnd,
        TrueStatus::Offline | TrueStatus::Invisible => Status::Offline,
    }
}
