//! What the API asks of a node. Implemented by `node`; the API's tests have an implementation of their own.
//!
//! Users, sessions and settings come in validated. Every call ends by itself within a few seconds: `Unavailable` when no
//! home could be reached or its answer is not known.

use crate::{
    figures::Figures,
    wire::{ClusterStatus, EncodedPresence, Located},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rollcall_presence::{
    Activity, Answer, Device, HistoryEntry, Intent, ListKind, NodeName, Privacy, Profile, PublicPresence, RequestKey,
    SessionId, SessionKind, Setting, UnixMs, UserId, Viewer, outcome::Capacity,
};
use serde::Serialize;
use std::{
    sync::Arc,
    task::{Context, Poll},
};

/// A presence as a viewer may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The presence; the never-seen user where the viewer may not see.
    pub presence: PublicPresence,
    /// Whether this node could not confirm it with the user's home.
    pub stale: bool,
}

/// A live session, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// Its id.
    pub session: SessionId,
    /// The device.
    pub device: Device,
    /// Whether a person is there.
    pub activity: Activity,
    /// How it proves life.
    pub kind: SessionKind,
    /// When it was opened.
    pub opened: UnixMs,
    /// The last sign of life known at the home.
    pub last_heartbeat: UnixMs,
}

/// Part of an ordered list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts: the last item's position; `None` at the end.
    pub next: Option<C>,
}

/// Which history entries are wanted, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// From this time on.
    pub from: UnixMs,
    /// Before this time.
    pub to: UnixMs,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
    /// Only entries with a lower sequence.
    pub before: Option<u64>,
}

/// Why the service did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// No live session has this id; nothing changed.
    #[error("no such live session; open a new one")]
    UnknownSession,
    /// The idempotency key was used for another request; nothing changed.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A capacity of the user or connection is full; nothing changed.
    #[error("at most {max} {what}")]
    LimitExceeded {
        /// Of what: `contacts`, `blocks`, `sessions`, `connections`, `watches`.
        what: &'static str,
        /// How many at most.
        max: u64,
    },
    /// Too many requests; nothing changed.
    #[error("too many requests")]
    RateLimited {
        /// When to try again, ms.
        after_ms: u64,
    },
    /// No quorum, no reachable home, or too much at once; a write may or may not take effect later.
    #[error("{why}")]
    Unavailable {
        /// Why, for people.
        why: &'static str,
        /// When to try again, ms.
        after_ms: u64,
    },
    /// No such node.
    #[error("no such node")]
    UnknownNode,
    /// Refused in the cluster's present state.
    #[error("{0}")]
    Conflict(String),
    /// What was to be restored is nothing of a backup; nothing changed.
    #[error("{0}")]
    Malformed(String),
    /// A defect; logged where it was found.
    #[error("internal error")]
    Internal,
}

impl ServiceError {
    /// A capacity's refusal as a service error.
    #[must_use]
    pub fn capacity(what: Capacity, max: u32) -> Self {
        let what = match what {
            Capacity::Contacts => "contacts",
            Capacity::Blocks => "blocks",
            Capacity::Sessions => "sessions",
        };
        Self::LimitExceeded { what, max: u64::from(max) }
    }
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RestoreCounts {
    /// Users that are as the backup has them, now or since an earlier try.
    pub restored: u64,
    /// Users that were there before, and are as they were.
    pub left_alone: u64,
}

/// A WebSocket or event stream that wants to be served.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Whose connection it is.
    pub viewer: Viewer,
    /// `None` for an observer.
    pub session: Option<NewSession>,
    /// Whether to watch the user's contacts, as they change.
    pub watch_contacts: bool,
}

/// The session that a connection brings with it.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its device.
    pub device: Device,
    /// The resume token of a session to take over, as the client sent it; a late, unknown or foreign one opens a new session.
    pub resume: Option<String>,
}

/// What a connection is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The session, `None` for an observer.
    pub session: Option<SessionId>,
    /// Whether an earlier session was taken over.
    pub resumed: bool,
    /// The node that serves it.
    pub node: NodeName,
    /// The token to resume with, `None` for an observer.
    pub resume: Option<String>,
}

/// Why a connection is closed by the server, with its close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoodbyeReason {
    /// The node is being emptied.
    Drain = 4000,
    /// The token's time is over.
    TokenExpired = 4001,
    /// A newer connection holds the session.
    Replaced = 4002,
    /// The session was ended, or the user deleted.
    Revoked = 4003,
    /// It reads too slowly.
    Slow = 4004,
    /// The node stops.
    Shutdown = 4005,
    /// The node lost the cluster.
    Isolated = 4006,
}

impl GoodbyeReason {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::TokenExpired => "token_expired",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Slow => "slow",
            Self::Shutdown => "shutdown",
            Self::Isolated => "isolated",
        }
    }
}

/// What is to be sent on a connection.
#[derive(Debug)]
pub enum Delivery {
    /// Changes of watched users, one a user; at most 500 at once.
    Presences(Vec<Arc<EncodedPresence>>),
    /// Contacts that are no longer watched.
    Unwatched(Vec<UserId>),
    /// The connection is to be closed.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
        /// When the client may come back, ms.
        after_ms: u64,
    },
}

/// How a connection ended, for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it with 1000 or without a code, or it was revoked: the session ends now.
    Closed,
    /// Anything else: the session has its grace.
    Lost {
        /// The last sign of life.
        heard_at: UnixMs,
    },
}

/// One served connection; dropped without [`close`](Connection::close) it counts as lost now.
#[async_trait]
pub trait Connection: Send + 'static {
    /// What to send next. One task polls it; the latest state of a watched user replaces an older pending one.
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Delivery>;

    /// Ready when [`poll_delivery`](Self::poll_delivery) would give something, which stays where it is and may be replaced
    /// by something newer; else the task is woken when there is something. An implementation that does not know may say
    /// ready: it costs a timer per delivery.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Watches `users`, each with the version the client knows (or none), and gives the snapshot to answer with: for known
    /// versions only what is newer, and version 0 where more was known. What was pending for these users is in it.
    ///
    /// # Errors
    /// `LimitExceeded` (`watches`) or `Unavailable`; nothing changed.
    async fn watch(&mut self, users: Vec<(UserId, Option<u64>)>) -> Result<Vec<Arc<EncodedPresence>>, ServiceError>;

    /// The snapshot of the user's contacts that follows `welcome`, when they are watched. Asked for once.
    ///
    /// # Errors
    /// `Unavailable`; the client has to connect again.
    async fn contacts_snapshot(&mut self) -> Result<Vec<Arc<EncodedPresence>>, ServiceError>;

    /// Stops watching `users`; nothing about them comes afterwards.
    async fn unwatch(&mut self, users: Vec<UserId>) -> Result<(), ServiceError>;

    /// The session turns active or idle; answered once durable.
    ///
    /// # Errors
    /// `UnknownSession` when it has ended, or `Unavailable`.
    async fn activity(&mut self, activity: Activity) -> Result<(), ServiceError>;

    /// How many pending states newer ones have replaced since this was asked last.
    fn take_conflated(&mut self) -> u64 {
        0
    }

    /// A sign of life of the session, at `at`. Cheap, never on a disk.
    fn heard(&mut self, at: UnixMs);

    /// The connection is over.
    async fn close(self: Box<Self>, ending: Ending);
}

/// A node's presence service, wherever the users' homes are.
#[async_trait]
pub trait PresenceService: Send + Sync + 'static {
    /// Carries out a write at the user's home; returns once it is durable.
    ///
    /// # Errors
    /// [`ServiceError`]; only after `Unavailable` may it still take effect.
    async fn write(&self, user: &UserId, intent: Intent, key: Option<RequestKey>) -> Result<Answer, ServiceError>;

    /// A heartbeat of a session, and its activity if it changed; durable only in the latter case.
    ///
    /// # Errors
    /// `UnknownSession` when it has ended.
    async fn heartbeat(
        &self,
        user: &UserId,
        session: &SessionId,
        activity: Option<Activity>,
        key: Option<RequestKey>,
    ) -> Result<(), ServiceError>;

    /// The live sessions of a user, in the order of their opening.
    async fn sessions(&self, user: &UserId) -> Result<Vec<LiveSession>, ServiceError>;

    /// The status setting and the presence of a user.
    async fn status(&self, user: &UserId) -> Result<(Setting, Seen), ServiceError>;

    /// Part of a list in byte order of the id, after `after`.
    async fn list(
        &self,
        user: &UserId,
        list: ListKind,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<(UserId, UnixMs), UserId>, ServiceError>;

    /// The privacy setting of a user.
    async fn privacy(&self, user: &UserId) -> Result<Privacy, ServiceError>;

    /// The profile of a user as `viewer` may see it.
    async fn profile(&self, viewer: &Viewer, user: &UserId) -> Result<Profile, ServiceError>;

    /// Presences as `viewer` may see them, in the order asked, duplicates kept.
    async fn presences(&self, viewer: &Viewer, users: &[UserId]) -> Result<Vec<Seen>, ServiceError>;

    /// Part of a user's history, newest first.
    async fn history(&self, user: &UserId, query: HistoryQuery) -> Result<Page<HistoryEntry, u64>, ServiceError>;

    /// Serves a connection; its session is durable on return.
    ///
    /// # Errors
    /// `LimitExceeded`, `Unavailable`.
    async fn connect(&self, request: ConnectRequest) -> Result<(Welcome, Box<dyn Connection>), ServiceError>;

    /// The whole cluster, as far as this node can confirm it.
    async fn cluster_status(&self) -> ClusterStatus;

    /// Where a user lives.
    async fn locate(&self, user: &UserId) -> Located;

    /// Begins to move everything away from a node.
    async fn drain(&self, node: &NodeName) -> Result<(), ServiceError>;

    /// Begins to rebuild a node's replicas elsewhere, to forget it afterwards.
    async fn remove(&self, node: &NodeName) -> Result<(), ServiceError>;

    /// All users of the cluster as the bytes of a backup, made as they are taken; dropping them ends it. One that could not be
    /// finished says so in its last bytes.
    ///
    /// # Errors
    /// `Unavailable` when another one is being made.
    async fn backup(&self) -> Result<BoxStream<'static, Bytes>, ServiceError>;

    /// Restores the users in `items`, a piece of a backup; with `overwrite` those too that are there.
    ///
    /// # Errors
    /// `Malformed` or `Conflict`, and nothing changed; after `Unavailable` some may be restored, and repeating it is safe.
    async fn restore(&self, items: Bytes, overwrite: bool) -> Result<RestoreCounts, ServiceError>;

    /// This node in numbers; cheap, and without a word to other nodes.
    async fn figures(&self) -> Figures;

    /// Whether it can serve: `Err` says why not.
    async fn ready(&self) -> Result<(), &'static str>;
}
