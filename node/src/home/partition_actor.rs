//! The actor of a partition: supervises its users' actors, takes leadership up and lays it down, and turns deadlines into
//! messages.

use super::{
    partition::{Due, HomePartition},
    user_actor::UserMsg,
};
use crate::{
    bounds::{DUE_AGAIN_MS, DUE_PER_TICK},
    planted::{self, Fault},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rollcall_cluster::{ReadError, Role};
use rollcall_presence::{EndCause, Session, SessionKind, UserId, UserRecord};
use std::sync::Arc;

/// Users read at once when a home takes over: a few milliseconds of reading.
const RECOVERED_AT_ONCE: usize = 256;

/// What a partition's actor is told.
#[derive(Debug)]
pub enum PartitionMsg {
    /// The role of this node in the partition changed.
    Role(Role),
    /// Deadlines came due.
    Due(Vec<(UserId, Due)>),
    /// Nodes were declared dead, or have announced their connections: sessions may have nobody left who ends them.
    Sweep,
}

/// The actor of a partition.
pub struct PartitionActor;

impl Actor for PartitionActor {
    type Msg = PartitionMsg;
    type State = Arc<HomePartition>;
    type Arguments = Arc<HomePartition>;

    async fn pre_start(
        &self,
        myself: ActorRef<PartitionMsg>,
        partition: Arc<HomePartition>,
    ) -> Result<Self::State, ActorProcessingErr> {
        partition.supervised_by(myself.clone());
        let mut role = partition.role_changes();
        role.mark_changed();
        tokio::spawn(async move {
            while role.changed().await.is_ok() {
                let now = role.borrow_and_update().clone();
                if myself.send_message(PartitionMsg::Role(now)).is_err() {
                    return;
                }
            }
        });
        Ok(partition)
    }

    async fn handle(
        &self,
        _: ActorRef<PartitionMsg>,
        message: PartitionMsg,
        partition: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PartitionMsg::Role(Role::Home { term }) => {
                tracing::debug!(partition = %partition.id(), term, "home of the partition");
                if partition.take_up(term) {
                    partition.clone().visit(HomePartition::recover_user).await;
                    partition.recalled();
                }
            }
            PartitionMsg::Role(Role::Follower { leader }) => {
                tracing::debug!(partition = %partition.id(), ?leader, "not the home of the partition");
                partition.retire();
            }
            PartitionMsg::Due(due) => partition.come_due(due),
            PartitionMsg::Sweep if partition.tenure().is_some() => partition.visit(HomePartition::sweep_user).await,
            PartitionMsg::Sweep => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<PartitionMsg>,
        event: SupervisionEvent,
        partition: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // A user's actor that stops by itself has left the table before; only a failure leaves a hole there.
        if let SupervisionEvent::ActorFailed(who, error) = event {
            tracing::error!(partition = %partition.id(), %error, "a user's actor failed and is started again");
            partition.restart(who.get_id());
        }
        Ok(())
    }
}

impl HomePartition {
    /// Lets time pass: to be called every [`TICK_MS`](crate::bounds::TICK_MS), whether or not anything is due.
    pub fn tick(&self) {
        let mut due = self.deadlines.lock().tick(self.clock.monotonic_ms(), DUE_PER_TICK);
        let expired = self.expiries.lock().tick(self.clock.unix_ms(), DUE_PER_TICK);
        due.extend(expired.into_iter().map(|user| (user, Due::Setting)));
        if !due.is_empty()
            && let Some(actor) = self.supervisor()
            && actor.send_message(PartitionMsg::Due(due)).is_err()
        {
            tracing::error!(partition = %self.id(), "the partition's actor is gone");
        }
    }

    /// Tells users' actors what came due.
    fn come_due(self: &Arc<Self>, due: Vec<(UserId, Due)>) {
        for (user, due) in due {
            if self.send(&user, UserMsg::Due(due.clone())).is_err() {
                // Its mailbox is full or it is being started again: it comes due once more.
                self.again(user, due);
            }
        }
    }

    /// Goes through the users with live sessions, as they are in the store.
    async fn visit(&self, each: fn(&Self, &UserId, &UserRecord)) {
        if let Err(error) = self.visit_all(each).await {
            tracing::error!(partition = %self.id(), %error, "live sessions could not be read");
        }
    }

    async fn visit_all(&self, each: fn(&Self, &UserId, &UserRecord)) -> Result<(), ReadError> {
        let mut after: Option<UserId> = None;
        loop {
            let read = self.group.read(|view| {
                view.live_users(after.as_ref(), RECOVERED_AT_ONCE)?
                    .into_iter()
                    .map(|user| Ok((view.record(&user)?, user)))
                    .collect::<Result<Vec<(Option<UserRecord>, UserId)>, ReadError>>()
            });
            let Ok(users) = read else { return Ok(()) }; // the replica is gone, and the home with it
            let users = users?;
            for (record, user) in &users {
                if let Some(record) = record {
                    each(self, user, record);
                }
            }
            match users.into_iter().next_back() {
                Some((_, last)) => after = Some(last),
                None => return Ok(()),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sets the timers of a user whose home this has just become.
    fn recover_user(&self, user: &UserId, record: &UserRecord) {
        for session in &record.sessions {
            let ago_ms = if planted::is(Fault::TtlNotRestartedAtTakeover) {
                self.clock.unix_ms().saturating_sub(session.heard_at)
            } else {
                self.recall(user, &session.id).unwrap_or(0)
            };
            self.time_session_since(user, session, ago_ms);
        }
        self.time_setting(user, record);
    }

    /// Sets a timer for the sessions of a user that nobody is there to end, and that have none.
    fn sweep_user(&self, user: &UserId, record: &UserRecord) {
        for session in record.sessions.iter().filter(|s| s.kind == SessionKind::WebSocket) {
            let key = (user.clone(), Due::Session(session.id.clone()));
            let timed = self.deadlines.lock().contains(&key);
            if !timed && self.gone(user, session).is_some() {
                self.deadlines.lock().set(key, self.clock.monotonic_ms() + self.rules.grace_ms);
            }
        }
    }

    /// Why nobody is there to end a WebSocket's session: its node is dead, or has announced its connections without this one. `None`
    /// while a live node may have it: that node judges it.
    pub(super) fn gone(&self, user: &UserId, session: &Session) -> Option<EndCause> {
        let Some(at) = &session.held_by else { return Some(EndCause::Expired) };
        if !self.nodes.is_live(&at.holder) {
            return Some(EndCause::NodeLost);
        }
        (self.watching.has_announced(at) && !self.connections.has(user, at)).then_some(EndCause::Expired)
    }

    /// Sets the timer of a session from now: a full TTL for an HTTP one, a full grace for a WebSocket's that nobody is there to end.
    /// A live node times its own, so those have none here.
    pub(super) fn time_session(&self, user: &UserId, session: &Session) {
        self.time_session_since(user, session, 0);
    }

    /// The same for a session that was last heard `ago_ms` ago.
    fn time_session_since(&self, user: &UserId, session: &Session, ago_ms: u64) {
        let in_ms = match session.kind {
            SessionKind::Http => Some(self.rules.session_ttl_ms.saturating_sub(ago_ms)),
            SessionKind::WebSocket => self.gone(user, session).map(|_| self.rules.grace_ms),
        };
        let key = (user.clone(), Due::Session(session.id.clone()));
        match in_ms {
            Some(in_ms) => self.deadlines.lock().set(key, self.clock.monotonic_ms() + in_ms),
            None => self.deadlines.lock().clear(&key),
        }
    }

    /// Sets or clears the timer of the user's setting.
    pub(super) fn time_setting(&self, user: &UserId, record: &UserRecord) {
        match record.setting.expires_at {
            Some(at) => self.expiries.lock().set(user.clone(), at),
            None => self.expiries.lock().clear(user),
        }
    }

    /// What came due and could not be acted on comes due once more, a little later.
    pub(super) fn again(&self, user: UserId, due: Due) {
        match due {
            Due::Session(_) => self.deadlines.lock().set((user, due), self.clock.monotonic_ms() + DUE_AGAIN_MS),
            Due::Setting => self.expiries.lock().set(user, self.clock.unix_ms() + DUE_AGAIN_MS),
        }
    }
}
