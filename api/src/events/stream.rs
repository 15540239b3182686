//! One event stream: text made when the client's connection takes it, so that a slow reader gets fewer, newer events.

use super::told::{EventId, Known, Told};
use crate::{
    api::{Api, Open, now_ms},
    connect::{Due, Pace, fitting, goodbye_json},
    service::{Connection, Delivery, Ending, GoodbyeReason},
    token::Identity,
    wire::EncodedPresence,
};
use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use rollcall_presence::UserId;
use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// What the client is told first.
pub(super) struct Opening {
    pub(super) snapshot: Vec<Arc<EncodedPresence>>,
    /// Contacts that it may still hold.
    pub(super) unwatched: Vec<UserId>,
    /// What it knew before.
    pub(super) known: Known,
}

/// How often a quiet stream gets a comment, so that nothing between here and the client takes it for dead. Contract, section 9.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// A client's events.
pub(super) struct Events {
    api: Api,
    identity: Arc<Identity>,
    connection: Option<Box<dyn Connection>>,
    pace: Pace,
    told: Arc<Mutex<Told>>,
    id: EventId,
    ready: VecDeque<Bytes>,
    _open: Open,
}

impl Events {
    /// The events of the stream with this number.
    pub(super) fn new(
        api: Api,
        identity: Arc<Identity>,
        connection: Box<dyn Connection>,
        stream: u64,
        opening: Opening,
    ) -> Self {
        let flush = Duration::from_millis(api.options().presence.flush_ms);
        let Opening { snapshot, unwatched, known } = opening;
        let mut events = Self {
            connection: Some(connection),
            pace: Pace::new(COMMENT_EVERY, flush, identity.until, api.options().keys.hear()),
            told: api.streams().begin(stream, identity.viewer(), known),
            id: EventId { stream, seq: 0 },
            ready: VecDeque::new(),
            _open: api.options().connections.enter(),
            identity,
            api,
        };
        if snapshot.is_empty() {
            events.presences("snapshot", &[]);
        }
        events.split("snapshot", &snapshot);
        if !unwatched.is_empty() {
            events.unwatched(&unwatched);
        }
        events
    }

    fn split(&mut self, event: &str, presences: &[Arc<EncodedPresence>]) {
        let mut rest = presences;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            self.presences(event, now);
            rest = later;
        }
    }

    fn presences(&mut self, event: &str, presences: &[Arc<EncodedPresence>]) {
        let mut data = String::with_capacity(presences.iter().map(|p| p.json.len() + 1).sum::<usize>() + 32);
        data.push_str("{\"presences\":[");
        for (at, presence) in presences.iter().enumerate() {
            if at > 0 {
                data.push(',');
            }
            data.push_str(&presence.json);
        }
        data.push_str("]}");
        let seq = self.event(event, &data);
        self.told.lock().presences(seq, presences);
    }

    fn unwatched(&mut self, users: &[UserId]) {
        // Ids need no escapes.
        let quoted: Vec<String> = users.iter().map(|user| format!("\"{user}\"")).collect();
        let seq = self.event("unwatched", &format!("{{\"users\":[{}]}}", quoted.join(",")));
        self.told.lock().unwatched(seq, users);
    }

    fn event(&mut self, event: &str, data: &str) -> u64 {
        self.id.seq += 1;
        self.told.lock().event(self.id.seq);
        self.ready.push_back(format!("event: {event}\nid: {}\ndata: {data}\n\n", self.id).into());
        self.id.seq
    }

    fn goodbye(&mut self, reason: GoodbyeReason, after_ms: u64) {
        self.api.metrics().goodbye(reason);
        self.event("goodbye", &goodbye_json(reason, after_ms));
        // An observer: it has no session whose ending anybody would wait for.
        if let Some(connection) = self.connection.take() {
            tokio::spawn(connection.close(Ending::Lost { heard_at: now_ms() }));
        }
    }

    fn due(&mut self) {
        // The client says nothing on an event stream; a dead one is found by writes that do not get through.
        self.pace.heard();
        match self.pace.take() {
            Due::Nothing | Due::Dead => {}
            Due::Keys => {
                if !self.api.options().keys.trusts(&self.identity) {
                    self.pace.revoked();
                }
            }
            Due::Ping => self.ready.push_back(Bytes::from_static(b":\n\n")),
            Due::Expired => self.goodbye(GoodbyeReason::TokenExpired, 0),
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Presences(changed) => {
                self.api.metrics().delivered.inc_by(changed.len() as u64);
                self.split("presence", &changed);
            }
            Delivery::Unwatched(users) => self.unwatched(&users),
            Delivery::Goodbye { reason, after_ms } => self.goodbye(reason, after_ms),
        }
        self.pace.sent();
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(text)));
            }
            let this = &mut *self;
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            if this.pace.poll(cx).is_ready() {
                this.due();
                continue;
            }
            if this.pace.may_send() {
                match connection.poll_delivery(cx) {
                    Poll::Ready(delivery) => this.deliver(delivery),
                    Poll::Pending => return Poll::Pending,
                }
            } else if connection.poll_pending(cx).is_ready() {
                this.pace.resume();
                if this.pace.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.due();
            } else {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.api.metrics().conflated.inc_by(connection.take_conflated());
        }
        self.api.streams().end(self.id.stream);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("id", &self.id).finish_non_exhaustive()
    }
}
