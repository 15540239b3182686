//! A WebSocket client that judges while it listens.
//!
//! Every frame goes through the [`Judge`], so that no test can overlook a broken promise. Waiting has deadlines; "nothing
//! came" is shown by a ping that was overtaken by nothing.

use crate::{
    judge::Judge,
    upgrade::{Upgrade, upgrade},
    wait::DEADLINE,
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, Request},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// What a connection brings.
#[derive(Debug)]
pub enum Event {
    /// A text frame.
    Frame(Value),
    /// The end, with its close code, if there was one.
    Closed(Option<u16>),
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The `goodbye` before it, if any.
    pub goodbye: Option<Value>,
    /// The close code, if any.
    pub code: Option<u16>,
}

/// A handshake that was answered by plain HTTP.
#[derive(Debug)]
pub struct RefusedHandshake {
    /// The status code.
    pub status: u16,
    /// The body as JSON, `null` if it is none.
    pub problem: Value,
}

/// What came of a handshake that was answered.
type Opened = Result<Socket, RefusedHandshake>;

/// One connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The `welcome` frame.
    pub welcome: Value,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    judge: Judge,
    next_id: u64,
}

impl Socket {
    /// Connects with the token in the header, and takes the welcome.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn connect(address: &str, token: &str, query: &str) -> Self {
        let bearer = format!("Bearer {token}");
        let opened = Self::open(address, query, &[("authorization", &bearer)]).await;
        let mut socket = opened.unwrap_or_else(|r| panic!("connect?{query} was refused: {r:?}"));
        socket.take_welcome().await;
        socket
    }

    /// As [`connect`](Self::connect), to a node that may be away, or go away.
    ///
    /// # Errors
    /// What happened instead of a welcome.
    pub async fn try_connect(address: &str, token: &str, query: &str) -> Result<Self, String> {
        let bearer = format!("Bearer {token}");
        let opening = async {
            let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
            let request = request(address, query, &[("authorization", &bearer)]);
            let mut socket = match upgrade(request, stream).await.map_err(|e| e.to_string())? {
                Upgrade::Done(stream, subprotocol) => Self::of(*stream, subprotocol),
                Upgrade::Refused(reply) => return Err(format!("HTTP error: {}", reply.status)),
            };
            match socket.next().await {
                Event::Frame(frame) if frame["type"] == "welcome" => socket.welcome = frame,
                other => return Err(format!("{other:?} instead of a welcome")),
            }
            Ok(socket)
        };
        timeout(DEADLINE, opening).await.unwrap_or_else(|_| Err("no answer to the handshake".into()))
    }

    fn of(stream: WebSocketStream<TcpStream>, subprotocol: Option<String>) -> Self {
        Self { stream, welcome: Value::Null, subprotocol, judge: Judge::default(), next_id: 1 }
    }

    /// Connects with these headers, and reads nothing yet.
    ///
    /// # Errors
    /// [`RefusedHandshake`] when the answer is no upgrade.
    pub async fn open(address: &str, query: &str, headers: &[(&str, &str)]) -> Result<Self, RefusedHandshake> {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self::open_on(stream, query, headers).await
    }

    /// As [`open`](Self::open), on a connection with buffers of the test's choice.
    ///
    /// # Errors
    /// [`RefusedHandshake`] when the answer is no upgrade.
    pub async fn open_on(stream: TcpStream, query: &str, headers: &[(&str, &str)]) -> Result<Self, RefusedHandshake> {
        Self::try_open_on(stream, query, headers).await.unwrap_or_else(|error| panic!("connect?{query}: {error}"))
    }

    /// As [`open_on`](Self::open_on), on a connection that may break.
    ///
    /// # Errors
    /// When it breaks, or is not answered; within, [`RefusedHandshake`] when the answer is no upgrade.
    pub async fn try_open_on(stream: TcpStream, query: &str, headers: &[(&str, &str)]) -> io::Result<Opened> {
        let request = request(&stream.peer_addr()?.to_string(), query, headers);
        Ok(match timeout(DEADLINE, upgrade(request, stream)).await?? {
            Upgrade::Done(stream, subprotocol) => Ok(Self::of(*stream, subprotocol)),
            Upgrade::Refused(reply) => Err(RefusedHandshake {
                status: reply.status,
                problem: serde_json::from_str(&reply.body).unwrap_or(Value::Null),
            }),
        })
    }

    /// Takes the welcome, which must be the first frame.
    ///
    /// # Panics
    /// When it is not.
    pub async fn take_welcome(&mut self) {
        let welcome = self.frame().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        self.welcome = welcome;
    }

    /// The session in the welcome.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn session(&self) -> &str {
        self.welcome["session"].as_str().unwrap_or_else(|| panic!("no session in {}", self.welcome))
    }

    /// The resume token in the welcome, as it goes into a query.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn resume(&self) -> String {
        self.welcome["resume"].as_str().unwrap_or_else(|| panic!("no resume in {}", self.welcome)).to_owned()
    }

    /// What this connection holds of `user`, by the rules for clients.
    #[must_use]
    pub fn held(&self, user: &str) -> Option<&Value> {
        self.judge.held(user)
    }

    /// The version held of `user`; 0 if none.
    #[must_use]
    pub fn version(&self, user: &str) -> u64 {
        self.held(user).and_then(|p| p["version"].as_u64()).unwrap_or(0)
    }

    /// Sends a frame as it is.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send(&mut self, frame: &Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    /// As [`send`](Self::send), on a connection that may be gone.
    ///
    /// # Errors
    /// When it is.
    pub async fn try_send(&mut self, frame: &Value) -> Result<(), Error> {
        self.try_send_message(Message::text(frame.to_string())).await
    }

    /// As [`send_message`](Self::send_message), on a connection that may be gone.
    ///
    /// # Errors
    /// When it is.
    pub async fn try_send_message(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await
    }

    /// Sends any message.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.expect("an open connection");
    }

    /// What comes next, however long it takes, and unjudged: for readers who only measure.
    pub async fn next_patiently(&mut self) -> Event {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Event::Frame(serde_json::from_str(&text).unwrap_or_default()),
                Some(Ok(Message::Close(close))) => return Event::Closed(close.map(|c| c.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Event::Closed(None),
            }
        }
    }

    /// What comes next.
    ///
    /// # Panics
    /// When nothing comes within the deadline, and when a frame breaks a promise.
    pub async fn next(&mut self) -> Event {
        // One deadline for all: pings of the server must not put it off for ever.
        let until = Instant::now() + DEADLINE;
        loop {
            match timeout_at(until, self.stream.next()).await.expect("a frame within the deadline") {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
                    if let Err(broken) = self.judge.take(&frame) {
                        panic!("{broken}");
                    }
                    return Event::Frame(frame);
                }
                Some(Ok(Message::Close(close))) => return Event::Closed(close.map(|c| c.code.into())),
                Some(Ok(Message::Binary(_))) => panic!("the server never sends binary frames"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Event::Closed(None),
            }
        }
    }

    /// The next frame.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn frame(&mut self) -> Value {
        match self.next().await {
            Event::Frame(frame) => frame,
            Event::Closed(code) => panic!("closed with {code:?} instead of a frame"),
        }
    }

    /// Takes frames until one for which `wanted` holds.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.frame().await;
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Takes frames until what is held of `user` fulfils `wanted`, which may be so already, and gives it.
    pub async fn until_held(&mut self, user: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(held) = self.held(user)
                && wanted(held)
            {
                return held.clone();
            }
            self.frame().await;
        }
    }

    /// Takes frames until `user` is held with this status.
    pub async fn until_status(&mut self, user: &str, status: &str) -> Value {
        self.until_held(user, |p| p["status"] == status).await
    }

    /// Sends a frame with an id of its own, and waits for the answer with that id. Snapshots may come in parts: this is the
    /// last one, with the presences of all.
    pub async fn ask(&mut self, mut frame: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        frame["id"] = json!(id);
        self.send(&frame).await;
        let mut presences = Vec::new();
        loop {
            let mut answer = self.until(|f| f["id"] == id).await;
            if answer["type"] != "snapshot" {
                return answer;
            }
            presences.extend(answer["presences"].as_array().cloned().unwrap_or_default());
            if answer["more"] == false {
                answer["presences"] = presences.into();
                return answer;
            }
        }
    }

    /// As [`ask`](Self::ask), and the answer must be `ok`.
    ///
    /// # Panics
    /// When it is not.
    pub async fn must(&mut self, frame: Value) {
        let asked = frame.to_string();
        let answer = self.ask(frame).await;
        assert_eq!(answer["type"], "ok", "{asked} was answered by {answer}");
    }

    /// Watches `users` and gives the snapshot's presences.
    ///
    /// # Panics
    /// When there is none.
    pub async fn watch(&mut self, users: Value) -> Vec<Value> {
        let snapshot = self.ask(json!({"type": "watch", "users": users})).await;
        assert_eq!(snapshot["type"], "snapshot", "{snapshot}");
        snapshot["presences"].as_array().cloned().unwrap_or_default()
    }

    /// The presences of the snapshot that follows the welcome with `watch=contacts`.
    pub async fn contacts_snapshot(&mut self) -> Vec<Value> {
        let mut presences = Vec::new();
        loop {
            let part = self.frame().await;
            assert_eq!(part["type"], "snapshot", "after the welcome: {part}");
            assert_eq!(part["id"], Value::Null, "{part}");
            presences.extend(part["presences"].as_array().cloned().unwrap_or_default());
            if part["more"] == false {
                return presences;
            }
        }
    }

    /// All frames that came before the answer to a ping that is sent now.
    pub async fn fence(&mut self) -> Vec<Value> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"type": "ping", "id": id})).await;
        let mut before = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame["type"] == "pong" && frame["id"] == id {
                return before;
            }
            before.push(frame);
        }
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> Ended {
        let mut goodbye = None;
        loop {
            match self.next().await {
                Event::Frame(frame) if frame["type"] == "goodbye" => goodbye = Some(frame),
                Event::Frame(_) => {}
                Event::Closed(code) => return Ended { goodbye, code },
            }
        }
    }

    /// Demands an end with this `goodbye` and close code.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn ends_with(&mut self, reason: &str, code: u16, reconnect: bool) {
        let ended = self.ended().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let goodbye = ended.goodbye.unwrap_or_else(|| panic!("no goodbye before {code}"));
        assert_eq!(goodbye["reason"], reason, "{goodbye}");
        assert_eq!(goodbye["reconnect"], reconnect, "{goodbye}");
        assert!(goodbye.get("after_ms").is_some(), "{goodbye}");
    }

    /// Closes with this code (or none) and waits until the server has closed too.
    pub async fn close(mut self, code: Option<u16>) {
        let frame = code.map(|c| CloseFrame { code: CloseCode::from(c), reason: "".into() });
        self.stream.close(frame).await.ok();
        while !matches!(self.next().await, Event::Closed(_)) {}
    }
}

fn request(address: &str, query: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = format!("ws://{address}/v1/connect?{query}").into_client_request().expect("a request");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    request
}
