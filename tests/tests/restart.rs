//! What was acknowledged survives `kill -9` in the middle of writes, and versions go on rising.
//!
//! Writers keep a model of what they were answered. A write without an answer may have taken effect or not; repeated with
//! its key it must have done so exactly once. One kill proves little about the disk (that is the store's own test), but a
//! lot about what is acknowledged, in which order it is replayed, and what watchers are told afterwards.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Piped, Server, Socket, befriend, eventually};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const WRITERS: usize = 16;
const ROUNDS: usize = 4;
/// Acknowledged writes of a round before the node is killed; each round ends at another place.
const ACKNOWLEDGED: [usize; ROUNDS] = [150, 230, 310, 177];
/// The round that is ended by SIGTERM instead: that must not lose more.
const CLEAN_ROUND: usize = 2;
/// How often a node is killed before it has started.
const FALSE_STARTS: usize = 8;

/// One write, as it is sent and, if need be, sent again.
#[derive(Debug, Clone)]
enum Write {
    Status(String),
    Contact(String),
    Open,
    Close(String),
}

impl Write {
    fn request(&self) -> (&'static str, String, Option<Value>) {
        match self {
            Self::Status(text) => ("PUT", "/v1/users/me/status".into(), Some(json!({"status": "dnd", "text": text}))),
            Self::Contact(id) => ("PUT", format!("/v1/users/me/contacts/{id}"), None),
            Self::Open => ("POST", "/v1/users/me/sessions".into(), Some(json!({"device": "mobile"}))),
            Self::Close(session) => ("DELETE", format!("/v1/users/me/sessions/{session}"), None),
        }
    }
}

/// What a user must find again.
#[derive(Debug, Clone)]
struct Model {
    id: String,
    base: String,
    mobile: Option<String>,
    text: Option<String>,
    contacts: BTreeSet<String>,
    history: Vec<(String, Option<String>)>,
    version: u64,
    writes: usize,
    pending: Option<(String, Write)>,
}

impl Model {
    fn new(client: &Client, base: String) -> Self {
        let history = vec![("connected".into(), None)];
        let id = client.id.clone();
        let contacts = BTreeSet::new();
        Self { id, base, mobile: None, text: None, contacts, history, version: 0, writes: 0, pending: None }
    }

    fn next(&self) -> Write {
        match (self.writes % 4, &self.mobile) {
            (0 | 2, _) => Write::Status(format!("write {}", self.writes)),
            (1, _) => Write::Contact(format!("contact-{:05}", self.writes)),
            (_, None) => Write::Open,
            (_, Some(session)) => Write::Close(session.clone()),
        }
    }

    /// The write took effect, with this answer.
    fn took_effect(&mut self, write: Write, answer: &Value) {
        self.writes += 1;
        match write {
            Write::Status(text) => {
                let presence = &answer["presence"];
                assert_eq!(presence["text"], text.as_str(), "{answer}");
                let version = presence["version"].as_u64().expect("a version");
                assert!(version > self.version, "{version} after {} of {}", self.version, self.id);
                self.version = version;
                self.history.push(("status_set".into(), Some(text.clone())));
                self.text = Some(text);
            }
            Write::Contact(id) => {
                self.contacts.insert(id);
            }
            Write::Open => {
                self.mobile = answer["session"].as_str().map(Into::into);
                self.history.push(("device_changed".into(), self.text.clone()));
            }
            Write::Close(_) => {
                self.mobile = None;
                self.history.push(("device_changed".into(), self.text.clone()));
            }
        }
    }

    /// Writes until the node goes away.
    async fn write_on(mut self, client: Client, key: String, acknowledged: Arc<AtomicUsize>) -> Self {
        loop {
            let write = self.next();
            let key = format!("{key}-{}", self.writes);
            let (method, path, body) = write.request();
            let reply = client.try_send(method, &path, &[("idempotency-key", &key)], body.as_ref()).await;
            match reply {
                Ok(reply) if reply.status < 300 => {
                    let answer = if reply.body.is_empty() { Value::Null } else { reply.json() };
                    self.took_effect(write, &answer);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(reply) if reply.status != 503 => panic!("{write:?} was answered by {reply:?}"),
                _ => {
                    self.pending = Some((key, write));
                    return self;
                }
            }
        }
    }

    /// Sends the write that got no answer again, with its key.
    async fn settle(&mut self, client: &Client) {
        let Some((key, write)) = self.pending.take() else { return };
        let (method, path, body) = write.request();
        let reply = client.send(method, &path, &[("idempotency-key", &key)], body.as_ref()).await;
        assert!(reply.status < 300, "{write:?} again: {reply:?}");
        let answer = if reply.body.is_empty() { Value::Null } else { reply.json() };
        self.took_effect(write, &answer);
    }

    /// Compares everything that can be read with everything that was acknowledged.
    async fn check(&mut self, client: &Client) {
        let setting = client.get("/v1/users/me/status").await.must(200)["setting"].clone();
        assert_eq!(setting["text"], json!(self.text), "{}", self.id);
        let list = client.get("/v1/users/me/contacts?limit=1000").await.must(200);
        let contacts: BTreeSet<String> = list["contacts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["user"].as_str().map(Into::into))
            .collect();
        assert_eq!(contacts, self.contacts, "{}", self.id);
        let list = client.get("/v1/users/me/sessions").await.must(200);
        let sessions: BTreeSet<&str> =
            list["sessions"].as_array().into_iter().flatten().filter_map(|s| s["session"].as_str()).collect();
        let expected = [Some(self.base.as_str()), self.mobile.as_deref()].into_iter().flatten().collect();
        assert_eq!(sessions, expected, "{}", self.id);
        let entries = client.history().await;
        let history: Vec<(String, Option<String>)> = entries
            .iter()
            .rev()
            .map(|e| (e["reason"].as_str().unwrap_or_default().into(), e["text"].as_str().map(Into::into)))
            .collect();
        assert_eq!(history, self.history, "each change of {} exactly once", self.id);
        assert!(entries.windows(2).all(|w| w[0]["version"].as_u64() > w[1]["version"].as_u64()), "{entries:?}");
        let presence = client.sees("me").await;
        assert_eq!(presence["version"], entries[0]["version"], "{}", self.id);
        assert!(presence["version"].as_u64() >= Some(self.version), "{}", self.id);
        self.version = presence["version"].as_u64().unwrap_or(0);
    }
}

/// Collects what is published until the node goes away: the highest version seen of each user.
async fn listen(mut socket: Socket, users: Vec<String>) -> BTreeMap<String, u64> {
    socket.ended().await;
    users.into_iter().map(|u| (u.clone(), socket.version(&u))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_there_after_kill_9() {
    let mut server = Server::launch().start();
    let mut models = Vec::new();
    for number in 0..WRITERS {
        let client = server.client(&format!("writer-{number}"), "user");
        let base = client.open("web", "active").await;
        models.push(Model::new(&client, base));
    }
    let users: Vec<String> = models.iter().map(|m| m.id.clone()).collect();
    for (round, enough) in ACKNOWLEDGED.into_iter().enumerate() {
        let mut watcher = server.service().connect("session=false&watch=none").await;
        watcher.watch(json!(users)).await;
        let watcher = tokio::spawn(listen(watcher, users.clone()));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = models
            .drain(..)
            .map(|model| {
                let client = server.client(&model.id, "user");
                tokio::spawn(model.write_on(client, format!("round-{round}"), acknowledged.clone()))
            })
            .collect();
        eventually("enough writes are acknowledged", async || {
            (acknowledged.load(Ordering::Relaxed) >= enough || writers.iter().any(|w| w.is_finished())).then_some(())
        })
        .await;
        if round == CLEAN_ROUND {
            assert_eq!(server.terminate().code(), Some(0), "a clean stop, writes or not");
        } else {
            server.kill9();
        }
        for writer in writers {
            models.push(writer.await.expect("a writer"));
        }
        let known = watcher.await.expect("a watcher");
        server.restart();
        reconnect(&server, &known).await;
        for model in &mut models {
            let client = server.client(&model.id, "user");
            model.settle(&client).await;
            model.check(&client).await;
        }
    }
}

/// A watcher with known versions gets exactly what is newer; nothing that it was shown has been undone.
async fn reconnect(server: &Server, known: &BTreeMap<String, u64>) {
    let service = server.service();
    let users: Vec<&String> = known.keys().collect();
    let mut socket = service.connect("session=false&watch=none").await;
    let mut got = socket.watch(json!(known)).await;
    let now = service.post("/v1/presence/query", json!({"users": users})).await.must(200);
    let mut newer = Vec::new();
    for presence in now["presences"].as_array().expect("presences") {
        let user = presence["user"].as_str().unwrap_or_default();
        assert!(presence["version"].as_u64() >= Some(known[user]), "shown {}, now {presence}", known[user]);
        assert_eq!(presence["stale"], false, "{presence}");
        if presence["version"].as_u64() > Some(known[user]) {
            newer.push(presence.clone());
        }
    }
    got.sort_by_key(|p| p["user"].as_str().map(ToOwned::to_owned));
    newer.sort_by_key(|p| p["user"].as_str().map(ToOwned::to_owned));
    assert_eq!(got, newer);
}

#[tokio::test]
async fn what_was_ok_over_a_websocket_is_there_after_kill_9() {
    let mut server = Server::launch().start();
    let [alice] = server.people(["alice"]);
    let mut version = 0;
    for round in 0..3 {
        let mut socket = server.client(&alice.id, "user").connect("watch=none&device=web").await;
        socket.must(json!({"type": "status", "status": "dnd", "text": format!("round {round}")})).await;
        socket.must(json!({"type": "activity", "state": "idle"})).await;
        server.restart();
        let again = server.client(&alice.id, "user");
        let setting = again.get("/v1/users/me/status").await.must(200)["setting"].clone();
        assert_eq!(setting["text"], format!("round {round}"));
        let texts: Vec<Value> = again.history().await.iter().map(|e| e["text"].clone()).collect();
        assert!(texts.contains(&json!(format!("round {round}"))), "{texts:?}");
        let now = again.sees("me").await["version"].as_u64().expect("a version");
        assert!(now > version, "{now} after {version}");
        version = now;
    }
}

#[tokio::test]
async fn connections_lost_with_the_node_are_resumed_or_end_exactly_once() {
    let mut server = Server::launch().set("presence.grace_ms", 3_000).start();
    let [back, gone, bob] = server.people(["back", "gone", "bob"]);
    befriend(&back, &bob).await;
    befriend(&gone, &bob).await;
    let returning = back.connect("watch=none&device=mobile").await;
    let _leaving = gone.connect("watch=none&device=web").await;
    let resume = returning.resume();
    let before = [bob.sees(&back.id).await, bob.sees(&gone.id).await];
    server.restart();

    let again = |user: &Client| server.client(&user.id, "user");
    let resumed = again(&back).connect(&format!("watch=none&resume={resume}")).await;
    assert_eq!(resumed.welcome["resumed"], true);
    assert_eq!(resumed.session(), returning.session());
    let mut friend = again(&bob).connect("session=false&watch=none").await;
    friend.watch(json!({&back.id: before[0]["version"], &gone.id: before[1]["version"]})).await;
    let offline = friend.until_status(&gone.id, "offline").await;
    assert!(offline["version"].as_u64() > before[1]["version"].as_u64());
    assert_eq!(friend.held(&back.id), None, "not a word about the one that came back");
    assert_eq!(again(&bob).sees(&back.id).await, before[0]);
    let reasons = again(&gone).reasons().await;
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[1] == "node_lost" || reasons[1] == "expired", "{reasons:?}");
}

#[tokio::test]
async fn http_sessions_have_one_full_ttl_after_a_restart() {
    let mut server = Server::launch().set("presence.session_ttl_ms", 2_000).set("presence.heartbeat_ms", 500).start();
    let [kept, silent] = server.people(["kept", "silent"]);
    let session = kept.open("web", "active").await;
    silent.open("web", "active").await;
    server.restart();
    let (kept, silent) = (server.client(&kept.id, "user"), server.client(&silent.id, "user"));
    let path = format!("/v1/users/me/sessions/{session}");
    assert_eq!(kept.put_bare(&path).await.status, 204, "recovered");
    eventually("the silent session expires", async || {
        let _ = kept.put_bare(&path).await.must(204);
        (silent.sees("me").await["status"] == "offline").then_some(())
    })
    .await;
    assert_eq!(silent.reasons().await, ["connected", "expired"]);
    assert_eq!(kept.reasons().await, ["connected"]);
}

#[tokio::test]
async fn settings_expire_on_time_across_a_restart() {
    let mut server = Server::launch().start();
    let [alice] = server.people(["alice"]);
    alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "expires_in_s": 1})).await;
    server.restart();
    let alice = server.client(&alice.id, "user");
    eventually("the setting has expired", async || (alice.sees("me").await["status"] == "online").then_some(())).await;
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_expired"]);
}

#[tokio::test]
async fn a_clean_stop_keeps_everything_too() {
    let mut server = Server::launch().start();
    let [alice, bob] = server.people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let set = alice.set_status(json!({"status": "dnd", "text": "kept", "meta": {"a": [1]}})).await;
    let _ = alice.put("/v1/users/me/profile", json!({"name": "Alice"})).await.must(200);
    let _ = alice.put("/v1/users/me/privacy", json!({"last_seen": "nobody"})).await.must(200);
    let _ = alice.put_bare("/v1/users/me/blocks/mallory").await.must(204);
    let reads = ["status", "contacts", "blocks", "privacy", "profile", "history", "presence"];
    let mut before = Vec::new();
    for read in reads {
        before.push(alice.get(&format!("/v1/users/me/{read}")).await.must(200));
    }
    let status = server.terminate();
    assert_eq!(status.code(), Some(0));
    server.restart();
    let alice = server.client(&alice.id, "user");
    for (read, before) in reads.iter().zip(before) {
        assert_eq!(alice.get(&format!("/v1/users/me/{read}")).await.must(200), before, "{read}");
    }
    assert_eq!(server.client(&bob.id, "user").sees(&alice.id).await, set["presence"]);
}

#[tokio::test]
async fn a_node_killed_while_it_starts_loses_nothing() {
    let mut server = Server::launch().start();
    let [alice] = server.people(["alice"]);
    alice.open("web", "active").await;
    for number in 0..20 {
        alice.set_status(json!({"status": "dnd", "text": format!("{number}")})).await;
    }
    let reads = ["status", "sessions", "history"];
    let mut before = Vec::new();
    for read in reads {
        before.push(alice.get(&format!("/v1/users/me/{read}")).await.must(200));
    }
    server.kill9();
    let data = server.data.display().to_string();
    let args = ["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--data-dir", &data];
    for attempt in 0..FALSE_STARTS {
        let start = Piped::start(&server.directory, &args, &[("ROLLCALL_CLUSTER__PARTITIONS", "8")]);
        if attempt % 2 == 0 {
            start.output.line("its first words", |_| true);
        }
        drop(start); // kills it, wherever it has got to
    }
    server.restart();
    let alice = server.client(&alice.id, "user");
    for (read, before) in reads.iter().zip(before) {
        let mut after = alice.get(&format!("/v1/users/me/{read}")).await.must(200);
        if *read == "sessions" {
            after["sessions"][0]["last_heartbeat"] = before["sessions"][0]["last_heartbeat"].clone();
        }
        assert_eq!(after, before, "{read}");
    }
    alice.set_status(json!({"status": "away"})).await;
}

#[tokio::test]
async fn an_answer_is_remembered_with_its_key_over_a_restart() {
    let mut server = Server::launch().start();
    let [alice] = server.people(["alice"]);
    let body = json!({"device": "web"});
    let key = [("idempotency-key", "before-the-kill")];
    let first = alice.send("POST", "/v1/users/me/sessions", &key, Some(&body)).await.must(201);
    server.restart();
    let alice = server.client(&alice.id, "user");
    assert_eq!(alice.send("POST", "/v1/users/me/sessions", &key, Some(&body)).await.must(201), first);
    let other = json!({"device": "mobile"});
    alice.send("POST", "/v1/users/me/sessions", &key, Some(&other)).await.problem(409, "conflict");
    assert_eq!(alice.reasons().await, ["connected"]);
}
