//! What [`apply`](crate::apply::apply) computed: the answer, the new public presence, and the rows that change.

use crate::{
    UnixMs,
    command::{Command, ListKind},
    id::{SessionId, UserId},
    ledger::Ledger,
    public::{PublicPresence, TrueStatus},
    record::{Privacy, Profile, Session, Setting},
    restored::{RestoreMark, Restored, RestoredAs},
};
use alloc::{boxed::Box, vec::Vec};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What the client is told of a command that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// Nothing but that it is done.
    Done,
    /// The session that is open now, or was taken over.
    Session(Session),
    /// The setting and the presence it leads to.
    Status {
        /// The setting.
        setting: Setting,
        /// The presence.
        presence: PublicPresence,
    },
    /// How many are on the list.
    Total(u32),
    /// The privacy setting.
    Privacy(Privacy),
    /// The profile.
    Profile(Profile),
    /// What became of a restored part.
    Restored(RestoredAs),
}

/// Why a command had no effect. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// No live session has this id, or the resume token is another's.
    #[error("no such live session")]
    UnknownSession,
    /// The report is of a connection that no longer holds the session.
    #[error("another connection holds the session")]
    OldAttachment,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// More of something than the capacity allows.
    #[error("at most {max} {what}")]
    LimitExceeded {
        /// Of what.
        what: Capacity,
        /// How many at most.
        max: u32,
    },
    /// The command was made by a home of another term.
    #[error("made by a home of term {made}, applied in term {applied}")]
    Fenced {
        /// The term of the home that made it.
        made: u64,
        /// The term in which it would apply.
        applied: u64,
    },
    /// The entry was proposed under rules that this node does not know.
    #[error("rules version {0} is not known here")]
    UnknownRules(u16),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Capacity {
    /// Contacts of a user.
    Contacts = 0,
    /// Blocks of a user.
    Blocks = 1,
    /// Sessions of a user.
    Sessions = 2,
}

impl core::fmt::Display for Capacity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Contacts => "contacts",
            Self::Blocks => "blocks",
            Self::Sessions => "sessions",
        })
    }
}

/// Why a history entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The first session opened.
    Connected = 0,
    /// The last session was closed.
    Disconnected = 1,
    /// The last session fell silent.
    Expired = 2,
    /// The node that held the last session died.
    NodeLost = 3,
    /// No session is active any more.
    Idle = 4,
    /// A session is active again.
    Active = 5,
    /// The setting was replaced.
    StatusSet = 6,
    /// The setting was cleared.
    StatusCleared = 7,
    /// The setting's time had come.
    StatusExpired = 8,
    /// Only the devices changed.
    DeviceChanged = 9,
}

/// One entry of a user's history.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HistoryEntry {
    /// Counts the user's entries; orders them.
    pub seq: u64,
    /// The public version after the change.
    pub version: u64,
    /// When.
    pub at: UnixMs,
    /// The true status.
    pub status: TrueStatus,
    /// The setting's text.
    pub text: Option<Box<str>>,
    /// Why.
    pub reason: Reason,
}

/// A row beside the record that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// `other` is on the list since `added`, or (with `None`) no longer.
    Listed {
        /// Which list.
        list: ListKind,
        /// Who.
        other: UserId,
        /// Since when.
        added: Option<UnixMs>,
    },
    /// A new history entry.
    History(HistoryEntry),
    /// History entries before `first` are no longer kept, from `from` on.
    HistoryDropped {
        /// The first sequence to drop.
        from: u64,
        /// The first sequence to keep.
        first: u64,
    },
    /// The profile, or (with `None`) none.
    Profile(Option<Profile>),
    /// How far a restore has come, or (with `None`) that none is under way.
    Restoring(Option<RestoreMark>),
    /// A part of a restore, kept until the last one comes, or (with `None`) no longer.
    Part {
        /// Which.
        part: u32,
        /// What.
        kept: Option<Box<Restored>>,
    },
}

/// All that one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The user it concerned.
    pub user: UserId,
    /// The partition's revision after it; rises with every command that had an effect.
    pub revision: u64,
    /// The time that it was applied at: never less than that of the command before.
    pub at: UnixMs,
    /// What the client is told.
    pub answer: Result<Answer, Refusal>,
    /// The new public presence, when it changed.
    pub presence: Option<PublicPresence>,
    /// The rows beside the record that changed.
    pub rows: Vec<Row>,
    /// Whether the record changed and has to be stored.
    pub record_changed: bool,
    /// Whether the key table changed and has to be stored.
    pub keys_changed: bool,
    /// Whether every row of the user is to be removed, before what else changed is stored: the deletion's own key stays.
    pub deleted: bool,
    /// Sessions that ended with it.
    pub ended: Vec<SessionId>,
}

impl Outcome {
    /// An answer to `command` that changed nothing.
    #[must_use]
    pub fn unchanged(ledger: &Ledger, command: &Command, answer: Result<Answer, Refusal>) -> Self {
        Self {
            user: command.user.clone(),
            revision: ledger.revision,
            at: ledger.now,
            answer,
            presence: None,
            rows: Vec::new(),
            record_changed: false,
            keys_changed: false,
            deleted: false,
            ended: Vec::new(),
        }
    }
}
