//! One partition at its home: its users' actors, its timers, its watch table, and the answers to what nodes ask.
//!
//! Everything here is soft state beside the Raft group; it is dropped when leadership goes and rebuilt when it comes.

use super::{
    connections::Connections,
    group::Group,
    last_heard::LastHeardTable,
    parcels::Taking,
    partition_actor::PartitionMsg,
    request::{HomeError, HomeReply, HomeRequest},
    tenure::Tenure,
    user_actor::{Reply, Start, UserActor, UserMsg},
    watching::Watching,
};
use crate::{
    bounds::{CONFIRM_MS, DUE_AGAIN_MS, HOME_DEADLINE_MS, TICK_MS, USER_MAILBOX_MAX},
    clock::Clock,
    peers::message::Parcel,
};
use parking_lot::Mutex;
use ractor::{ActorRef, ActorRuntime};
use rollcall_cluster::Role;
use rollcall_presence::{Holder, Outcome, PartitionId, SessionId, UserId, Visibility, deadline::Deadlines};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// The rules of a home that an operator sets.
#[derive(Debug, Clone, Copy)]
pub struct HomeRules {
    /// Whom a presence is shown to.
    pub visibility: Visibility,
    /// How long an HTTP session lives without a heartbeat, ms.
    pub session_ttl_ms: u64,
    /// How long a WebSocket's session survives its connection, ms.
    pub grace_ms: u64,
    /// How long history entries are kept, ms.
    pub history_age_ms: u64,
}

/// The nodes that hold sockets, as a home sees them.
pub trait Nodes: Send + Sync + 'static {
    /// This node.
    fn this(&self) -> &Holder;
    /// Sends `holder` a parcel, in order; lost if there is no way to it.
    fn send(&self, holder: &Holder, parcel: Parcel);
    /// Whether `holder` is a live node of the cluster.
    fn is_live(&self, holder: &Holder) -> bool;
    /// Whether `holder` is a member of the cluster, down or not; an earlier start of one is none.
    fn is_member(&self, holder: &Holder) -> bool;
    /// Whether no later start of `holder`'s node is known.
    fn is_of_now(&self, holder: &Holder) -> bool;
    /// Tells every live node that this one is the home of `partition` from now on.
    fn taken_up(&self, partition: PartitionId, tenure: &Tenure);
}

/// What comes due for a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A session may have fallen silent.
    Session(SessionId),
    /// The status setting expires.
    Setting,
}

struct UserEntry {
    actor: ActorRef<UserMsg>,
    queued: Arc<AtomicU32>,
}

/// A partition at its home.
pub struct HomePartition {
    pub(super) group: Arc<dyn Group>,
    pub(super) rules: HomeRules,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nodes: Arc<dyn Nodes>,
    pub(super) watching: Watching,
    pub(super) connections: Connections,
    pub(super) taking: Mutex<Taking>,
    pub(super) last_heard: Mutex<LastHeardTable>,
    pub(super) deadlines: Mutex<Deadlines<(UserId, Due)>>,
    /// When settings expire, by the wall clock that the contract tells them in: a pause does not move them.
    pub(super) expiries: Mutex<Deadlines<UserId>>,
    role: watch::Receiver<Role>,
    users: Mutex<HashMap<UserId, UserEntry>>,
    supervisor: OnceLock<ActorRef<PartitionMsg>>,
}

impl HomePartition {
    /// The home side of `group`.
    #[must_use]
    pub fn new(group: Arc<dyn Group>, rules: HomeRules, clock: Arc<dyn Clock>, nodes: Arc<dyn Nodes>) -> Arc<Self> {
        let deadlines = Mutex::new(Deadlines::new(clock.monotonic_ms(), TICK_MS));
        Arc::new(Self {
            role: group.role(),
            group,
            rules,
            clock,
            nodes,
            watching: Watching::default(),
            connections: Connections::default(),
            taking: Mutex::default(),
            last_heard: Mutex::default(),
            deadlines,
            expiries: Mutex::new(unmoved()),
            users: Mutex::default(),
            supervisor: OnceLock::new(),
        })
    }

    /// Its partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.group.id()
    }

    /// Its Raft group.
    #[must_use]
    pub fn group(&self) -> &Arc<dyn Group> {
        &self.group
    }

    /// Whether its home is here.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The term of this home; `None` when the home is elsewhere.
    pub(super) fn term(&self) -> Option<u64> {
        match *self.role.borrow() {
            Role::Home { term } => Some(term),
            Role::Follower { .. } => None,
        }
    }

    /// The channel that tells of changes of the role.
    #[must_use]
    pub fn role_changes(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Names the actor that supervises the users' actors, once.
    pub(super) fn supervised_by(&self, supervisor: ActorRef<PartitionMsg>) {
        let _ = self.supervisor.set(supervisor);
    }

    pub(super) fn supervisor(&self) -> Option<&ActorRef<PartitionMsg>> {
        self.supervisor.get()
    }

    /// How many users' actors there are.
    #[must_use]
    pub fn user_actors(&self) -> usize {
        self.users.lock().len()
    }

    /// Answers what a node asks.
    ///
    /// # Errors
    /// [`HomeError`]; only after `Unknown` may a write still take effect.
    pub async fn serve(self: &Arc<Self>, request: HomeRequest) -> Result<HomeReply, HomeError> {
        match request {
            HomeRequest::Write { user, intent, key } => {
                self.ask_actor(user, |reply| UserMsg::Write { intent, key, reply }).await
            }
            HomeRequest::Heartbeat { user, session, activity, key } => {
                // Nothing is proposed for it as a rule: a home that is cut off would take it while another one ends the session.
                self.confirmed().await?;
                self.ask_actor(user, |reply| UserMsg::Heartbeat { session, activity, key, reply }).await
            }
            HomeRequest::Connect { user, at, wanted } => {
                self.ask_actor(user, |reply| UserMsg::Connect { at, wanted, reply }).await
            }
            HomeRequest::Follow { user, at } => self.ask_actor(user, |reply| UserMsg::Follow { at, reply }).await,
            HomeRequest::Sessions(user) => {
                self.confirmed().await?;
                self.ask_actor(user, UserMsg::Sessions).await
            }
            HomeRequest::Disconnect { .. } | HomeRequest::Heard { .. } | HomeRequest::Unsubscribe { .. } => {
                self.take(request);
                Ok(HomeReply::Done)
            }
            read => self.read(read).await,
        }
    }

    /// Takes what needs no answer.
    pub fn take(self: &Arc<Self>, request: HomeRequest) {
        match request {
            HomeRequest::Disconnect { user, at } => self.connections.remove(&user, &at),
            HomeRequest::Heard { user, session, at } => {
                // After a takeover a user may have no actor until something happens to it; its sessions live all the same.
                self.hear_known(&session, at);
                self.tell_actor(&user, UserMsg::Heard { session, at });
            }
            HomeRequest::Unsubscribe { holder, subjects } => self.watching.remove(&holder, &subjects),
            other => tracing::debug!(partition = %self.id(), ?other, "a question came without a way to answer it"),
        }
    }

    /// Whether this home holds its lease: what is read now reflects every acknowledged write.
    ///
    /// # Errors
    /// `NoHome` when it does not, or cannot tell in time: a home that is cut off may wait for a quorum for ever.
    pub async fn confirmed(&self) -> Result<(), HomeError> {
        let confirming = tokio::time::timeout(Duration::from_millis(CONFIRM_MS), self.group.confirm());
        confirming.await.ok().and_then(Result::ok).map(|_| ()).ok_or(HomeError::NoHome)
    }

    async fn ask_actor(
        self: &Arc<Self>,
        user: UserId,
        message: impl FnOnce(Reply) -> UserMsg,
    ) -> Result<HomeReply, HomeError> {
        let Some(term) = self.term() else { return Err(HomeError::NoHome) };
        if self.taking.lock().is_behind(term) {
            // The actors of the term before are about to stop: whatever they were asked now would have no known outcome.
            return Err(HomeError::NoHome);
        }
        let (reply, answer) = oneshot::channel();
        self.send(&user, message(reply))?;
        match tokio::time::timeout(Duration::from_millis(HOME_DEADLINE_MS), answer).await {
            Ok(Ok(answer)) => answer,
            // The actor failed with the message in its hands, or the group does not answer.
            Ok(Err(_)) | Err(_) => Err(HomeError::Unknown),
        }
    }

    /// Sends to the user's actor, if it exists.
    fn tell_actor(&self, user: &UserId, message: UserMsg) {
        let users = self.users.lock();
        if let Some(entry) = users.get(user) {
            entry.queued.fetch_add(1, Ordering::AcqRel);
            if entry.actor.send_message(message).is_err() {
                entry.queued.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Sends to the user's actor, which is started if need be.
    pub(super) fn send(self: &Arc<Self>, user: &UserId, message: UserMsg) -> Result<(), HomeError> {
        let mut users = self.users.lock();
        let entry = match users.get(user) {
            Some(entry) => entry,
            None => {
                let entry = self.start(user, false).ok_or(HomeError::NoHome)?;
                users.entry(user.clone()).or_insert(entry)
            }
        };
        if entry.queued.load(Ordering::Acquire) >= USER_MAILBOX_MAX {
            return Err(HomeError::Busy);
        }
        entry.queued.fetch_add(1, Ordering::AcqRel);
        if entry.actor.send_message(message).is_err() {
            // It failed, and its supervisor has not put a new one in its place yet.
            entry.queued.fetch_sub(1, Ordering::AcqRel);
            return Err(HomeError::Busy);
        }
        Ok(())
    }

    /// Hands an outcome to the user's actor in place of one that failed, as long as this is the home of `term`: its timers and its
    /// connections depend on it.
    pub(super) async fn learn_later(self: &Arc<Self>, user: &UserId, outcome: Arc<Outcome>, term: u64) {
        while self.term() == Some(term) {
            if self.send(user, UserMsg::Learn(outcome.clone())).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(DUE_AGAIN_MS)).await;
        }
    }

    fn start(self: &Arc<Self>, user: &UserId, again: bool) -> Option<UserEntry> {
        let supervisor = self.supervisor.get()?.get_cell();
        let queued = Arc::new(AtomicU32::new(0));
        let arguments = Start { user: user.clone(), partition: self.clone(), queued: queued.clone(), again };
        let (actor, _starting) = ActorRuntime::spawn_linked_instant(None, UserActor, arguments, supervisor).ok()?;
        Some(UserEntry { actor, queued })
    }

    /// Forgets the actor of `user` if nothing waits for it; it then stops.
    pub(super) fn passivate(&self, user: &UserId, queued: &AtomicU32) -> bool {
        let mut users = self.users.lock();
        let idle = queued.load(Ordering::Acquire) == 0;
        if idle {
            users.remove(user);
        }
        idle
    }

    /// Puts a new actor in the place of one that failed, if its user still has connections or sessions.
    pub(super) fn restart(self: &Arc<Self>, failed: ractor::ActorId) {
        let mut users = self.users.lock();
        let Some(user) = users.iter().find(|(_, e)| e.actor.get_id() == failed).map(|(u, _)| u.clone()) else { return };
        users.remove(&user);
        if let Some(entry) = self.start(&user, true) {
            users.insert(user, entry);
        }
    }

    /// Stops all users' actors and drops the soft state: the home is elsewhere now.
    pub(super) fn retire(&self) {
        let entries = std::mem::take(&mut *self.users.lock());
        for entry in entries.into_values() {
            entry.actor.stop(Some("the home moved".into()));
        }
        *self.deadlines.lock() = Deadlines::new(self.clock.monotonic_ms(), TICK_MS);
        *self.expiries.lock() = unmoved();
        self.watching.clear();
        self.connections.clear();
        self.last_heard.lock().lay_down();
        self.taking.lock().lay_down();
    }
}

/// Deadlines that no late tick moves.
fn unmoved() -> Deadlines<UserId> {
    Deadlines::new(0, u64::MAX)
}
