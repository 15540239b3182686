//! A connection that outlives its sockets: it follows presences, and comes back after a loss.
//!
//! Owns the resume token, the versions held and the waits between attempts, as the contract's section 8 asks of clients.
//! Promises each change once: a version already held is not told again, save version 0, or a change of certainty.

use super::{
    backoff::{Backoff, fraction},
    client::{ClientError, Credentials},
    frame::{self, Presence},
    server::Server,
    socket::{Event, Opening, Socket, SocketError},
    token::MINTED_TTL,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// A minted token is replaced this long after it was minted: well before it expires.
const TOKEN_REFRESH: Duration = Duration::from_secs(MINTED_TTL.as_secs() / 2);
/// Slack on top of twice the ping interval before a silent server is dead. Contract, section 8.
const SILENCE_SLACK: Duration = Duration::from_secs(5);

/// Who connects, and what is followed.
pub(crate) struct Following {
    pub(crate) server: Server,
    pub(crate) credentials: Credentials,
    pub(crate) user: String,
    pub(crate) scope: &'static str,
    /// A session of this device; an observer has none.
    pub(crate) device: Option<String>,
    /// Whom to watch; none: the contacts.
    pub(crate) watched: Vec<String>,
}

/// What a follower hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A presence in JSON, newer than what was held.
    Presence(String),
    /// These are followed no more.
    Unwatched(Vec<String>),
    /// The server refused a frame: code and detail.
    Refused(String, String),
    /// The connection was lost; the next attempt is this far away.
    Lost(Duration),
    /// The connection stands again; whether the session was resumed.
    Back(bool),
    /// The server said goodbye for good, for this reason.
    Over(String),
}

/// See the module.
pub(crate) struct Follower {
    following: Following,
    state: State,
    resume: Option<String>,
    held: BTreeMap<String, (u64, bool)>,
    backoff: Backoff,
    pending: VecDeque<Heard>,
    goodbye: Option<(String, bool, Option<u64>)>,
}

enum State {
    Up { socket: Box<Socket>, silence_max: Duration, token_until: Instant },
    Down { until: Instant },
    Over,
}

impl Follower {
    /// Connects for the first time. An error here is final: nobody likes a program that retries a typing mistake.
    pub(crate) async fn start(following: Following) -> Result<Self, SocketError> {
        let mut follower = Self {
            following,
            state: State::Over,
            resume: None,
            held: BTreeMap::new(),
            backoff: Backoff::default(),
            pending: VecDeque::new(),
            goodbye: None,
        };
        follower.connect().await?;
        Ok(follower)
    }

    /// Sends a frame; `false` if there is no connection to send it on.
    pub(crate) async fn say(&mut self, frame: String) -> bool {
        match &mut self.state {
            State::Up { socket, .. } => socket.say(frame).await.is_ok(),
            State::Down { .. } | State::Over => false,
        }
    }

    /// The next thing heard. May be dropped at any wait and called again.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.pending.pop_front() {
                return heard;
            }
            match &mut self.state {
                State::Up { socket, silence_max, token_until } => {
                    let silent = Instant::now() + *silence_max;
                    match timeout_at(silent.min(*token_until), socket.event()).await {
                        Ok(Event::Text(text)) => self.take(&text),
                        Ok(Event::Ping) => {}
                        Ok(Event::Over(_)) => self.lose(),
                        Err(_) if Instant::now() >= *token_until => self.refresh().await,
                        Err(_) => self.lose(),
                    }
                }
                State::Down { until } => {
                    sleep(until.saturating_duration_since(Instant::now())).await;
                    match self.connect().await {
                        Ok(resumed) => self.pending.push_back(Heard::Back(resumed)),
                        // The same token would be refused again.
                        Err(SocketError::Refused(error @ ClientError::Unauthenticated { .. })) => {
                            self.state = State::Over;
                            self.pending.push_back(Heard::Over(error.to_string()));
                        }
                        Err(SocketError::Later { after, .. }) => {
                            // As the server says, within the whole seconds that it can say.
                            self.goodbye = Some((String::new(), true, Some(turn_ms(after, fraction()))));
                            self.lose();
                        }
                        Err(_) => self.lose(),
                    }
                }
                State::Over => std::future::pending().await,
            }
        }
    }

    /// Ends the session cleanly.
    pub(crate) async fn leave(self) {
        if let State::Up { socket, .. } = self.state {
            socket.close().await;
        }
    }

    async fn connect(&mut self) -> Result<bool, SocketError> {
        let of = &self.following;
        let token = of.credentials.token(&of.user, of.scope, MINTED_TTL).map_err(ClientError::from)?;
        let opening = Opening {
            server: &of.server,
            token: &token,
            device: of.device.as_deref(),
            contacts: of.watched.is_empty(),
            session: of.device.is_some(),
            resume: self.resume.as_deref(),
        };
        let (mut socket, welcome) = Socket::open(&opening).await?;
        for users in of.watched.chunks(rollcall_presence::limits::WATCH_FRAME_MAX_IDS) {
            let known: BTreeMap<&str, u64> =
                users.iter().map(|u| (u.as_str(), self.held.get(u).map_or(0, |h| h.0))).collect();
            // Someone never heard of is asked for by name alone: the first snapshot then holds everybody.
            let frame = if self.held.is_empty() {
                json!({"type": "watch", "id": 1, "users": users})
            } else {
                json!({"type": "watch", "id": 1, "users": known})
            };
            socket.say(frame.to_string()).await?;
        }
        let silence_max = Duration::from_millis(welcome.ping_ms) * 2 + SILENCE_SLACK;
        let token_until = Instant::now() + TOKEN_REFRESH;
        self.state = State::Up { socket: Box::new(socket), silence_max, token_until };
        self.resume = welcome.resume;
        self.backoff.reset();
        self.goodbye = None;
        Ok(welcome.resumed)
    }

    /// The connection is gone: as the goodbye says, or after a random wait.
    fn lose(&mut self) {
        let wait = match self.goodbye.take() {
            Some((reason, false, _)) => {
                self.state = State::Over;
                self.pending.push_back(Heard::Over(reason));
                return;
            }
            Some((_, true, Some(after_ms))) => Duration::from_millis(after_ms),
            _ => self.backoff.next(fraction()),
        };
        self.state = State::Down { until: Instant::now() + wait };
        self.pending.push_back(Heard::Lost(wait));
    }

    async fn refresh(&mut self) {
        let of = &self.following;
        let fresh = of.credentials.mints().then(|| of.credentials.token(&of.user, of.scope, MINTED_TTL));
        if let State::Up { socket, token_until, .. } = &mut self.state {
            *token_until = Instant::now() + TOKEN_REFRESH;
            if let Some(Ok(token)) = fresh {
                // A socket that is gone is found by the next read.
                let _ = socket.say(json!({"type": "token", "token": token}).to_string()).await;
            }
        }
    }

    fn take(&mut self, text: &str) {
        let Ok(frame) = frame::read(text) else { return };
        match &*frame.kind {
            "snapshot" | "presence" => {
                for raw in frame.presences {
                    let Ok(presence) = frame::presence(raw) else { continue };
                    if self.is_news(&presence) {
                        self.held.insert(presence.user.clone().into_owned(), (presence.version, presence.stale));
                        self.pending.push_back(Heard::Presence(raw.get().into()));
                    }
                }
            }
            "unwatched" => {
                for user in &frame.users {
                    self.held.remove(user);
                }
                self.pending.push_back(Heard::Unwatched(frame.users));
            }
            "error" => {
                let (code, detail) = (frame.code.unwrap_or_default(), frame.detail.unwrap_or_default());
                self.pending.push_back(Heard::Refused(code, detail));
            }
            "goodbye" => {
                let reason = frame.reason.unwrap_or_default();
                self.goodbye = Some((reason, frame.reconnect.unwrap_or(true), frame.after_ms));
            }
            // Answers, and frame types of newer servers.
            _ => {}
        }
    }

    fn is_news(&self, presence: &Presence<'_>) -> bool {
        match self.held.get(&*presence.user) {
            None => true,
            Some(&(version, stale)) => match presence.version {
                0 => (version, stale) != (0, presence.stale),
                newer => newer > version || (newer == version && stale != presence.stale),
            },
        }
    }
}

/// When to come back, ms: `after` and a random part of the second that it was rounded to.
fn turn_ms(after: Duration, fraction: f64) -> u64 {
    let within = Duration::from_secs(1).mul_f64(fraction.clamp(0.0, 1.0));
    u64::try_from((after + within).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::SinkExt as _;
    use tokio_tungstenite::tungstenite::{
        Message,
        handshake::server::{Request, Response},
    };

    type Peer = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;
    const DEADLINE: Duration = Duration::from_secs(20);

    fn follower() -> Follower {
        let following = Following {
            server: Server::at("http://127.0.0.1:1").unwrap(),
            credentials: Credentials::Token("t".into()),
            user: "alice".into(),
            scope: "user",
            device: None,
            watched: Vec::new(),
        };
        let (held, pending) = (BTreeMap::new(), VecDeque::new());
        Follower {
            following,
            state: State::Over,
            resume: None,
            held,
            backoff: Backoff::default(),
            pending,
            goodbye: None,
        }
    }

    fn show(follower: &mut Follower, version: u64, stale: bool) -> usize {
        let bob = json!({"user": "bob", "status": "online", "version": version, "stale": stale});
        follower.take(&json!({"type": "presence", "presences": [bob]}).to_string());
        std::mem::take(&mut follower.pending).len()
    }

    #[test]
    fn only_news_is_told() {
        let mut follower = follower();
        let told = [(5, false), (5, false), (4, false), (5, true), (6, false), (0, false), (0, false), (1, false)]
            .map(|(version, stale)| show(&mut follower, version, stale));
        assert_eq!(told, [1, 0, 0, 1, 1, 1, 0, 1]);
    }

    /// A server that says what it is told, to one connection; the query that the client came with.
    #[expect(clippy::result_large_err, reason = "the handshake's callback has this type")]
    async fn serve(listener: &tokio::net::TcpListener, frames: &[serde_json::Value]) -> (String, Peer) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut query = String::new();
        let note = |request: &Request, response: Response| {
            query = request.uri().query().unwrap_or_default().to_owned();
            Ok(response)
        };
        let mut peer = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
        for frame in frames {
            peer.send(Message::text(frame.to_string())).await.unwrap();
        }
        (query, peer)
    }

    fn welcome(resumed: bool) -> serde_json::Value {
        json!({"type": "welcome", "user": "alice", "session": "s", "resumed": resumed, "node": "n1",
            "ping_ms": 20_000, "resume": "token-1"})
    }

    fn snapshot(version: u64) -> serde_json::Value {
        let bob = json!({"user": "bob", "status": "online", "version": version, "stale": false});
        json!({"type": "snapshot", "id": null, "presences": [bob], "more": false})
    }

    #[tokio::test]
    async fn a_lost_connection_is_resumed_and_only_news_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut following = follower().following;
        following.server = Server::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        following.device = Some("terminal".into());
        let server = async {
            let (first, peer) = serve(&listener, &[welcome(false), snapshot(5)]).await;
            drop(peer); // vanishes without a close
            let (second, peer) = serve(&listener, &[welcome(true), snapshot(5), snapshot(6)]).await;
            (first, second, peer)
        };
        let client = async {
            let mut follower = Follower::start(following).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < 4 {
                heard.push(match follower.hear().await {
                    Heard::Presence(json) => frame_version(&json).to_string(),
                    Heard::Lost(_) => {
                        // The wait is random; the test need not sit it out.
                        follower.state = State::Down { until: Instant::now() };
                        "lost".into()
                    }
                    other => format!("{other:?}"),
                });
            }
            heard
        };
        let both = futures::future::join(server, client);
        let ((first, second, _peer), heard) = tokio::time::timeout(DEADLINE, both).await.unwrap();
        assert_eq!(first, "device=terminal&watch=contacts");
        assert_eq!(second, "device=terminal&watch=contacts&resume=token-1");
        assert_eq!(heard, ["5", "lost", "Back(true)", "6"]);
    }

    fn frame_version(json: &str) -> u64 {
        serde_json::from_str::<Presence<'_>>(json).unwrap().version
    }

    #[test]
    fn a_goodbye_decides_whether_and_when_to_come_back() {
        let mut follower = follower();
        follower.take(r#"{"type":"goodbye","reason":"drain","reconnect":true,"after_ms":1200}"#);
        follower.lose();
        assert_eq!(follower.pending.pop_front(), Some(Heard::Lost(Duration::from_millis(1_200))));
        follower.take(r#"{"type":"goodbye","reason":"replaced","reconnect":false,"after_ms":null}"#);
        follower.lose();
        assert_eq!(follower.pending.pop_front(), Some(Heard::Over("replaced".into())));
    }
}
