//! A client over HTTP that writes down what it asked for and what came of it.
//!
//! No answer, and an answer that says nothing (5xx), is unknown: it may take effect later. A refusal (4xx), and a connection
//! that was never made, had no effect. Whatever is not acknowledged is followed by the next node of the roll.

use super::{Micros, Op, OpKind, Outcome, Presence, Record, Recorder, Sign};
use crate::{
    client::{Client, Reply},
    load::Roll,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long an answer is waited for before the next node is asked: longer than an election, shorter than a test.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The pause before another node is asked: no load of its own, short beside what is measured.
const AGAIN: Duration = Duration::from_millis(25);

/// One user's client. Serials are unique as long as its name is.
#[derive(Debug)]
pub struct RecordedWriter {
    recorder: Recorder,
    roll: Roll,
    /// What its serials carry.
    name: String,
    user: String,
    scope: &'static str,
    client: Client,
    node: String,
    at: usize,
    next: u32,
    attempts_max: u32,
}

/// What is asked for.
struct Request {
    kind: OpKind,
    method: &'static str,
    path: String,
    body: Option<Value>,
    other: Option<String>,
    status: Option<String>,
    serial: Option<String>,
}

impl RecordedWriter {
    /// A client of `user`, which asks the node at `place` of the roll first.
    #[must_use]
    pub fn new(recorder: &Recorder, roll: &Roll, name: &str, user: &str, place: usize) -> Self {
        let client = roll.client(place, user, "user");
        Self {
            recorder: recorder.clone(),
            roll: roll.clone(),
            name: name.into(),
            user: user.into(),
            scope: "user",
            node: recorder.name_of(&client.address),
            client,
            at: place,
            next: 0,
            attempts_max: 1,
        }
    }

    /// Sends a write up to this often, under one idempotency key, until it is acknowledged or refused.
    #[must_use]
    pub fn repeating(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max.max(1);
        self
    }

    /// Acts as a service, which may read everybody.
    #[must_use]
    pub fn as_service(mut self) -> Self {
        self.scope = "service";
        self.client = self.roll.client(self.at, &self.user, self.scope);
        self
    }

    /// Sets this status with the next serial.
    pub async fn set_status(&mut self, status: &str) -> Outcome {
        self.next += 1;
        let serial = format!("s-{}-{}", self.name, self.next);
        let body = json!({"status": status, "text": serial});
        let mut request = self.own(OpKind::SetStatus, "PUT", "status", Some(body));
        request.serial = Some(serial);
        request.status = Some(status.into());
        self.ask(request).await.0
    }

    /// Clears the status.
    pub async fn clear_status(&mut self) -> Outcome {
        self.ask(self.own(OpKind::ClearStatus, "DELETE", "status", None)).await.0
    }

    /// Reads the presence of `user`.
    pub async fn read(&mut self, user: &str) -> Outcome {
        let mut request = self.own(OpKind::Read, "GET", "", None);
        request.path = format!("/v1/users/{user}/presence");
        request.other = Some(user.into());
        self.ask(request).await.0
    }

    /// Opens a session; its id.
    pub async fn open_session(&mut self, device: &str) -> Option<String> {
        let body = json!({"device": device, "activity": "active"});
        let (outcome, reply) = self.ask(self.own(OpKind::OpenSession, "POST", "sessions", Some(body))).await;
        if outcome != Outcome::Ok {
            return None;
        }
        self.recorder.session(&self.user, Sign::Alive, &self.node);
        reply?.json()["session"].as_str().map(ToOwned::to_owned)
    }

    /// A heartbeat of a session, which is a sign of life if it is taken.
    pub async fn heartbeat(&mut self, session: &str) -> Outcome {
        let outcome = self.ask(self.own(OpKind::Heartbeat, "PUT", &format!("sessions/{session}"), None)).await.0;
        if outcome == Outcome::Ok {
            self.recorder.session(&self.user, Sign::Alive, &self.node);
        }
        outcome
    }

    /// Ends the user's last session: they have left, if it is acknowledged.
    pub async fn leave(&mut self, session: &str) -> Outcome {
        let outcome = self.ask(self.own(OpKind::EndSession, "DELETE", &format!("sessions/{session}"), None)).await.0;
        if outcome == Outcome::Ok {
            self.recorder.session(&self.user, Sign::Left, &self.node);
        }
        outcome
    }

    /// The user says nothing from now on.
    pub fn falls_silent(&self) {
        self.recorder.session(&self.user, Sign::Silent, &self.node);
    }

    /// Lets `other` see this user.
    pub async fn add_contact(&mut self, other: &str) -> Outcome {
        self.list(OpKind::AddContact, "PUT", "contacts", other).await
    }

    /// No longer lets `other` see this user.
    pub async fn remove_contact(&mut self, other: &str) -> Outcome {
        self.list(OpKind::RemoveContact, "DELETE", "contacts", other).await
    }

    /// Neither sees the other.
    pub async fn block(&mut self, other: &str) -> Outcome {
        self.list(OpKind::Block, "PUT", "blocks", other).await
    }

    /// Takes a block back.
    pub async fn unblock(&mut self, other: &str) -> Outcome {
        self.list(OpKind::Unblock, "DELETE", "blocks", other).await
    }

    async fn list(&mut self, kind: OpKind, method: &'static str, list: &str, other: &str) -> Outcome {
        let mut request = self.own(kind, method, &format!("{list}/{other}"), None);
        request.other = Some(other.into());
        self.ask(request).await.0
    }

    fn own(&self, kind: OpKind, method: &'static str, path: &str, body: Option<Value>) -> Request {
        let path = format!("/v1/users/me/{path}");
        Request { kind, method, path, body, other: None, status: None, serial: None }
    }

    /// Asks, again if need be and allowed, and writes it down as one op.
    async fn ask(&mut self, request: Request) -> (Outcome, Option<Reply>) {
        let start = self.recorder.now();
        let key = request.serial.clone();
        let mut attempts = 0;
        let mut may_have_happened = false;
        loop {
            attempts += 1;
            let node = self.node.clone();
            let (mut outcome, reply) = self.once(&request, key.as_deref()).await;
            let end = self.recorder.now();
            let was_sent = reply.is_some() || outcome == Outcome::Unknown;
            may_have_happened |= outcome == Outcome::Unknown;
            if outcome != Outcome::Ok {
                self.elsewhere();
                sleep(AGAIN).await;
            }
            let over = outcome == Outcome::Ok || attempts >= self.attempts_max || key.is_none();
            if over || (outcome == Outcome::Fail && was_sent) {
                if outcome == Outcome::Fail && may_have_happened {
                    outcome = Outcome::Unknown;
                }
                self.recorder.push(Record::Op(self.op(
                    request,
                    (start, end),
                    (outcome, reply.as_ref()),
                    node,
                    attempts,
                )));
                return (outcome, reply);
            }
        }
    }

    fn op(
        &self,
        request: Request,
        (start, end): (Micros, Micros),
        (outcome, reply): (Outcome, Option<&Reply>),
        node: String,
        attempts: u32,
    ) -> Op {
        let answer =
            reply.filter(|r| outcome == Outcome::Ok && !r.body.is_empty()).map(Reply::json).unwrap_or_default();
        let is_read = request.kind == OpKind::Read;
        let seen = if is_read { Presence::of(&answer) } else { None };
        let version = if is_read { &answer["version"] } else { &answer["presence"]["version"] }.as_u64();
        let (user, other) =
            if is_read { (request.other.unwrap_or_default(), None) } else { (self.user.clone(), request.other) };
        let (client, kind, status, serial) = (self.name.clone(), request.kind, request.status, request.serial);
        Op { client, user, kind, other, status, serial, start, end, outcome, version, node, attempts, seen }
    }

    async fn once(&self, request: &Request, key: Option<&str>) -> (Outcome, Option<Reply>) {
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let asking = self.client.try_send(request.method, &request.path, &headers, request.body.as_ref());
        match timeout(ANSWER_MAX, asking).await {
            Ok(Ok(reply)) => match reply.status {
                200..=299 => (Outcome::Ok, Some(reply)),
                400..=499 => (Outcome::Fail, Some(reply)),
                _ => (Outcome::Unknown, Some(reply)),
            },
            Ok(Err(error)) if error.is_connect() => (Outcome::Fail, None),
            Ok(Err(_)) | Err(_) => (Outcome::Unknown, None),
        }
    }

    /// Asks the next node of the roll from now on.
    pub fn elsewhere(&mut self) {
        self.at += 1;
        self.client = self.roll.client(self.at, &self.user, self.scope);
        self.node = self.recorder.name_of(&self.client.address);
    }
}
