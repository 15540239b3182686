//! The rules of presence, and nothing else.
//!
//! Everything here is a value with synchronous methods: no clock, no input or output, no randomness; time and
//! identifiers come in from outside. [`apply`](apply::apply) is the only place where a public presence, its version and its
//! history entries are computed. `no_std` makes the compiler the guard of that purity.
#![no_std]
#![cfg_attr(not(test), deny(clippy::expect_used))]

extern crate alloc;

pub mod apply;
pub mod codec;
pub mod command;
pub mod deadline;
mod history;
pub mod id;
pub mod idempotency;
pub mod ledger;
pub mod limits;
pub mod outcome;
pub mod placement;
pub mod public;
pub mod record;
pub mod restored;
pub mod ring;
pub mod visibility;

pub use apply::{Relations, apply};
pub use command::{Command, EndCause, Entry, Intent, ListChanges, ListKind, Policy};
pub use id::{Device, InvalidId, NodeName, SessionId, UserId};
pub use idempotency::{KeyTable, RequestKey};
pub use ledger::Ledger;
pub use outcome::{Answer, HistoryEntry, Outcome, Reason, Refusal, Row};
pub use placement::{
    Applied, Assignment, Incoming, Member, MemberState, Move, Newcomer, Placement, PlacementCommand, PlacementRefusal,
    Standing, Target, View, apply_placement, placement_voters, plan_moves,
};
pub use public::{PublicPresence, Status, TrueStatus};
pub use record::{
    Activity, Audience, ConnectionAt, Holder, ManualStatus, Meta, Privacy, Profile, Session, SessionKind, Setting,
    UserRecord,
};
pub use restored::{Kept, RestoreMark, Restored, RestoredAs};
pub use ring::{PartitionId, Ring, partition_of};
pub use visibility::{Viewer, Visibility};

/// Milliseconds since the Unix epoch.
pub type UnixMs = u64;

/// The version of these rules; an entry carries the version it was proposed under, so that old and new nodes agree on what
/// an entry means. Raised whenever [`apply`](apply::apply) would compute anything differently.
///
/// 1: the first. 2: history has an age, and [`Intent::DropExpired`] drops what is older.
/// 3: [`Intent::Restore`] puts back what a backup has.
pub const RULES_VERSION: u16 = 3;

/// The first rules under which history has an age.
pub const RULES_WITH_HISTORY_AGE: u16 = 2;

/// The first rules under which a user can be restored.
pub const RULES_WITH_RESTORE: u16 = 3;
