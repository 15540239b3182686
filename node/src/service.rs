//! The presence service of a node, as the API sees it: every call goes to the homes of the users it concerns.

use crate::{
    admin::Admin,
    backups::{making::Making, restoring},
    bounds::{RETRY_AFTER_MS, SUBJECTS_PER_REQUEST},
    home::request::{HomeError, HomeReply, HomeRequest, SessionWanted},
    node::Node,
    sockets::{
        LiveConnection,
        connection::{Held, end_session},
        outbox::Outbox,
    },
    status::ClusterView,
    token,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::try_join_all, stream::BoxStream};
use rollcall_api::{
    figures::Figures,
    service::{
        ConnectRequest, Connection, Ending, HistoryQuery, LiveSession, NewSession, Page, PresenceService,
        RestoreCounts, Seen, ServiceError, Welcome,
    },
    wire::{ClusterStatus, Located},
};
use rollcall_cluster::Role;
use rollcall_presence::{
    Activity, Answer, ConnectionAt, HistoryEntry, Intent, ListKind, MemberState, NodeName, PartitionId, Privacy,
    Profile, PublicPresence, RequestKey, SessionId, Setting, UnixMs, UserId, Viewer, visibility::viewer_allows,
};
use std::{collections::BTreeMap, sync::Arc};

/// The service of one node.
pub struct NodeService {
    node: Arc<Node>,
    view: ClusterView,
    admin: Arc<dyn Admin>,
    backups: Making,
}

impl NodeService {
    /// The service of `node`; `view` knows what an operator asks, `admin` does it.
    #[must_use]
    pub fn new(node: Arc<Node>, view: ClusterView, admin: Arc<dyn Admin>) -> Self {
        Self { node, view, admin, backups: Making::default() }
    }

    async fn ask(&self, user: &UserId, request: HomeRequest) -> Result<HomeReply, ServiceError> {
        self.node.doors.ask()?;
        Ok(self.node.homes.ask(user, request).await?)
    }

    /// Presences by the subjects' halves alone, in the order asked.
    async fn subjects(&self, viewer: &Viewer, users: &[UserId]) -> Result<Vec<Seen>, ServiceError> {
        let mut by_partition: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
        for (index, user) in users.iter().enumerate() {
            by_partition.entry(self.node.homes.partition_of(user)).or_default().push(index);
        }
        let asked = by_partition.values().flat_map(|of| of.chunks(SUBJECTS_PER_REQUEST)).map(|of| async move {
            let subjects: Vec<UserId> = of.iter().map(|i| users[*i].clone()).collect();
            let first = subjects[0].clone();
            match self.ask(&first, HomeRequest::Presences { viewer: viewer.clone(), subjects }).await? {
                HomeReply::Presences { presences, stale } => Ok((of, presences, stale)),
                _ => Err(ServiceError::Internal),
            }
        });
        let mut seen: Vec<Option<Seen>> = vec![None; users.len()];
        for (of, presences, stale) in try_join_all(asked).await? {
            for (index, presence) in of.iter().zip(presences) {
                seen[*index] = Some(Seen { presence, stale });
            }
        }
        seen.into_iter().collect::<Option<Vec<Seen>>>().ok_or(ServiceError::Internal)
    }
}

#[cfg(feature = "planted-faults")]
impl NodeService {
    /// The fault that a measurement of answer times must catch: whom the viewer blocks is not asked for at all.
    async fn early_return(&self, viewer: &Viewer, users: &[UserId]) -> Result<Option<Vec<Seen>>, ServiceError> {
        let vetted = self.node.vet(viewer, users.to_vec()).await?;
        let all = vetted.subjects.iter().all(|(_, blocked)| *blocked);
        let unseen = |user: &UserId| Seen { presence: PublicPresence::never_seen(user.clone()), stale: vetted.stale };
        Ok(all.then(|| users.iter().map(unseen).collect()))
    }
}

/// What is shown where the viewer's half forbids it; as stale as the rest.
fn masked(viewer: &Viewer, blocked: bool, seen: Seen) -> Seen {
    if viewer_allows(&seen.presence.user, viewer, blocked) {
        return seen;
    }
    Seen { presence: PublicPresence::never_seen(seen.presence.user), stale: seen.stale }
}

#[async_trait]
impl PresenceService for NodeService {
    async fn write(&self, user: &UserId, intent: Intent, key: Option<RequestKey>) -> Result<Answer, ServiceError> {
        tracing::trace!(target: "rollcall::path", hop = "presence service");
        match self.ask(user, HomeRequest::Write { user: user.clone(), intent, key }).await? {
            HomeReply::Written(answer) => Ok(answer),
            _ => Err(ServiceError::Internal),
        }
    }

    async fn heartbeat(
        &self,
        user: &UserId,
        session: &SessionId,
        activity: Option<Activity>,
        key: Option<RequestKey>,
    ) -> Result<(), ServiceError> {
        let (user, session) = (user.clone(), session.clone());
        self.ask(&user.clone(), HomeRequest::Heartbeat { user, session, activity, key }).await?;
        Ok(())
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<LiveSession>, ServiceError> {
        let HomeReply::Sessions(sessions) = self.ask(user, HomeRequest::Sessions(user.clone())).await? else {
            return Err(ServiceError::Internal);
        };
        let live = |(session, last_heartbeat): (rollcall_presence::Session, UnixMs)| LiveSession {
            session: session.id,
            device: session.device,
            activity: session.activity,
            kind: session.kind,
            opened: session.opened_at,
            last_heartbeat,
        };
        Ok(sessions.into_iter().map(live).collect())
    }

    async fn status(&self, user: &UserId) -> Result<(Setting, Seen), ServiceError> {
        match self.ask(user, HomeRequest::Status(user.clone())).await? {
            HomeReply::Status { setting, presence, stale } => Ok((setting, Seen { presence, stale })),
            _ => Err(ServiceError::Internal),
        }
    }

    async fn list(
        &self,
        user: &UserId,
        list: ListKind,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<(UserId, UnixMs), UserId>, ServiceError> {
        let one_more = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let request = HomeRequest::List { user: user.clone(), list, after, limit: one_more };
        let HomeReply::List(mut items) = self.ask(user, request).await? else { return Err(ServiceError::Internal) };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|(other, _)| other.clone()) } else { None };
        Ok(Page { items, next })
    }

    async fn privacy(&self, user: &UserId) -> Result<Privacy, ServiceError> {
        match self.ask(user, HomeRequest::Privacy(user.clone())).await? {
            HomeReply::Privacy(privacy) => Ok(privacy),
            _ => Err(ServiceError::Internal),
        }
    }

    async fn profile(&self, viewer: &Viewer, user: &UserId) -> Result<Profile, ServiceError> {
        let vetted = self.node.vet(viewer, vec![user.clone()]).await?;
        if vetted.stale {
            return Err(HomeError::NoHome.into());
        }
        let blocked = vetted.subjects.first().is_none_or(|(_, blocked)| *blocked);
        let request = HomeRequest::Profile { viewer: viewer.clone(), user: user.clone() };
        match self.ask(user, request).await? {
            HomeReply::Profile(Some(profile)) if viewer_allows(user, viewer, blocked) => Ok(profile),
            HomeReply::Profile(_) => Ok(Profile::empty()),
            _ => Err(ServiceError::Internal),
        }
    }

    async fn presences(&self, viewer: &Viewer, users: &[UserId]) -> Result<Vec<Seen>, ServiceError> {
        #[cfg(feature = "planted-faults")]
        if let Some(early) = self.early_return(viewer, users).await? {
            return Ok(early);
        }
        let vetting = self.node.vet(viewer, users.to_vec());
        let (vetted, seen) = futures::future::try_join(vetting, self.subjects(viewer, users)).await?;
        let seen = seen.into_iter().map(|seen| Seen { stale: seen.stale || vetted.stale, ..seen });
        Ok(seen.zip(vetted.subjects).map(|(seen, (_, blocked))| masked(viewer, blocked, seen)).collect())
    }

    async fn history(&self, user: &UserId, query: HistoryQuery) -> Result<Page<HistoryEntry, u64>, ServiceError> {
        let request = HomeRequest::History {
            user: user.clone(),
            from: query.from,
            to: query.to,
            before: query.before,
            limit: u32::try_from(query.limit + 1).unwrap_or(u32::MAX),
        };
        let HomeReply::History(mut items) = self.ask(user, request).await? else { return Err(ServiceError::Internal) };
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        let next = if more { items.last().map(|entry| entry.seq) } else { None };
        Ok(Page { items, next })
    }

    async fn connect(&self, request: ConnectRequest) -> Result<(Welcome, Box<dyn Connection>), ServiceError> {
        self.node.doors.enter()?;
        let _opening = self.node.openings.begin()?;
        let outbox = Outbox::new(request.viewer);
        let admitted = Admitted::new(self.node.clone(), &outbox)?;
        // In a task of its own: a client that gives up in the middle leaves nothing half open.
        let connecting = tokio::spawn(connect(admitted, outbox, request.session));
        let (welcome, connection) = connecting.await.map_err(|_| ServiceError::Internal)??;
        Ok((welcome, connection))
    }

    async fn cluster_status(&self) -> ClusterStatus {
        self.view.status(&self.node).await
    }

    async fn locate(&self, user: &UserId) -> Located {
        self.view.locate(&self.node, user).await
    }

    async fn drain(&self, node: &NodeName) -> Result<(), ServiceError> {
        Ok(self.admin.drain(node).await?)
    }

    async fn remove(&self, node: &NodeName) -> Result<(), ServiceError> {
        Ok(self.admin.remove(node).await?)
    }

    async fn backup(&self) -> Result<BoxStream<'static, Bytes>, ServiceError> {
        self.node.doors.ask()?;
        self.backups.begin(&self.node, self.view.cluster_id())
    }

    async fn restore(&self, items: Bytes, overwrite: bool) -> Result<RestoreCounts, ServiceError> {
        self.node.doors.ask()?;
        restoring::restore(&self.node, &items, overwrite).await
    }

    async fn figures(&self) -> Figures {
        self.view.figures(&self.node)
    }

    async fn ready(&self) -> Result<(), &'static str> {
        self.node.doors.ask().map_err(|_| "this node is starting")?;
        let homes = &self.node.homes;
        if !*homes.peers().links().confirmed().borrow() {
            return Err("this node does not reach a majority of the cluster");
        }
        let placement = homes.peers().placement();
        match placement.members.get(homes.peers().this().node.as_str()).map(|member| member.state) {
            Some(MemberState::Up) => {}
            None if placement.members.is_empty() => {}
            Some(MemberState::Draining | MemberState::Drained | MemberState::Removing) => {
                return Err("this node is being emptied");
            }
            Some(MemberState::Joining | MemberState::Down(_)) | None => return Err("this node is joining the cluster"),
        }
        let led = homes.partitions().iter().all(|p| !matches!(p.role(), Role::Follower { leader: None }));
        if led { Ok(()) } else { Err("some partitions have no home yet") }
    }
}

/// The place of a connection in the node's table, given up when dropped: whatever comes in between, it is not kept by nobody.
struct Admitted {
    node: Arc<Node>,
    user: UserId,
    at: Option<ConnectionAt>,
}

impl Admitted {
    fn new(node: Arc<Node>, outbox: &Arc<Outbox>) -> Result<Self, ServiceError> {
        let at = Some(node.sockets.admit(outbox, node.clock.unix_ms())?);
        Ok(Self { node, user: outbox.viewer().user.clone(), at })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            self.node.sockets.forget(at.number);
            // An actor that has just started may know it: it saw it among the node's connections.
            self.node.homes.tell(&self.user, HomeRequest::Disconnect { user: self.user.clone(), at });
        }
    }
}

/// Opens or takes over the session at the home. When the outcome is not known, the client is told so, and whatever this
/// connection may have got to hold ends like any session that was lost.
async fn connect(
    mut admitted: Admitted,
    outbox: Arc<Outbox>,
    session: Option<NewSession>,
) -> Result<(Welcome, Box<dyn Connection>), ServiceError> {
    let (node, user) = (admitted.node.clone(), admitted.user.clone());
    let at = admitted.at.clone().ok_or(ServiceError::Internal)?;
    let minted = token::mint().map_err(|_| ServiceError::Internal)?;
    let offered = session.as_ref().and_then(|new| new.resume.clone());
    let wanted = session.map(|new| SessionWanted {
        session: minted.session.clone(),
        device: new.device,
        resume_hash: token::hash(&minted.resume),
        resume: new.resume.as_deref().map(token::hash),
    });
    let holds = wanted.is_some();
    let request = HomeRequest::Connect { user: user.clone(), at: at.clone(), wanted };
    let lost_at = node.clock.unix_ms();
    let (session, resumed) = match node.homes.ask(&user, request).await {
        Ok(HomeReply::Connected { session, resumed }) => (session, resumed),
        Ok(_) => return Err(ServiceError::Internal),
        Err(HomeError::Unknown) if holds => {
            tokio::spawn(end_session(node, user, Held::Whichever(at), Ending::Lost { heard_at: lost_at }));
            let why = "the session may have opened; it ends by itself if so";
            return Err(ServiceError::Unavailable { why, after_ms: RETRY_AFTER_MS });
        }
        Err(error) => return Err(error.into()),
    };
    let held = session.map(|s| (s.id, s.attachment));
    if let Some((session, attachment)) = held.clone() {
        node.sockets.has_session(at.number, session, attachment);
    }
    admitted.at = None;
    let connection = LiveConnection::new(node.clone(), at, outbox, held.clone());
    let session = held.map(|(session, _)| session);
    // A session keeps its token for life: the home knows only its hash, the client that resumed knows it.
    let token = if resumed { offered } else { Some(minted.resume) };
    let resume = session.as_ref().and(token);
    Ok((Welcome { session, resumed, node: node.sockets.holder().node.clone(), resume }, Box::new(connection)))
}
