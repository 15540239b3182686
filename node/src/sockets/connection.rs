//! One served connection: its session's life, its watches, and the future that follows its user's contacts.
//!
//! The node that holds the socket owns the session's life: it repeats the session's ending until the home has answered. A
//! connection that is dropped without a word counts as lost now.

use super::{
    following::Follow,
    outbox::{Outbox, Pending},
    slot::Why,
};
use crate::{
    bounds::END_RETRY_MS,
    home::request::{HomeError, HomeReply, HomeRequest},
    node::Node,
    planted::{self, Fault},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use rollcall_api::{
    service::{Connection, Delivery, Ending, ServiceError},
    wire::EncodedPresence,
};
use rollcall_presence::{
    Activity, ConnectionAt, EndCause, Intent, SessionId, UnixMs, UserId, limits::TICK_LATE_MAX_MS,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How often a session's home is told of signs of life: `last_seen` loses at most that when this node dies.
const HEARD_EVERY_MS: u64 = 10_000;

/// A connection that this node serves.
pub struct LiveConnection {
    node: Arc<Node>,
    at: ConnectionAt,
    outbox: Arc<Outbox>,
    session: Option<(SessionId, u32)>,
    told_at: UnixMs,
    following: Option<BoxFuture<'static, ()>>,
    parted: bool,
}

impl LiveConnection {
    /// Serves what the home has connected.
    pub(crate) fn new(
        node: Arc<Node>,
        at: ConnectionAt,
        outbox: Arc<Outbox>,
        session: Option<(SessionId, u32)>,
    ) -> Self {
        let told_at = node.clock.unix_ms();
        Self { node, at, outbox, session, told_at, following: None, parted: false }
    }

    fn user(&self) -> &UserId {
        &self.outbox.viewer().user
    }

    /// Goes on following contacts that came or went.
    fn follow_on(&mut self, cx: &mut Context<'_>) {
        if let Some(following) = &mut self.following
            && following.as_mut().poll(cx).is_ready()
        {
            self.following = None;
        }
    }

    /// Ends this connection's part in everything, once.
    fn part(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.parted, true) {
            return;
        }
        self.following = None;
        self.node.unwatch_all(&self.outbox);
        self.node.sockets.forget(self.at.number);
        let user = self.user().clone();
        self.node.homes.tell(&user, HomeRequest::Disconnect { user: user.clone(), at: self.at.clone() });
        let (Some((session, attachment)), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(end_session(self.node.clone(), user, Held::Known(session, attachment), ending));
    }
}

/// Lets `ms` pass in which clients could have been heard: a pause of this process counts as one step of it at most.
async fn pass(ms: u64) {
    let mut left_ms = ms;
    while left_ms > 0 {
        let step_ms = left_ms.min(TICK_LATE_MAX_MS);
        tokio::time::sleep(Duration::from_millis(step_ms)).await;
        left_ms -= step_ms;
    }
}

/// What a connection held when it ended.
#[derive(Debug)]
pub(crate) enum Held {
    /// A session, at this attachment.
    Known(SessionId, u32),
    /// None, or one that the home never told of: whichever this connection holds there.
    Whichever(ConnectionAt),
}

/// Ends a session now or after its grace, repeating it until the home has answered.
pub(crate) async fn end_session(node: Arc<Node>, user: UserId, held: Held, ending: Ending) {
    let (cause, heard_at) = match ending {
        Ending::Closed => (EndCause::Closed, node.clock.unix_ms()),
        Ending::Lost { heard_at } => {
            pass(node.presence.grace_ms).await;
            (EndCause::Expired, heard_at)
        }
    };
    loop {
        let intent = match &held {
            Held::Known(session, attachment) => {
                let attachment = (!planted::is(Fault::AttachmentNumberIgnored)).then_some(*attachment);
                Intent::EndSession { session: session.clone(), attachment, cause, heard_at }
            }
            Held::Whichever(at) => Intent::EndHeld { held_by: at.clone(), heard_at },
        };
        let request = HomeRequest::Write { user: user.clone(), intent, key: None };
        match node.homes.ask(&user, request).await {
            Ok(_) | Err(HomeError::Refused(_)) => return,
            Err(HomeError::Busy | HomeError::NoHome | HomeError::Unknown | HomeError::Storage) => {
                tokio::time::sleep(Duration::from_millis(END_RETRY_MS)).await;
            }
        }
    }
}

/// Watches contacts that came and forgets those that went. What the homes did not answer is left in the outbox for later, where
/// an `unwatch` finds it.
async fn follow(node: Arc<Node>, outbox: Arc<Outbox>, changes: BTreeMap<UserId, Follow>) {
    let mut unwatched = Vec::new();
    let mut added = Vec::new();
    // All are watched at once, before anything is waited for, as if vetted when the first of them was: what the viewer's home
    // decided since then is asked for again.
    let mut vetted_at = u64::MAX;
    for (user, change) in changes {
        match change {
            Follow::Added { blocked, revision } => {
                vetted_at = vetted_at.min(revision);
                added.push((user, blocked));
            }
            Follow::Removed => {
                if node.unwatch(&outbox, &user, Why::Contact) {
                    unwatched.push(user);
                }
            }
        }
    }
    if !unwatched.is_empty() {
        outbox.tell_unwatched(unwatched);
    }
    if added.is_empty() {
        return;
    }
    match node.watch(&outbox, &added, vetted_at, false).await {
        Ok(()) => outbox.begin(added.iter().map(|(user, _)| user)),
        Err(_) => {
            outbox.follow_again(added, vetted_at);
            tokio::time::sleep(Duration::from_millis(END_RETRY_MS)).await;
        }
    }
}

#[async_trait]
impl Connection for LiveConnection {
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        loop {
            self.follow_on(cx);
            match self.outbox.poll(cx, self.following.is_none()) {
                Poll::Ready(Pending::Delivery(delivery)) => return Poll::Ready(delivery),
                Poll::Ready(Pending::Follows(changes)) => {
                    self.following = Some(Box::pin(follow(self.node.clone(), self.outbox.clone(), changes)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take_conflated(&mut self) -> u64 {
        self.outbox.take_conflated()
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.follow_on(cx);
        self.outbox.poll_pending(cx, self.following.is_none())
    }

    async fn watch(&mut self, users: Vec<(UserId, Option<u64>)>) -> Result<Vec<Arc<EncodedPresence>>, ServiceError> {
        let max = self.node.limits.watches;
        if self.outbox.explicit_with(users.iter().map(|(user, _)| user)) > max {
            return Err(ServiceError::LimitExceeded { what: "watches", max: u64::from(max) });
        }
        let subjects = users.iter().map(|(user, _)| user.clone()).collect();
        let vetted = self.node.vet(self.outbox.viewer(), subjects).await?;
        self.node.watch(&self.outbox, &vetted.subjects, vetted.revision, true).await?;
        if vetted.stale {
            self.node.sockets.doubt(self.node.homes.partition_of(&self.outbox.viewer().user));
        }
        Ok(self.outbox.snapshot(&users))
    }

    async fn contacts_snapshot(&mut self) -> Result<Vec<Arc<EncodedPresence>>, ServiceError> {
        let user = self.user().clone();
        let request = HomeRequest::Follow { user: user.clone(), at: self.at.clone() };
        let HomeReply::Contacts { contacts, revision } = self.node.homes.ask(&user, request).await? else {
            return Err(ServiceError::Internal);
        };
        self.node.sockets.has_followed(self.at.number);
        self.node.watch(&self.outbox, &contacts, revision, false).await?;
        let users: Vec<(UserId, Option<u64>)> = contacts.into_iter().map(|(user, _)| (user, None)).collect();
        Ok(self.outbox.snapshot(&users))
    }

    async fn unwatch(&mut self, users: Vec<UserId>) -> Result<(), ServiceError> {
        self.outbox.unfollow(&users);
        for user in &users {
            self.node.unwatch(&self.outbox, user, Why::Any);
        }
        Ok(())
    }

    async fn activity(&mut self, activity: Activity) -> Result<(), ServiceError> {
        let Some((session, _)) = &self.session else { return Err(ServiceError::UnknownSession) };
        let user = self.user().clone();
        let intent = Intent::SetActivity { session: session.clone(), activity };
        self.node.homes.ask(&user, HomeRequest::Write { user: user.clone(), intent, key: None }).await?;
        Ok(())
    }

    fn heard(&mut self, at: UnixMs) {
        if at.saturating_sub(self.told_at) < HEARD_EVERY_MS {
            return;
        }
        self.told_at = at;
        if let Some((session, _)) = &self.session {
            let (user, session) = (self.user().clone(), session.clone());
            self.node.sockets.has_heard(self.at.number, at);
            self.node.homes.tell(&user, HomeRequest::Heard { user: user.clone(), session, at });
        }
    }

    async fn close(mut self: Box<Self>, ending: Ending) {
        self.part(ending);
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        let heard_at = self.node.clock.unix_ms();
        self.part(Ending::Lost { heard_at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_this_process_is_one_step_of_a_grace() {
        let started = Instant::now();
        let passing = tokio::spawn(pass(15_000));
        tokio::task::yield_now().await;
        advance(Duration::from_secs(60)).await;
        passing.await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(60 + 14), "{:?}", started.elapsed());
        let started = Instant::now();
        pass(15_500).await;
        assert_eq!(started.elapsed().as_millis() / 100, 155, "without a pause it takes as long as it says");
    }
}
