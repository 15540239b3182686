//! What is kept of a user: setting, live sessions, privacy, profile, counts.
//!
//! A [`UserRecord`] is small (a few KiB at most); contacts, blocks, history and idempotency keys are rows of their own.

use crate::{
    UnixMs,
    id::{Device, NodeName, SessionId},
    limits::{PROFILE_META_MAX_BYTES, STATUS_META_MAX_BYTES},
    public::Status,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What a user set by hand. `Online` is automatic: it never hides idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManualStatus {
    /// Automatic.
    Online = 0,
    /// Shown as away.
    Away = 1,
    /// Do not disturb.
    Dnd = 2,
    /// Shown as a clean sign-off.
    Invisible = 3,
}

/// A JSON object in compact form, opaque to the rules.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Meta(Box<str>);

impl Meta {
    /// The empty object.
    #[must_use]
    pub fn empty() -> Self {
        Self(Box::from("{}"))
    }

    /// Takes an object in compact JSON; the caller has parsed it. `None` when it is longer than `max` bytes or is no
    /// object.
    #[must_use]
    pub fn from_compact_json(json: String, max: usize) -> Option<Self> {
        (json.len() <= max && json.starts_with('{') && json.ends_with('}')).then(|| Self(json.into_boxed_str()))
    }

    /// The object as compact JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

const _: () = assert!(STATUS_META_MAX_BYTES < PROFILE_META_MAX_BYTES);

/// The status setting. A PUT replaces all of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Setting {
    /// What was set.
    pub status: ManualStatus,
    /// Free text, at most 512 bytes.
    pub text: Option<Box<str>>,
    /// Free object, at most 2,048 bytes.
    pub meta: Meta,
    /// When the setting clears itself.
    pub expires_at: Option<UnixMs>,
}

impl Setting {
    /// Nothing set.
    #[must_use]
    pub fn automatic() -> Self {
        Self { status: ManualStatus::Online, text: None, meta: Meta::empty(), expires_at: None }
    }
}

/// Whether a person is at the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// In use.
    Active = 0,
    /// Open, but not in use.
    Idle = 1,
}

/// How a session proves that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// By heartbeats, timed at the home.
    Http = 0,
    /// By its connection, judged by the node that holds the socket.
    WebSocket = 1,
}

/// The node that holds a WebSocket: a name and a generation, so that a restarted node is somebody new.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Holder {
    /// The node's name.
    pub node: NodeName,
    /// The node's generation, rising with each start.
    pub generation: u64,
}

/// A connection as its user's home knows it: the node that holds the socket, and that node's number for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ConnectionAt {
    /// The node.
    pub holder: Holder,
    /// Counts the node's connections since its start.
    pub number: u64,
}

/// One device that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The device it runs on.
    pub device: Device,
    /// Whether a person is there.
    pub activity: Activity,
    /// How it proves life.
    pub kind: SessionKind,
    /// When it was opened.
    pub opened_at: UnixMs,
    /// Last durable evidence of life; the home's memory may know later ones.
    pub heard_at: UnixMs,
    /// Counts connections that held the session; a report with an older number is ignored.
    pub attachment: u32,
    /// The connection that holds it (WebSocket only).
    pub held_by: Option<ConnectionAt>,
    /// SHA-256 of the resume token (WebSocket only).
    pub resume_hash: Option<[u8; 32]>,
}

/// Who may see a part of the presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever may see the presence.
    Contacts = 0,
    /// Nobody.
    Nobody = 1,
}

/// The privacy setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Privacy {
    /// Who sees `last_seen`, and `since` while offline.
    pub last_seen: Audience,
    /// Who sees the devices.
    pub devices: Audience,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { last_seen: Audience::Contacts, devices: Audience::Contacts }
    }
}

/// Durable user metadata, not part of the presence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Profile {
    /// A name to show, at most 128 bytes.
    pub name: Option<Box<str>>,
    /// Free object, at most 4,096 bytes.
    pub meta: Meta,
}

impl Profile {
    /// What is shown when nothing is set or nothing may be seen.
    #[must_use]
    pub fn empty() -> Self {
        Self { name: None, meta: Meta::empty() }
    }
}

/// What is shown of the user's coming and going, masked by invisibility but not yet by privacy. Invariant: moves only in
/// [`apply`](crate::apply::apply).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Shown {
    /// The public status.
    pub status: Status,
    /// When it began; `None` when the user was never seen.
    pub since: Option<UnixMs>,
    /// The last evidence of life that was shown to anybody; never moves back.
    pub last_seen: Option<UnixMs>,
    /// The revision of the last change of the public presence; 0 before the first.
    pub version: u64,
}

/// All of a user that is small and changes together.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserRecord {
    /// The status setting.
    pub setting: Setting,
    /// Live sessions in the order of their opening.
    pub sessions: Vec<Session>,
    /// The privacy setting.
    pub privacy: Privacy,
    /// What is shown.
    pub shown: Shown,
    /// How many contacts the user has.
    pub contacts: u32,
    /// How many blocks the user has.
    pub blocks: u32,
    /// Sequence of the oldest history entry kept.
    pub history_first: u64,
    /// Sequence of the next history entry.
    pub history_next: u64,
    /// Whether a profile row exists.
    pub has_profile: bool,
}

impl UserRecord {
    /// A user of whom nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            setting: Setting::automatic(),
            sessions: Vec::new(),
            privacy: Privacy::default(),
            shown: Shown { status: Status::Offline, since: None, last_seen: None, version: 0 },
            contacts: 0,
            blocks: 0,
            history_first: 0,
            history_next: 0,
            has_profile: false,
        }
    }

    /// The live session with this id.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.iter().find(|s| s.id == *id)
    }
}
