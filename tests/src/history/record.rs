//! What a run leaves behind, a record at a time. Every record is one line of the file that a failing run is kept in.
//!
//! Times are microseconds since the run began, monotonic. Nodes go by their names (`n1`), users by their ids.

use super::Promises;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Microseconds since the run began.
pub type Micros = u64;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// What the run was set to, and what must hold for it.
    Promises(Promises),
    /// What a client asked for, and what came of it.
    Op(Op),
    /// A watcher's connection that came or went.
    Link(Link),
    /// One subject in one frame that a watcher was sent.
    Sighting(Sighting),
    /// A sign of a user's life, or its end.
    Life(Life),
    /// A fault that was injected.
    Fault(Fault),
    /// Who leads a partition, as one node says.
    Role(Role),
    /// What a node says of a user, once all was quiet.
    Read(FinalRead),
    /// A user's history, once all was quiet.
    Pages(Pages),
    /// What a node uses.
    Sample(Sample),
    /// Everything has come to rest: nobody writes from here on, and watchers had time to hear of it.
    Quiet {
        /// Since when.
        at: Micros,
    },
    /// Records that were left out, because the history was full.
    Dropped {
        /// How many.
        count: usize,
    },
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// GET presence.
    Read,
    /// PUT status.
    SetStatus,
    /// DELETE status.
    ClearStatus,
    /// POST a session.
    OpenSession,
    /// DELETE a session.
    EndSession,
    /// PUT a session.
    Heartbeat,
    /// PUT a contact.
    AddContact,
    /// DELETE a contact.
    RemoveContact,
    /// PUT a block.
    Block,
    /// DELETE a block.
    Unblock,
}

impl OpKind {
    /// Whether a 2xx promises durability.
    #[must_use]
    pub fn is_durable(self) -> bool {
        !matches!(self, Self::Read | Self::Heartbeat)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused: without effect.
    Fail,
    /// No answer, or one that says nothing: it may have taken effect, or take effect later.
    Unknown,
}

/// What a client asked for, and what came of it. A write that was repeated under one idempotency key is one op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Who asked.
    pub client: String,
    /// Whose presence, setting, sessions or lists.
    pub user: String,
    /// What for.
    pub kind: OpKind,
    /// The other user, of contacts and blocks.
    pub other: Option<String>,
    /// The status that was set, of PUT status.
    pub status: Option<String>,
    /// The text that was set: unique over the run (`s-<client>-<n>`).
    pub serial: Option<String>,
    /// When it was first sent.
    pub start: Micros,
    /// When the answer was there, or was given up.
    pub end: Micros,
    /// What came of it.
    pub outcome: Outcome,
    /// The version in the answer.
    pub version: Option<u64>,
    /// The node that answered, or was asked last.
    pub node: String,
    /// How often it was sent.
    pub attempts: u32,
    /// What a read was shown.
    pub seen: Option<Presence>,
}

impl Op {
    /// Whether it may have had an effect.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.outcome != Outcome::Fail
    }

    /// The moment until which it may take effect; never ends, if that is unknown.
    #[must_use]
    pub fn latest(&self) -> Micros {
        if self.outcome == Outcome::Unknown { Micros::MAX } else { self.end }
    }
}

/// A presence, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// `online`, `away`, `dnd`, `offline`.
    pub status: String,
    /// The text.
    pub text: Option<String>,
    /// The version.
    pub version: u64,
    /// Whether the node could not confirm it.
    pub stale: bool,
    /// A hash of all fields but `stale`: two of one version must have the same.
    pub digest: u64,
}

impl Presence {
    /// Of the contract's JSON; `None` if it is none.
    #[must_use]
    pub fn of(presence: &Value) -> Option<Self> {
        let mut whole = presence.clone();
        whole.as_object_mut()?.remove("stale");
        let mut hasher = DefaultHasher::new();
        whole.to_string().hash(&mut hasher);
        Some(Self {
            status: presence["status"].as_str()?.to_owned(),
            text: presence["text"].as_str().map(ToOwned::to_owned),
            version: presence["version"].as_u64()?,
            stale: presence["stale"].as_bool()?,
            digest: hasher.finish(),
        })
    }

    /// Whether it is shown as gone.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.status == "offline"
    }
}

/// A watcher's connection that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// One viewer's connections, one after the other.
    pub watcher: String,
    /// Whose eyes: the token's user.
    pub viewer: String,
    /// Its number at this watcher, rising.
    pub connection: u32,
    /// Where to.
    pub node: String,
    /// When.
    pub at: Micros,
    /// Whether it came.
    pub up: bool,
}

/// How a subject came to be in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In a `snapshot`.
    Snapshot,
    /// In a `presence`.
    Change,
    /// In an `unwatched`.
    Removed,
}

/// One subject in one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Who was told.
    pub watcher: String,
    /// Over which of its connections.
    pub connection: u32,
    /// When it was received.
    pub at: Micros,
    /// In what.
    pub source: Source,
    /// Of whom.
    pub subject: String,
    /// What was shown; nothing if removed.
    pub presence: Option<Presence>,
}

/// What is known of a user's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// A node heard of the user just now: a welcome, a pong, a heartbeat that was taken.
    Alive,
    /// The user ended the last session, and that was acknowledged.
    Left,
    /// The user says nothing from now on, and comes back no more unless a later sign says so.
    Silent,
}

/// A sign of a user's life, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Whose.
    pub user: String,
    /// When.
    pub at: Micros,
    /// Which.
    pub sign: Sign,
    /// How long the session lives after it without another: the grace of a connection, the TTL of an HTTP session.
    pub lasts_us: Micros,
    /// The node that heard it.
    pub node: String,
}

/// A node was killed without warning; ends when it was started again.
pub const KILL: &str = "kill";
/// A node was stopped in its tracks (SIGSTOP); ends when it goes on.
pub const PAUSE: &str = "pause";
/// The nodes were cut off from all others, both ways; ends when the links are whole.
pub const CUT_OFF: &str = "cut_off";

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// [`KILL`], [`PAUSE`], [`CUT_OFF`] or another word.
    pub kind: String,
    /// The nodes that it befell; of a cut, the smaller side.
    pub nodes: Vec<String>,
    /// When it had taken effect.
    pub start: Micros,
    /// When it began to be taken back; never, if `None`.
    pub end: Option<Micros>,
}

impl Fault {
    /// Whether it befell `node` at `at`, or had ended no longer than `after` before.
    #[must_use]
    pub fn befalls(&self, node: &str, at: Micros, after: Micros) -> bool {
        let over = self.end.map_or(Micros::MAX, |end| end.saturating_add(after));
        self.start <= at && at <= over && self.nodes.iter().any(|n| n == node)
    }
}

/// Who leads a partition, as one node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// When it said so.
    pub at: Micros,
    /// Who said so.
    pub node: String,
    /// Which partition.
    pub partition: u64,
    /// The term.
    pub term: u64,
    /// The leader.
    pub leader: String,
    /// The nodes that run replicas; none where the run did not write them down.
    #[serde(default)]
    pub replicas: Vec<String>,
}

/// What a node says of a user, once all was quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalRead {
    /// Whose eyes.
    pub viewer: String,
    /// Of whom.
    pub user: String,
    /// Who said so.
    pub node: String,
    /// When.
    pub at: Micros,
    /// What.
    pub presence: Presence,
}

/// One entry of a user's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The public version after it.
    pub version: u64,
    /// The true status after it.
    pub status: String,
    /// The text; `None` also while offline.
    pub text: Option<String>,
    /// The contract's reason.
    pub reason: String,
}

/// A user's history, once all was quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Whose.
    pub user: String,
    /// Who said so.
    pub node: String,
    /// Whether the oldest entry is the user's first: nothing was dropped for its age or number.
    pub complete: bool,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

/// When a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Under the load of before the first fault.
    Before,
    /// While faults come and go.
    During,
    /// With the same load, and all healed.
    After,
}

/// What a node uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Micros,
    /// Which node.
    pub node: String,
    /// In which phase.
    pub phase: Phase,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Users' actors.
    pub actors: Option<u64>,
}
