//! A presence service in memory: one node, one partition, the real rules, and switches for what goes wrong.

mod outbox;
mod switches;
mod users;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use outbox::{FakeConnection, Outbox};
use parking_lot::Mutex;
use rollcall_api::{
    figures::Figures,
    service::{
        ConnectRequest, Connection, Ending, GoodbyeReason, HistoryQuery, LiveSession, Page, PresenceService,
        RestoreCounts, Seen, ServiceError, Welcome,
    },
    wire::{ClusterStatus, EncodedPresence, Located, NodeState, NodeStatus, PartitionStatus, RingStatus},
};
use rollcall_presence::{
    Activity, Answer, HistoryEntry, Intent, ListKind, NodeName, PartitionId, Privacy, Profile, RequestKey, SessionId,
    SessionKind, Setting, UnixMs, UserId, Viewer, limits,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;
use users::{Done, Users};

pub(crate) fn now() -> UnixMs {
    UnixMs::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The service, and what tests look at and switch.
pub(crate) struct Fake {
    me: Weak<Fake>,
    users: Mutex<Users>,
    connections: Mutex<BTreeMap<u64, Outbox>>,
    resumable: Mutex<BTreeMap<String, (UserId, SessionId)>>,
    next: AtomicU64,
    /// How connections ended, in order.
    endings: watch::Sender<Vec<Ending>>,
    /// What every call is refused with.
    pub(crate) refusal: Mutex<Option<ServiceError>>,
    /// Whether reads are marked stale.
    pub(crate) stale: Mutex<bool>,
    /// Nodes that were drained or removed.
    pub(crate) orders: Mutex<Vec<String>>,
    /// How many calls reached the service.
    pub(crate) calls: AtomicU64,
    /// What the contacts' snapshot is refused with.
    contacts_refusal: Mutex<Option<ServiceError>>,
    /// Held while writes have to wait.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            users: Mutex::default(),
            connections: Mutex::default(),
            resumable: Mutex::default(),
            next: AtomicU64::new(1),
            endings: watch::Sender::default(),
            refusal: Mutex::default(),
            stale: Mutex::default(),
            orders: Mutex::default(),
            calls: AtomicU64::new(0),
            contacts_refusal: Mutex::default(),
            gate: Arc::default(),
        })
    }

    fn watches_max(&self) -> u64 {
        u64::from(limits::WATCHES_MAX)
    }

    fn allowed(&self) -> Result<(), ServiceError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.refusal.lock().clone().map_or(Ok(()), Err)
    }

    fn write_now(&self, user: &UserId, intent: Intent, key: Option<RequestKey>) -> Result<Answer, ServiceError> {
        self.allowed()?;
        let Done { answer, ended } = self.users.lock().write(user, intent, key, now())?;
        for outbox in self.connections.lock().values_mut() {
            if outbox.session.as_ref().is_some_and(|s| ended.contains(s)) {
                outbox.goodbye = Some((GoodbyeReason::Revoked, 0));
                outbox.wake();
            }
        }
        self.publish();
        Ok(answer)
    }

    /// Brings every outbox up to date with what its viewer may see now.
    fn publish(&self) {
        let users = self.users.lock();
        for outbox in self.connections.lock().values_mut() {
            if outbox.contacts {
                let contacts: Vec<UserId> =
                    users.lists(&outbox.viewer.user, ListKind::Contacts).into_iter().map(|(user, _)| user).collect();
                let gone: Vec<UserId> = outbox
                    .watched
                    .keys()
                    .filter(|u| !contacts.contains(u) && !outbox.explicit.contains(*u))
                    .cloned()
                    .collect();
                for user in gone {
                    outbox.watched.remove(&user);
                    outbox.pending.remove(&user);
                    outbox.unwatched.push(user);
                }
                for user in contacts {
                    outbox.watched.entry(user).or_default();
                }
            }
            let viewer = outbox.viewer.clone();
            for (user, told) in &mut outbox.watched {
                let encoded = EncodedPresence::new(&users.seen(&viewer, user), false);
                if *told != *encoded.json {
                    *told = encoded.json.to_string();
                    outbox.pending.insert(user.clone(), Arc::new(encoded));
                }
            }
            if !outbox.pending.is_empty() || !outbox.unwatched.is_empty() {
                outbox.wake();
            }
        }
    }

    fn session_of(&self, request: &ConnectRequest) -> Result<(Option<SessionId>, bool, Option<String>), ServiceError> {
        let Some(wanted) = &request.session else { return Ok((None, false, None)) };
        let user = &request.viewer.user;
        if let Some(token) = &wanted.resume {
            let known = self.resumable.lock().get(token).cloned();
            if let Some((_, session)) = known.filter(|(owner, _)| owner == user)
                && self.users.lock().record(user).session(&session).is_some()
            {
                for outbox in self.connections.lock().values_mut().filter(|o| o.session.as_ref() == Some(&session)) {
                    outbox.goodbye = Some((GoodbyeReason::Replaced, 0));
                    outbox.session = None;
                    outbox.wake();
                }
                return Ok((Some(session), true, Some(token.clone())));
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let session = SessionId::new(&format!("socket-{number}")).unwrap();
        let open = Intent::OpenSession {
            session: session.clone(),
            device: wanted.device.clone(),
            activity: Activity::Active,
            kind: SessionKind::WebSocket,
            held_by: None,
            resume_hash: None,
        };
        self.write_now(user, open, None)?;
        let resume = format!("resume-{number}");
        self.resumable.lock().insert(resume.clone(), (user.clone(), session.clone()));
        Ok((Some(session), false, Some(resume)))
    }
}

fn name() -> NodeName {
    NodeName::new("n1").unwrap()
}

#[async_trait]
impl PresenceService for Fake {
    async fn write(&self, user: &UserId, intent: Intent, key: Option<RequestKey>) -> Result<Answer, ServiceError> {
        let _open = self.gate.lock().await;
        self.write_now(user, intent, key)
    }

    async fn heartbeat(
        &self,
        user: &UserId,
        session: &SessionId,
        activity: Option<Activity>,
        key: Option<RequestKey>,
    ) -> Result<(), ServiceError> {
        self.allowed()?;
        let open = self.users.lock().record(user).session(session).is_some();
        match activity {
            Some(activity) => {
                self.write_now(user, Intent::SetActivity { session: session.clone(), activity }, key).map(drop)
            }
            None if open => Ok(()),
            None => Err(ServiceError::UnknownSession),
        }
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<LiveSession>, ServiceError> {
        self.allowed()?;
        let live = |s: rollcall_presence::Session| LiveSession {
            session: s.id,
            device: s.device,
            activity: s.activity,
            kind: s.kind,
            opened: s.opened_at,
            last_heartbeat: s.heard_at,
        };
        Ok(self.users.lock().record(user).sessions.into_iter().map(live).collect())
    }

    async fn status(&self, user: &UserId) -> Result<(Setting, Seen), ServiceError> {
        self.allowed()?;
        let users = self.users.lock();
        let viewer = Viewer { user: user.clone(), service: false };
        Ok((users.record(user).setting, Seen { presence: users.seen(&viewer, user), stale: *self.stale.lock() }))
    }

    async fn list(
        &self,
        user: &UserId,
        list: ListKind,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<(UserId, UnixMs), UserId>, ServiceError> {
        self.allowed()?;
        let mut items = self.users.lock().lists(user, list);
        items.retain(|(user, _)| after.as_ref().is_none_or(|a| user > a));
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|(user, _)| user.clone());
        Ok(Page { items, next })
    }

    async fn privacy(&self, user: &UserId) -> Result<Privacy, ServiceError> {
        self.allowed()?;
        Ok(self.users.lock().record(user).privacy)
    }

    async fn profile(&self, viewer: &Viewer, user: &UserId) -> Result<Profile, ServiceError> {
        self.allowed()?;
        let users = self.users.lock();
        let profile = users.user(user).and_then(|u| u.profile.clone()).filter(|_| users.may_see(viewer, user));
        Ok(profile.unwrap_or_else(Profile::empty))
    }

    async fn presences(&self, viewer: &Viewer, asked: &[UserId]) -> Result<Vec<Seen>, ServiceError> {
        self.allowed()?;
        let (users, stale) = (self.users.lock(), *self.stale.lock());
        Ok(asked.iter().map(|user| Seen { presence: users.seen(viewer, user), stale }).collect())
    }

    async fn history(&self, user: &UserId, query: HistoryQuery) -> Result<Page<HistoryEntry, u64>, ServiceError> {
        self.allowed()?;
        let users = self.users.lock();
        let all = users.user(user).map(|u| u.history.clone()).unwrap_or_default();
        let wanted = |e: &HistoryEntry| {
            (query.from..query.to).contains(&e.at) && query.before.is_none_or(|before| e.seq < before)
        };
        let mut items: Vec<HistoryEntry> = all.into_iter().rev().filter(wanted).collect();
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        let next = items.last().filter(|_| more).map(|e| e.seq);
        Ok(Page { items, next })
    }

    async fn connect(&self, request: ConnectRequest) -> Result<(Welcome, Box<dyn Connection>), ServiceError> {
        self.allowed()?;
        let (session, resumed, resume) = self.session_of(&request)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let outbox = Outbox {
            viewer: request.viewer,
            session: session.clone(),
            contacts: request.watch_contacts,
            watched: BTreeMap::new(),
            explicit: std::collections::BTreeSet::new(),
            pending: BTreeMap::new(),
            unwatched: Vec::new(),
            goodbye: None,
            waker: None,
            heard: 0,
            deliveries: 0,
        };
        self.connections.lock().insert(number, outbox);
        let connection = FakeConnection { fake: self.me.upgrade().unwrap(), number, closed: false };
        Ok((Welcome { session, resumed, node: name(), resume }, Box::new(connection)))
    }

    async fn figures(&self) -> Figures {
        let frames_sent = [(name(), 3)].into();
        Figures { node: "n1".into(), frames_sent, rss_bytes: Some(1), ..Figures::default() }
    }

    async fn cluster_status(&self) -> ClusterStatus {
        let node = NodeStatus {
            name: name(),
            state: NodeState::Up,
            http: Some("127.0.0.1:7700".into()),
            peer: Some("127.0.0.1:7701".into()),
            version: Some("0.1.0".into()),
            uptime_s: Some(1),
            sessions: Some(0),
            connections: Some(0),
            user_actors: None,
            partitions_led: Some(1),
            partitions_held: Some(1),
            rss_bytes: Some(1),
        };
        let partition = PartitionStatus {
            id: PartitionId(0),
            leader: Some(name()),
            term: Some(1),
            replicas: vec![name()],
            committed: Some(1),
            applied: BTreeMap::from([("n1".to_owned(), Some(1))]),
            users: Some(0),
            online: Some(0),
            healthy: true,
        };
        ClusterStatus {
            cluster_id: "c1".into(),
            version: "0.1.0".into(),
            healthy: true,
            nodes_up: Some(1),
            nodes_total: 1,
            ring: RingStatus { partitions: 1, replication: 1, epoch: 1 },
            nodes: vec![node],
            partitions: vec![partition],
            moves: Vec::new(),
        }
    }

    async fn locate(&self, user: &UserId) -> Located {
        Located { user: user.clone(), partition: PartitionId(0), leader: Some(name()), replicas: vec![name()] }
    }

    async fn drain(&self, node: &NodeName) -> Result<(), ServiceError> {
        self.ordered("drain", node)
    }

    async fn remove(&self, node: &NodeName) -> Result<(), ServiceError> {
        self.ordered("remove", node)?;
        Err(ServiceError::Conflict("n1 holds the last replica of every partition".into()))
    }

    async fn backup(&self) -> Result<BoxStream<'static, Bytes>, ServiceError> {
        self.allowed()?;
        Ok(Box::pin(futures::stream::iter([Bytes::from_static(b"one"), Bytes::from_static(b"two")])))
    }

    async fn restore(&self, items: Bytes, overwrite: bool) -> Result<RestoreCounts, ServiceError> {
        self.allowed()?;
        if items != b"users"[..] {
            return Err(ServiceError::Malformed("nothing of a backup".into()));
        }
        Ok(RestoreCounts { restored: u64::from(overwrite), left_alone: 2 })
    }

    async fn ready(&self) -> Result<(), &'static str> {
        self.allowed().map_err(|_| "no quorum")
    }
}
