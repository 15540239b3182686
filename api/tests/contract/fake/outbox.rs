//! A connection of the fake: an outbox with the latest state of each watched user, filled from the users as they are.

use super::{Fake, now};
use async_trait::async_trait;
use rollcall_api::{
    service::{Connection, Delivery, Ending, GoodbyeReason, ServiceError},
    wire::EncodedPresence,
};
use rollcall_presence::{Activity, EndCause, Intent, ListKind, SessionId, UnixMs, UserId, Viewer};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// What one connection watches, and what it has not been told yet.
pub(crate) struct Outbox {
    pub(crate) viewer: Viewer,
    pub(crate) session: Option<SessionId>,
    pub(crate) contacts: bool,
    /// With the JSON last told.
    pub(crate) watched: BTreeMap<UserId, String>,
    pub(crate) explicit: BTreeSet<UserId>,
    pub(crate) pending: BTreeMap<UserId, Arc<EncodedPresence>>,
    pub(crate) unwatched: Vec<UserId>,
    pub(crate) goodbye: Option<(GoodbyeReason, u64)>,
    pub(crate) waker: Option<Waker>,
    pub(crate) heard: u64,
    pub(crate) deliveries: u64,
}

impl Outbox {
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take(&mut self) -> Option<Delivery> {
        let delivery = if let Some((reason, after_ms)) = self.goodbye {
            Delivery::Goodbye { reason, after_ms }
        } else if !self.unwatched.is_empty() {
            Delivery::Unwatched(std::mem::take(&mut self.unwatched))
        } else if !self.pending.is_empty() {
            Delivery::Presences(std::mem::take(&mut self.pending).into_values().take(500).collect())
        } else {
            return None;
        };
        self.deliveries += 1;
        Some(delivery)
    }

    fn empty(&self) -> bool {
        self.goodbye.is_none() && self.unwatched.is_empty() && self.pending.is_empty()
    }
}

/// One end of an outbox; the other is in the fake.
pub(crate) struct FakeConnection {
    pub(crate) fake: Arc<Fake>,
    pub(crate) number: u64,
    pub(crate) closed: bool,
}

impl FakeConnection {
    fn with<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        self.fake.connections.lock().get_mut(&self.number).map(act)
    }

    fn snapshot(&self, users: Vec<(UserId, Option<u64>)>, explicit: bool) -> Vec<Arc<EncodedPresence>> {
        let viewer = self.with(|o| o.viewer.clone()).unwrap();
        let mut news = Vec::new();
        for (user, known) in users {
            let encoded = Arc::new(EncodedPresence::new(&self.fake.users.lock().seen(&viewer, &user), false));
            self.with(|outbox| {
                outbox.pending.remove(&user);
                outbox.watched.insert(user.clone(), encoded.json.to_string());
                if explicit {
                    outbox.explicit.insert(user.clone());
                }
            });
            if known.is_none_or(|k| encoded.version > k || encoded.version == 0 && k > 0) {
                news.push(encoded);
            }
        }
        news
    }
}

#[async_trait]
impl Connection for FakeConnection {
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let taken = self.with(|outbox| {
            let taken = outbox.take();
            if taken.is_none() {
                outbox.waker = Some(cx.waker().clone());
            }
            taken
        });
        taken.flatten().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let empty = self.with(|outbox| {
            outbox.waker = Some(cx.waker().clone());
            outbox.empty()
        });
        if empty == Some(false) { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn watch(&mut self, users: Vec<(UserId, Option<u64>)>) -> Result<Vec<Arc<EncodedPresence>>, ServiceError> {
        self.fake.allowed()?;
        let max = self.fake.watches_max();
        let after = self.with(|o| o.explicit.iter().chain(users.iter().map(|(u, _)| u)).collect::<BTreeSet<_>>().len());
        if after.unwrap_or(0) as u64 > max {
            return Err(ServiceError::LimitExceeded { what: "watches", max });
        }
        Ok(self.snapshot(users, true))
    }

    async fn contacts_snapshot(&mut self) -> Result<Vec<Arc<EncodedPresence>>, ServiceError> {
        if let Some(error) = self.fake.contacts_refusal.lock().take() {
            return Err(error);
        }
        let viewer = self.with(|o| o.viewer.clone()).unwrap();
        let contacts = self.fake.users.lock().lists(&viewer.user, ListKind::Contacts);
        Ok(self.snapshot(contacts.into_iter().map(|(user, _)| (user, None)).collect(), false))
    }

    async fn unwatch(&mut self, users: Vec<UserId>) -> Result<(), ServiceError> {
        self.with(|outbox| {
            for user in users {
                outbox.watched.remove(&user);
                outbox.explicit.remove(&user);
                outbox.pending.remove(&user);
            }
        });
        Ok(())
    }

    async fn activity(&mut self, activity: Activity) -> Result<(), ServiceError> {
        let outbox = self.with(|o| (o.viewer.user.clone(), o.session.clone()));
        let Some((user, Some(session))) = outbox else { return Err(ServiceError::UnknownSession) };
        self.fake.write_now(&user, Intent::SetActivity { session, activity }, None).map(drop)
    }

    fn heard(&mut self, _at: UnixMs) {
        self.with(|outbox| outbox.heard += 1);
    }

    async fn close(mut self: Box<Self>, ending: Ending) {
        self.closed = true;
        let outbox = self.fake.connections.lock().remove(&self.number);
        self.fake.ended(ending);
        if let (Ending::Closed, Some(Outbox { viewer, session: Some(session), .. })) = (ending, outbox) {
            let end = Intent::EndSession { session, attachment: None, cause: EndCause::Closed, heard_at: now() };
            let _ = self.fake.write_now(&viewer.user, end, None);
        }
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        if !self.closed {
            self.fake.connections.lock().remove(&self.number);
            self.fake.ended(Ending::Lost { heard_at: now() });
        }
    }
}
