//! The actor of a user: admits, times, and turns requests into intents; holds live status in memory.
//!
//! Exists while the user has sessions, connections or work in flight. Never awaits a commit: a proposal is handed over in the order
//! of the mailbox, and its outcome comes back as a message. The truth is the store's; what is here can be rebuilt from it
//! and from the nodes that hold the user's sockets.

use super::{
    partition::{Due, HomePartition},
    request::{HomeError, HomeReply, SessionWanted},
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rollcall_cluster::ProposeError;
use rollcall_presence::{
    Activity, Command, ConnectionAt, Intent, Outcome, RequestKey, SessionId, SessionKind, UnixMs, UserId, UserRecord,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};
use tokio::sync::oneshot;

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<HomeReply, HomeError>>;

/// What a user's actor is told.
#[derive(Debug)]
pub enum UserMsg {
    /// Carry out a write.
    Write {
        /// The wish.
        intent: Intent,
        /// The client's key.
        key: Option<RequestKey>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A session lives.
    Heartbeat {
        /// Which.
        session: SessionId,
        /// Its activity, if told.
        activity: Option<Activity>,
        /// The client's key.
        key: Option<RequestKey>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A WebSocket's session lives.
    Heard {
        /// Which.
        session: SessionId,
        /// When.
        at: UnixMs,
    },
    /// A connection wants to be served.
    Connect {
        /// Which.
        at: ConnectionAt,
        /// Its session.
        wanted: Option<SessionWanted>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A connection wants the contacts and their changes.
    Follow {
        /// Which.
        at: ConnectionAt,
        /// Where the answer goes.
        reply: Reply,
    },
    /// The live sessions are asked for.
    Sessions(Reply),
    /// A deadline came due.
    Due(Due),
    /// A proposal of an actor that failed meanwhile came back.
    Learn(Arc<Outcome>),
    /// A proposal came back.
    Committed {
        /// What became of it.
        result: Result<Arc<Outcome>, ProposeError>,
        /// What is to be done with it.
        then: Then,
    },
}

/// What is to be done once a proposal came back.
#[derive(Debug)]
pub enum Then {
    /// Answer.
    Reply(Reply),
    /// Remember the connection, and answer.
    Connected {
        /// Which.
        at: ConnectionAt,
        /// What it wanted.
        wanted: SessionWanted,
        /// Whether it takes a session over.
        resumes: bool,
        /// Where the answer goes.
        reply: Reply,
    },
    /// Try again if it failed.
    Again(Due),
}

/// What a user's actor starts with.
pub struct Start {
    /// The user.
    pub user: UserId,
    /// Its home.
    pub partition: Arc<HomePartition>,
    /// Counts messages in the mailbox.
    pub queued: Arc<AtomicU32>,
    /// Whether it takes the place of one that failed.
    pub again: bool,
}

/// What a user's actor holds.
pub struct UserState {
    pub(super) user: UserId,
    pub(super) partition: Arc<HomePartition>,
    pub(super) record: UserRecord,
    queued: Arc<AtomicU32>,
    in_flight: u32,
}

/// The actor of a user.
pub struct UserActor;

impl Actor for UserActor {
    type Msg = UserMsg;
    type State = UserState;
    type Arguments = Start;

    async fn pre_start(&self, _: ActorRef<UserMsg>, start: Start) -> Result<UserState, ActorProcessingErr> {
        let Start { user, partition, queued, again } = start;
        let record = partition.group.read(|view| view.record(&user))??.unwrap_or_else(UserRecord::unknown);
        let mut state = UserState { user, partition, record, queued, in_flight: 0 };
        if again {
            // What the failed actor had heard is lost with it: silence is counted from now.
            for session in state.record.sessions.clone() {
                state.hear(&session.id, None);
                state.time_session(&session);
            }
            // A timer that had gone off, but was not acted on, is set again.
            state.partition.time_setting(&state.user, &state.record);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<UserMsg>,
        message: UserMsg,
        state: &mut UserState,
    ) -> Result<(), ActorProcessingErr> {
        if !matches!(message, UserMsg::Committed { .. }) {
            state.queued.fetch_sub(1, Ordering::AcqRel);
        }
        match message {
            UserMsg::Write { intent, key, reply } => state.propose(&myself, intent, key, Then::Reply(reply))?,
            UserMsg::Heartbeat { session, activity, key, reply } => {
                state.heartbeat(&myself, session, activity, key, reply)?;
            }
            UserMsg::Heard { session, at } => state.hear(&session, Some(at)),
            UserMsg::Connect { at, wanted, reply } => state.connect(&myself, at, wanted, reply)?,
            UserMsg::Follow { at, reply } => {
                state.partition.connections.hold(&state.user, &at, |c| c.follows = true);
                let _ = reply.send(state.partition.contacts(&state.user));
            }
            UserMsg::Sessions(reply) => {
                let _ = reply.send(Ok(HomeReply::Sessions(state.sessions())));
            }
            UserMsg::Due(due) => state.due(&myself, due)?,
            UserMsg::Learn(outcome) => state.learn(&outcome)?,
            UserMsg::Committed { result, then } => {
                state.in_flight -= 1;
                state.committed(&myself, result, then)?;
            }
        }
        let idle = state.record.sessions.is_empty() && state.in_flight == 0;
        if idle && state.partition.passivate(&state.user, &state.queued) {
            myself.stop(None);
        }
        Ok(())
    }
}

impl UserState {
    /// Hands an intent to the group, in the order of the mailbox; the outcome comes back as a message.
    pub(super) fn propose(
        &mut self,
        myself: &ActorRef<UserMsg>,
        intent: Intent,
        key: Option<RequestKey>,
        then: Then,
    ) -> Result<(), ActorProcessingErr> {
        let Some(term) = self.partition.term() else {
            return self.committed(myself, Err(ProposeError::NotHome { leader: None }), then);
        };
        tracing::trace!(target: "rollcall::path", hop = "user actor");
        let command = Command { user: self.user.clone(), term, at: self.partition.clock.unix_ms(), key, intent };
        let group = self.partition.group.clone();
        let mut proposing = Box::pin(async move { group.propose(command).await });
        self.in_flight += 1;
        // The first poll puts the command into the group's queue; only the waiting is left to a task.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match proposing.as_mut().poll(&mut context) {
            Poll::Ready(result) => {
                self.in_flight -= 1;
                self.committed(myself, result, then)
            }
            Poll::Pending => {
                let (myself, partition, user) = (myself.clone(), self.partition.clone(), self.user.clone());
                tokio::spawn(async move {
                    let result = proposing.await;
                    let outcome = result.clone().ok();
                    // If the actor is gone, who waits is told that the outcome is not known.
                    if myself.send_message(UserMsg::Committed { result, then }).is_err()
                        && let Some(outcome) = outcome
                    {
                        partition.learn_later(&user, outcome, term).await;
                    }
                });
                Ok(())
            }
        }
    }

    fn heartbeat(
        &mut self,
        myself: &ActorRef<UserMsg>,
        session: SessionId,
        activity: Option<Activity>,
        key: Option<RequestKey>,
        reply: Reply,
    ) -> Result<(), ActorProcessingErr> {
        let Some(live) = self.record.session(&session) else {
            let _ = reply.send(Err(HomeError::Refused(rollcall_presence::Refusal::UnknownSession)));
            return Ok(());
        };
        let (kind, was) = (live.kind, live.activity);
        if kind == SessionKind::Http {
            self.hear(&session, None);
        }
        match activity {
            Some(activity) if activity != was || key.is_some() => {
                self.propose(myself, Intent::SetActivity { session, activity }, key, Then::Reply(reply))
            }
            _ => {
                let _ = reply.send(Ok(HomeReply::Done));
                Ok(())
            }
        }
    }

    fn connect(
        &mut self,
        myself: &ActorRef<UserMsg>,
        at: ConnectionAt,
        wanted: Option<SessionWanted>,
        reply: Reply,
    ) -> Result<(), ActorProcessingErr> {
        let Some(wanted) = wanted else {
            self.partition.connections.hold(&self.user, &at, |_| ());
            let _ = reply.send(Ok(HomeReply::Connected { session: None, resumed: false }));
            return Ok(());
        };
        let resumed = wanted.resume.and_then(|hash| {
            let session = self.record.sessions.iter().find(|s| s.resume_hash == Some(hash))?;
            Some((session.id.clone(), hash))
        });
        let resumes = resumed.is_some();
        let intent = match resumed {
            Some((session, resume_hash)) => Intent::AttachSession { session, resume_hash, held_by: at.clone() },
            None => Intent::OpenSession {
                session: wanted.session.clone(),
                device: wanted.device.clone(),
                activity: Activity::Active,
                kind: SessionKind::WebSocket,
                held_by: Some(at.clone()),
                resume_hash: Some(wanted.resume_hash),
            },
        };
        self.propose(myself, intent, None, Then::Connected { at, wanted, resumes, reply })
    }

    pub(super) fn open_instead(
        &mut self,
        myself: &ActorRef<UserMsg>,
        at: ConnectionAt,
        wanted: SessionWanted,
        reply: Reply,
    ) -> Result<(), ActorProcessingErr> {
        self.connect(myself, at, Some(SessionWanted { resume: None, ..wanted }), reply)
    }
}
