//! What a home asks the state machine to do: intents, never results.
//!
//! A command carries the time and the identifiers that the home chose, and the term of that home; an entry carries up
//! to [`ENTRY_MAX_COMMANDS`](crate::limits::ENTRY_MAX_COMMANDS) commands and the capacities they are judged by.

use crate::{
    RULES_WITH_HISTORY_AGE, RULES_WITH_RESTORE, UnixMs,
    id::{Device, SessionId, UserId},
    idempotency::RequestKey,
    limits,
    record::{Activity, ConnectionAt, ManualStatus, Meta, Privacy, Profile, SessionKind},
    restored::Restored,
};
use alloc::{boxed::Box, vec::Vec};
use bincode::{
    Decode, Encode,
    de::Decoder,
    enc::Encoder,
    error::{DecodeError, EncodeError},
};

/// Capacities that an operator may set; they travel in the entry so that every replica uses the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Most contacts of a user.
    pub contacts_max: u32,
    /// Most blocks of a user.
    pub blocks_max: u32,
    /// Most live sessions of a user.
    pub sessions_max: u32,
    /// Most history entries kept of a user.
    pub history_max: u32,
    /// How long history entries are kept, ms; [`HISTORY_AGE_NEVER`] for ever. Known since
    /// [`RULES_WITH_HISTORY_AGE`](crate::RULES_WITH_HISTORY_AGE).
    pub history_age_ms: u64,
}

/// The [`history_age_ms`](Policy::history_age_ms) at which nothing is dropped for its age.
pub const HISTORY_AGE_NEVER: u64 = u64::MAX;

impl Policy {
    /// What of it entries under `rules` carry. Whoever applies one must not go by more, or replicas would differ.
    #[must_use]
    pub fn under(self, rules: u16) -> Self {
        let history_age_ms = if rules < RULES_WITH_HISTORY_AGE { HISTORY_AGE_NEVER } else { self.history_age_ms };
        Self { history_age_ms, ..self }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            contacts_max: limits::CONTACTS_MAX,
            blocks_max: limits::BLOCKS_MAX,
            sessions_max: limits::SESSIONS_MAX,
            history_max: limits::HISTORY_MAX_ENTRIES,
            history_age_ms: limits::HISTORY_AGE_S * 1_000,
        }
    }
}

/// What one Raft entry holds. Its bytes depend on its rules: what newer ones added is not there under older ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The rules' version it was proposed under ([`RULES_VERSION`](crate::RULES_VERSION)).
    pub rules: u16,
    /// The capacities of the home that proposed it.
    pub policy: Policy,
    /// Applied one after the other, in this order.
    pub commands: Vec<Command>,
}

impl Encode for Entry {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let Policy { contacts_max, blocks_max, sessions_max, history_max, history_age_ms } = self.policy;
        (self.rules, contacts_max, blocks_max, sessions_max, history_max).encode(encoder)?;
        if self.rules >= RULES_WITH_HISTORY_AGE {
            history_age_ms.encode(encoder)?;
        }
        self.commands.encode(encoder)
    }
}

impl<C> Decode<C> for Entry {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (rules, contacts_max, blocks_max, sessions_max, history_max) = Decode::decode(decoder)?;
        let history_age_ms = if rules < RULES_WITH_HISTORY_AGE { HISTORY_AGE_NEVER } else { Decode::decode(decoder)? };
        let policy = Policy { contacts_max, blocks_max, sessions_max, history_max, history_age_ms };
        Ok(Self { rules, policy, commands: Decode::decode(decoder)? })
    }
}

bincode::impl_borrow_decode!(Entry);

/// One wish concerning one user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// The user it concerns.
    pub user: UserId,
    /// The term of the home that made it; applied under another, it has no effect.
    pub term: u64,
    /// The home's wall clock when it made it.
    pub at: UnixMs,
    /// The client's idempotency key, if any.
    pub key: Option<RequestKey>,
    /// The wish.
    pub intent: Intent,
}

/// Which list of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum ListKind {
    /// Those who may see the user, and whom the user watches.
    Contacts = 0,
    /// Those who may not see the user, nor be seen.
    Blocks = 1,
}

/// A change of a list, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ListChanges {
    /// Which list.
    pub list: ListKind,
    /// To be on it.
    pub add: Vec<UserId>,
    /// To be off it; no id is in both.
    pub remove: Vec<UserId>,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum EndCause {
    /// The client, or somebody in its name, said so.
    Closed = 0,
    /// No sign of life for longer than the TTL or the grace.
    Expired = 1,
    /// The node that held it was declared dead.
    NodeLost = 2,
}

/// What is wished. Tags are pinned by their order and a golden-bytes test.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Intent {
    /// A device comes alive.
    OpenSession {
        /// Minted by the node that took the request.
        session: SessionId,
        /// The device.
        device: Device,
        /// Whether a person is there.
        activity: Activity,
        /// How it proves life.
        kind: SessionKind,
        /// The connection that holds it (WebSocket only).
        held_by: Option<ConnectionAt>,
        /// SHA-256 of the resume token (WebSocket only).
        resume_hash: Option<[u8; 32]>,
    },
    /// Another connection takes a WebSocket's session over.
    AttachSession {
        /// Which session.
        session: SessionId,
        /// Must hash to the session's own resume hash.
        resume_hash: [u8; 32],
        /// The connection that holds it now.
        held_by: ConnectionAt,
    },
    /// A session turns active or idle.
    SetActivity {
        /// Which session.
        session: SessionId,
        /// What it turns.
        activity: Activity,
    },
    /// A session ends.
    EndSession {
        /// Which session.
        session: SessionId,
        /// The attachment whose end this is; `None` ends it whatever holds it.
        attachment: Option<u32>,
        /// Why.
        cause: EndCause,
        /// Last evidence of life.
        heard_at: UnixMs,
    },
    /// Replaces the status setting.
    PutStatus {
        /// What to set.
        status: ManualStatus,
        /// At most 512 bytes.
        text: Option<Box<str>>,
        /// At most 2,048 bytes.
        meta: Meta,
        /// Seconds until it clears itself.
        expires_in_s: Option<u64>,
    },
    /// Back to automatic, text and meta cleared.
    ClearStatus,
    /// The setting's time has come; no effect if it was replaced meanwhile.
    ExpireStatus {
        /// The expiry that came due.
        expires_at: UnixMs,
    },
    /// Changes contacts or blocks.
    ChangeList(ListChanges),
    /// Replaces the privacy setting.
    PutPrivacy(Privacy),
    /// Replaces the profile.
    PutProfile(Profile),
    /// Removes the profile.
    DeleteProfile,
    /// Removes the user with everything known of it.
    DeleteUser,
    /// Whatever session a connection holds ends; none if another connection took it over.
    EndHeld {
        /// The connection.
        held_by: ConnectionAt,
        /// Last evidence of life.
        heard_at: UnixMs,
    },
    /// Drops history entries that are too old, up to [`HISTORY_DROP_MAX`](limits::HISTORY_DROP_MAX), and answers that were
    /// remembered long enough: also the last one of a user who was deleted.
    DropExpired,
    /// Puts back a part of what a backup has of the user, unless the user is there already.
    Restore(Box<Restored>),
}

impl Intent {
    /// The first rules that know it: an older program cannot even read it.
    #[must_use]
    pub fn since_rules(&self) -> u16 {
        match self {
            Self::DropExpired => RULES_WITH_HISTORY_AGE,
            Self::Restore(_) => RULES_WITH_RESTORE,
            _ => 1,
        }
    }
}
