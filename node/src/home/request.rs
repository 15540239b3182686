//! What nodes ask of a user's home, and what homes tell the nodes that hold sockets: the messages that cross nodes.
//!
//! All of it encodes, so that a request goes to another node exactly as to this one.

use bincode::{Decode, Encode};
use rollcall_presence::{
    Activity, Answer, ConnectionAt, Device, HistoryEntry, Holder, Intent, ListKind, Privacy, Profile, PublicPresence,
    Refusal, RequestKey, Session, SessionId, Setting, UnixMs, UserId, Viewer,
};

/// The session that a connection brings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SessionWanted {
    /// The id for a new one, minted by the node that holds the socket.
    pub session: SessionId,
    /// Its device.
    pub device: Device,
    /// SHA-256 of the new session's resume token.
    pub resume_hash: [u8; 32],
    /// SHA-256 of the token that the client wants to resume with.
    pub resume: Option<[u8; 32]>,
}

/// What is asked of a home.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum HomeRequest {
    /// Carry out a write; answered once durable.
    Write {
        /// The user.
        user: UserId,
        /// The wish.
        intent: Intent,
        /// The client's idempotency key.
        key: Option<RequestKey>,
    },
    /// A session lives.
    Heartbeat {
        /// The user.
        user: UserId,
        /// The session.
        session: SessionId,
        /// Its activity, if told.
        activity: Option<Activity>,
        /// The client's idempotency key.
        key: Option<RequestKey>,
    },
    /// A WebSocket's session lives; not answered.
    Heard {
        /// The user.
        user: UserId,
        /// The session.
        session: SessionId,
        /// When.
        at: UnixMs,
    },
    /// Open or take over a session for a connection, and remember the connection.
    Connect {
        /// The user.
        user: UserId,
        /// The connection.
        at: ConnectionAt,
        /// The session; `None` for an observer.
        wanted: Option<SessionWanted>,
    },
    /// A connection is gone; its session is ended, if at all, by a write.
    Disconnect {
        /// The user.
        user: UserId,
        /// The connection.
        at: ConnectionAt,
    },
    /// The user's contacts, and from now on their changes to this connection.
    Follow {
        /// The user.
        user: UserId,
        /// The connection.
        at: ConnectionAt,
    },
    /// The viewer's half of who may see whom.
    Vet {
        /// Who wants to see.
        viewer: UserId,
        /// Whom.
        subjects: Vec<UserId>,
    },
    /// The subject's half, and from now on every change of it, and of the presences, to this node.
    Subscribe {
        /// The node that holds the socket.
        holder: Holder,
        /// Who wants to see.
        viewer: Viewer,
        /// Whom, all of this partition.
        subjects: Vec<UserId>,
    },
    /// Nobody on this node watches them any more.
    Unsubscribe {
        /// The node.
        holder: Holder,
        /// Whom.
        subjects: Vec<UserId>,
    },
    /// Presences as the subjects' half allows.
    Presences {
        /// Who asks.
        viewer: Viewer,
        /// Whom, all of this partition.
        subjects: Vec<UserId>,
    },
    /// Live sessions.
    Sessions(UserId),
    /// Setting and presence.
    Status(UserId),
    /// Privacy setting.
    Privacy(UserId),
    /// Profile, if the subject's half allows.
    Profile {
        /// Who asks.
        viewer: Viewer,
        /// Whose.
        user: UserId,
    },
    /// Part of a list.
    List {
        /// Whose.
        user: UserId,
        /// Which.
        list: ListKind,
        /// After this id.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// Part of the history, newest first.
    History {
        /// Whose.
        user: UserId,
        /// From this time on.
        from: UnixMs,
        /// Before this time.
        to: UnixMs,
        /// Below this sequence.
        before: Option<u64>,
        /// At most so many.
        limit: u32,
    },
}

/// What the subject's home says of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Granted {
    /// Whether the viewer may see it, as far as the subject is concerned.
    pub allowed: bool,
    /// Its presence; given in any case, since others on the node may see it.
    pub presence: PublicPresence,
}

/// What a home answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum HomeReply {
    /// To `Write`.
    Written(Answer),
    /// To `Heartbeat`, `Disconnect`, `Unsubscribe`.
    Done,
    /// To `Connect`.
    Connected {
        /// The session, `None` for an observer.
        session: Option<Session>,
        /// Whether it was taken over.
        resumed: bool,
    },
    /// To `Follow`: contacts, whether the user blocks them, and the user's partition's revision.
    Contacts {
        /// Contact and whether it is blocked by the user.
        contacts: Vec<(UserId, bool)>,
        /// The revision.
        revision: u64,
    },
    /// To `Vet`: whether the viewer blocks each, in the order asked, and the viewer's partition's revision.
    Vetted {
        /// Whether blocked.
        blocked: Vec<bool>,
        /// The revision.
        revision: u64,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// To `Subscribe`, in the order asked.
    Subscribed {
        /// One a subject.
        grants: Vec<Granted>,
        /// The partition's revision.
        revision: u64,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// To `Presences`, in the order asked; the never-seen user where not allowed.
    Presences {
        /// One a subject.
        presences: Vec<PublicPresence>,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// To `Sessions`: sessions and the last sign of life of each.
    Sessions(Vec<(Session, UnixMs)>),
    /// To `Status`.
    Status {
        /// The setting.
        setting: Setting,
        /// The presence.
        presence: PublicPresence,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// To `Privacy`.
    Privacy(Privacy),
    /// To `Profile`; `None` where there is none or it may not be seen.
    Profile(Option<Profile>),
    /// To `List`.
    List(Vec<(UserId, UnixMs)>),
    /// To `History`.
    History(Vec<HistoryEntry>),
}

/// Why a home did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum HomeError {
    /// The rules refuse; nothing was touched.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much at once; nothing was touched.
    #[error("too many requests in flight")]
    Busy,
    /// No home is known or reachable; nothing was touched.
    #[error("the user's home is not reachable")]
    NoHome,
    /// The outcome is not known; the write may take effect later.
    #[error("the outcome is not known")]
    Unknown,
    /// The home's store cannot be read.
    #[error("the home's store cannot be read")]
    Storage,
}

/// What homes tell a node that holds sockets. Everything carries the partition's revision; what is not newer is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum NodeNote {
    /// A watched user's presence changed.
    Presence {
        /// The new presence, its subject in it.
        presence: PublicPresence,
        /// The subject's partition's revision.
        revision: u64,
    },
    /// The subject's half of the decision changed for some viewers.
    SubjectDecides {
        /// The subject.
        subject: UserId,
        /// Viewer, and whether it may see now.
        viewers: Vec<(UserId, bool)>,
        /// The subject's partition's revision.
        revision: u64,
    },
    /// The subject was deleted: every viewer's half of the subject falls to `allowed`.
    SubjectForgotten {
        /// The subject.
        subject: UserId,
        /// What strangers may.
        allowed: bool,
        /// The subject's partition's revision.
        revision: u64,
    },
    /// The viewer's half of the decision changed for some subjects.
    ViewerDecides {
        /// The connection's number.
        number: u64,
        /// Subject, and whether the viewer allows it.
        subjects: Vec<(UserId, bool)>,
        /// The viewer's partition's revision.
        revision: u64,
    },
    /// The user's contacts changed: watch the added (with whether the user blocks them), forget the removed.
    Follow {
        /// The connection's number.
        number: u64,
        /// Added contacts, and whether blocked.
        added: Vec<(UserId, bool)>,
        /// Removed contacts.
        removed: Vec<UserId>,
        /// The user's partition's revision.
        revision: u64,
    },
    /// A newer connection holds the session.
    Replaced {
        /// The connection's number.
        number: u64,
    },
    /// The session was ended, or the user deleted.
    Revoked {
        /// The connection's number.
        number: u64,
    },
}
