//! The life of one connection: one task that sends what the service delivers and does what the client asks.
//!
//! Nothing queues up in here: a frame is built when the socket takes it, the next one of the client is read when the last
//! one is answered. A write of a status runs beside the deliveries, everything else before them.

use super::{
    ending::{End, OrElse, broken, no_session, stopped},
    inbound::{self, Ask, Refused},
    outbound::{self, Frame},
    pace::{Due, Pace},
    socket::Socket,
};
use crate::{
    api::{Api, now_ms},
    problem::{Code, Problem},
    service::{ConnectRequest, Connection, Delivery, Ending, GoodbyeReason, ServiceError, Welcome},
    token::Identity,
    wire::EncodedPresence,
};
use futures::future::BoxFuture;
use rollcall_presence::{Answer, Intent, UnixMs, UserId};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame::coding::CloseCode};

/// Malformed frames in a row that end a connection. Contract, section 8.
const MALFORMED_MAX: u8 = 10;
/// How long a slow client may take to read why it is closed, once it reads again.
const SLOW_FAREWELL_MAX: Duration = Duration::from_secs(10);
/// When a slow client may come back, ms.
const SLOW_AFTER_MS: u64 = 5_000;
/// How long a client that sends too much is not read, at least: each refusal costs a frame.
const REST_MIN: Duration = Duration::from_millis(100);
/// And at most: it must not be taken for dead, and a frame that needs fewer ids may be let in.
const REST_MAX: Duration = Duration::from_secs(1);
const POLICY: u16 = 1_008;
const TRY_AGAIN: u16 = 1_013;

/// What happens next.
enum Event {
    Due,
    Delivery(Delivery),
    Message(Option<Result<Message, Error>>),
    Written(Option<i64>, Result<Answer, ServiceError>),
}

type Rest = Pin<Box<Sleep>>;
type Writing = BoxFuture<'static, Result<Answer, ServiceError>>;

/// One connection with all its state.
pub(super) struct Conversation {
    api: Api,
    socket: Socket,
    connection: Option<Box<dyn Connection>>,
    identity: Arc<Identity>,
    has_session: bool,
    sees_all: bool,
    pace: Pace,
    heard_at: UnixMs,
    malformed: u8,
    /// Whether the client's turn comes before the service's.
    clients_turn: bool,
    writing: Option<(Option<i64>, Writing)>,
    /// Until when a client that sends too much is not read, so that it waits instead of this node.
    rest: Option<Rest>,
}

impl Conversation {
    pub(super) fn new(
        api: Api,
        socket: Socket,
        connection: Box<dyn Connection>,
        identity: Arc<Identity>,
        request: &ConnectRequest,
    ) -> Self {
        let presence = &api.options().presence;
        let (ping, flush) = (presence.ping_interval_ms, presence.flush_ms);
        let keys = api.options().keys.hear();
        let pace = Pace::new(Duration::from_millis(ping), Duration::from_millis(flush), identity.until, keys);
        Self {
            socket,
            connection: Some(connection),
            has_session: request.session.is_some(),
            sees_all: request.viewer.service,
            identity,
            pace,
            heard_at: now_ms(),
            malformed: 0,
            clients_turn: false,
            writing: None,
            rest: None,
            api,
        }
    }

    /// Says welcome, and sends the snapshot of the contacts if they are watched.
    pub(super) async fn greet(&mut self, welcome: &Welcome, contacts: bool) -> Result<(), End> {
        let ping_ms = self.api.options().presence.ping_interval_ms;
        self.send(outbound::welcome(&self.identity.user, welcome, ping_ms)).await?;
        if contacts && let Some(connection) = &mut self.connection {
            match connection.contacts_snapshot().await {
                Ok(presences) => self.send_snapshot(None, &presences).await?,
                Err(error) => {
                    self.error(None, &error.into()).await?;
                    return Err(End::Refused(TRY_AGAIN, "contacts unavailable"));
                }
            }
        }
        Ok(())
    }

    /// Serves the connection until it ends.
    pub(super) async fn go_on(&mut self) -> End {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            let done = match event {
                Event::Due => self.due().await,
                Event::Delivery(delivery) => self.deliver(delivery).await,
                Event::Message(message) => Box::pin(self.hear(message)).await,
                Event::Written(id, result) => self.answer(id, result.map(|_| ())).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.pace.poll(cx).is_ready() {
            return Poll::Ready(Event::Due);
        }
        if let Some((id, writing)) = &mut self.writing
            && let Poll::Ready(result) = writing.as_mut().poll(cx)
        {
            let id = *id;
            self.writing = None;
            return Poll::Ready(Event::Written(id, result));
        }
        // Each side goes first after the other had its turn, so that neither starves the other.
        self.clients_turn = !self.clients_turn;
        if self.clients_turn {
            self.poll_client(cx).map_or_pending(|| self.poll_service(cx))
        } else {
            self.poll_service(cx).map_or_pending(|| self.poll_client(cx))
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.writing.is_some() || self.rest.as_mut().is_some_and(|rest| rest.as_mut().poll(cx).is_pending()) {
            return Poll::Pending;
        }
        self.rest = None;
        self.socket.poll_message(cx).map(Event::Message)
    }

    fn poll_service(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        if self.pace.may_send() {
            return connection.poll_delivery(cx).map(Event::Delivery);
        }
        if connection.poll_pending(cx).is_ready() {
            self.pace.resume();
            // The timer has to learn who waits for it.
            if self.pace.poll(cx).is_ready() {
                return Poll::Ready(Event::Due);
            }
        }
        Poll::Pending
    }

    async fn send(&mut self, mut frame: Frame) -> Result<(), End> {
        self.api.metrics().frames_out.inc();
        match self.socket.send(&mut frame).await {
            Ok(()) => Ok(()),
            Err(error) => Err(stopped(&error, frame)),
        }
    }

    async fn send_snapshot(&mut self, id: Option<i64>, presences: &[Arc<EncodedPresence>]) -> Result<(), End> {
        let mut rest = Some(presences);
        while let Some(presences) = rest {
            let (frame, later) = outbound::snapshot(id, presences);
            self.send(frame).await?;
            rest = later;
        }
        Ok(())
    }

    async fn due(&mut self) -> Result<(), End> {
        self.count_conflated();
        match self.pace.take() {
            Due::Nothing => Ok(()),
            Due::Dead => Err(End::Gone),
            Due::Expired => Err(End::Goodbye(GoodbyeReason::TokenExpired, 0)),
            Due::Keys => {
                if !self.api.options().keys.trusts(&self.identity) {
                    self.pace.revoked();
                }
                Ok(())
            }
            Due::Ping => self.socket.ping().await.map_err(|e| stopped(&e, Frame::default())),
        }
    }

    fn count_conflated(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.api.metrics().conflated.inc_by(connection.take_conflated());
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), End> {
        match delivery {
            Delivery::Presences(changed) => {
                self.api.metrics().delivered.inc_by(changed.len() as u64);
                let mut rest = &changed[..];
                while !rest.is_empty() {
                    let (frame, later) = outbound::presences(rest);
                    self.send(frame).await?;
                    rest = later;
                }
            }
            Delivery::Unwatched(users) => self.send(outbound::unwatched(&users)).await?,
            Delivery::Goodbye { reason, after_ms } => return Err(End::Goodbye(reason, after_ms)),
        }
        self.pace.sent();
        Ok(())
    }

    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(message)) => message,
        };
        self.pace.heard();
        self.heard_at = now_ms();
        if let Some(connection) = &mut self.connection {
            connection.heard(self.heard_at);
        }
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            self.api.metrics().frames_in.inc();
        }
        match message {
            Message::Text(text) => {
                let asked = inbound::parse(&text);
                drop(text);
                match asked {
                    Ok((id, ask)) => {
                        self.malformed = 0;
                        match self.charge(ask.ids()) {
                            Ok(()) => self.carry_out(id, ask).await,
                            Err(limited) => self.error(id, &limited).await,
                        }
                    }
                    Err(refused) => {
                        let _ = self.charge(0); // it is refused anyway, but may have to wait
                        self.refuse(refused).await
                    }
                }
            }
            Message::Binary(_) => {
                let _ = self.charge(0);
                let problem = Problem::new(Code::InvalidRequest, "binary frames are not known here");
                self.refuse(Refused { id: None, problem, malformed: true }).await
            }
            Message::Close(frame) => {
                self.socket.acknowledge().await;
                Err(if frame.is_none_or(|f| f.code == CloseCode::Normal) { End::Closed } else { End::Gone })
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                let _ = self.charge(0); // nothing to refuse: the client is read more slowly
                Ok(())
            }
        }
    }

    /// Charges a frame, and the users that it asks about, to the connection's user. Once refused, the client is not read until there
    /// is room again, so that going on costs nobody but itself.
    fn charge(&mut self, ids: usize) -> Result<(), Problem> {
        let charged = self.api.rates().user(&self.identity, ids);
        if let Err(limited) = &charged {
            let rest = Duration::from_millis(limited.after_ms.unwrap_or(0)).clamp(REST_MIN, REST_MAX);
            self.rest = Some(Box::pin(sleep(rest)));
        }
        charged
    }

    async fn error(&mut self, id: Option<i64>, problem: &Problem) -> Result<(), End> {
        self.api.metrics().refused(problem.code);
        self.send(outbound::error(id, problem)).await
    }

    async fn refuse(&mut self, refused: Refused) -> Result<(), End> {
        self.error(refused.id, &refused.problem).await?;
        self.malformed = if refused.malformed { self.malformed + 1 } else { 0 };
        if self.malformed < MALFORMED_MAX { Ok(()) } else { Err(End::Refused(POLICY, "too many malformed frames")) }
    }

    async fn carry_out(&mut self, id: Option<i64>, ask: Ask) -> Result<(), End> {
        let Some(connection) = &mut self.connection else { return Err(End::Gone) };
        match ask {
            Ask::Ping => self.send(outbound::pong(id)).await,
            Ask::Watch(users) => match connection.watch(users).await {
                Ok(presences) => self.send_snapshot(id, &presences).await,
                Err(error) => self.answer(id, Err(error)).await,
            },
            Ask::Unwatch(users) => {
                let done = connection.unwatch(users).await;
                self.answer(id, done).await
            }
            Ask::Activity(activity) if self.has_session => {
                let done = connection.activity(activity).await;
                self.answer(id, done).await
            }
            Ask::Activity(_) => self.error(id, &no_session()).await,
            Ask::Write(intent) => {
                self.writing = Some((id, self.write(intent)));
                Ok(())
            }
            Ask::Token(token) => match self.replace_token(&token) {
                Ok(()) => self.answer(id, Ok(())).await,
                Err(problem) => self.error(id, &problem).await,
            },
        }
    }

    fn write(&self, intent: Intent) -> Writing {
        let (service, user): (_, UserId) = (self.api.options().service.clone(), self.identity.user.clone());
        Box::pin(async move { service.write(&user, intent, None).await })
    }

    /// Takes a fresh token of the same user, if it allows what the connection was opened for.
    fn replace_token(&mut self, token: &str) -> Result<(), Problem> {
        let identity = self.api.options().keys.verify(token)?;
        if identity.user != self.identity.user || self.sees_all && !identity.service {
            return Err(Problem::new(
                Code::Forbidden,
                "the token is another user's, or allows less than the one in use",
            ));
        }
        self.pace.expires(identity.until);
        self.identity = identity;
        Ok(())
    }

    /// Answers a frame that has nothing else to say, if it wants an answer; a refusal is always said.
    async fn answer(&mut self, id: Option<i64>, done: Result<(), ServiceError>) -> Result<(), End> {
        match (done, id) {
            (Ok(()), Some(id)) => self.send(outbound::ok(id)).await,
            (Ok(()), None) => Ok(()),
            (Err(error), id) => self.error(id, &error.into()).await,
        }
    }

    /// Ends the connection: for its session and for its client at once, so that neither waits for the other.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        let closed = matches!(end, End::Closed | End::Goodbye(GoodbyeReason::Revoked, _));
        let ending = if closed { Ending::Closed } else { Ending::Lost { heard_at: self.heard_at } };
        self.writing = None;
        self.count_conflated();
        let connection = self.connection.take();
        let session_ends = async {
            if let Some(connection) = connection {
                connection.close(ending).await;
            }
        };
        futures::join!(session_ends, self.part(end));
    }

    /// Closes the socket as `end` demands.
    async fn part(&mut self, end: End) {
        match end {
            End::Closed | End::Gone => {}
            End::Goodbye(reason, after_ms) => self.farewell(reason, after_ms).await,
            End::Refused(code, why) => self.socket.close(code, why).await,
            End::Slow(mut frame) => {
                let farewell = async {
                    if self.socket.send(&mut frame).await.is_ok() {
                        self.farewell(GoodbyeReason::Slow, SLOW_AFTER_MS).await;
                    }
                };
                let _ = tokio::time::timeout(SLOW_FAREWELL_MAX, farewell).await;
            }
        }
    }

    async fn farewell(&mut self, reason: GoodbyeReason, after_ms: u64) {
        self.api.metrics().goodbye(reason);
        if self.socket.send(&mut outbound::goodbye(reason, after_ms)).await.is_ok() {
            self.socket.close(reason as u16, reason.name()).await;
        }
    }
}
