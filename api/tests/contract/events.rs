//! Section 9: presences as Server-Sent Events.

use crate::stage::{DEADLINE, Setting, Stage, problem, until};
use reqwest::{Method, Response};
use rollcall_api::service::{GoodbyeReason, ServiceError};
use serde_json::{Value, json};
use tokio::time::timeout;

/// One event as a client takes it.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// A client's stream.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(stage: &Stage, who: &str, query: &str, last: Option<&str>) -> Self {
        let call = stage.by(who, Method::GET, &format!("/v1/events{query}"));
        let call = last.into_iter().fold(call, |call, id| call.header("Last-Event-ID", id));
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                if event.starts_with(':') {
                    continue;
                }
                let lines: Vec<&str> = event.split('\n').collect();
                assert_eq!(lines.len(), 3, "one line each: {event}");
                let field = |at: usize, name: &str| lines[at].strip_prefix(name).unwrap().to_owned();
                let data = serde_json::from_str(&field(2, "data: ")).unwrap();
                return Some(Event { name: field(0, "event: "), id: field(1, "id: "), data });
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await.expect("an event in time").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn event(&mut self) -> Event {
        self.next().await.expect("an event")
    }
}

fn users(event: &Event) -> Vec<&str> {
    event.data["presences"].as_array().unwrap().iter().map(|p| p["user"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_starts_with_a_snapshot_and_goes_on_with_changes() {
    let stage = Stage::new().await;
    stage.fake.befriend_quietly("bob", "alice");
    stage.fake.befriend_quietly("alice", "bob");
    let mut events = Events::open(&stage, "alice", "", None).await;
    let snapshot = events.event().await;
    assert_eq!((snapshot.name.as_str(), users(&snapshot)), ("snapshot", vec!["bob"]));
    stage.open("bob").await;
    let changed = events.event().await;
    assert_eq!((changed.name.as_str(), &changed.data["presences"][0]["status"]), ("presence", &json!("online")));
    stage.delete("alice", "/v1/users/me/contacts/bob").await;
    let gone = events.event().await;
    assert_eq!((gone.name.as_str(), gone.data), ("unwatched", json!({ "users": ["bob"] })));
    assert_ne!(changed.id, gone.id);
}

#[tokio::test]
async fn it_opens_no_session_and_counts_as_a_connection() {
    let stage = Stage::new().await;
    let events = Events::open(&stage, "alice", "?watch=contacts", None).await;
    assert_eq!(stage.get("alice", "/v1/users/me/presence").await["status"], "offline");
    assert_eq!(stage.connections.open(), 1);
    drop(events);
    until("no connection is counted", || stage.connections.open() == 0).await;
}

#[tokio::test]
async fn users_may_be_named_instead_of_contacts() {
    let stage = Stage::new().await;
    let mut events = Events::open(&stage, "svc@service", "?users=carol,bob,bob", None).await;
    assert_eq!(users(&events.event().await), ["bob", "carol"]);
    let many: Vec<String> = (0..500).map(|n| format!("{n:0>128}")).collect();
    let mut events = Events::open(&stage, "svc@service", &format!("?users={}", many.join(",")), None).await;
    assert_eq!(users(&events.event().await).len(), 500);
    let short: Vec<String> = (0..501).map(|n| n.to_string()).collect();
    for bad in [
        "?users=a&watch=contacts".into(),
        "?watch=none".into(),
        "?users=a%20b".into(),
        "?x=1".into(),
        format!("?users={}", short.join(",")),
    ] {
        problem(
            stage.by("alice", Method::GET, &format!("/v1/events{bad}")).send().await.unwrap(),
            400,
            "invalid_request",
        )
        .await;
    }
}

#[tokio::test]
async fn after_a_last_event_id_only_what_is_newer_or_lost_comes() {
    let stage = Stage::new().await;
    for user in ["bob", "carol", "dave", "erin"] {
        stage.fake.befriend_quietly(user, "alice");
        stage.fake.befriend_quietly("alice", user);
        stage.open(user).await;
    }
    let mut events = Events::open(&stage, "alice", "", None).await;
    let first = events.event().await;
    assert_eq!(users(&first), ["bob", "carol", "dave", "erin"]);
    stage.put("bob", "/v1/users/me/status", json!({ "status": "dnd" })).await;
    let sent = events.event().await;
    drop(events);
    stage.put("carol", "/v1/users/me/blocks/alice", json!({})).await;
    stage.delete("alice", "/v1/users/me/contacts/dave").await;
    let mut events = Events::open(&stage, "alice", "", Some(&sent.id)).await;
    let newer = events.event().await;
    assert_eq!(users(&newer), ["carol"], "erin and bob are as they were");
    assert_eq!(newer.data["presences"][0]["version"], 0);
    let gone = events.event().await;
    assert_eq!((gone.name.as_str(), gone.data), ("unwatched", json!({ "users": ["dave"] })));
    let mut unread = Events::open(&stage, "alice", "", Some(&first.id)).await;
    assert_eq!(users(&unread.event().await), ["bob", "carol"], "what was sent but not read comes again");
    let mut nothing = Events::open(&stage, "alice", "", Some(&gone.id)).await;
    assert_eq!(nothing.event().await.data, json!({ "presences": [] }));
}

#[tokio::test]
async fn an_id_that_does_not_fit_gives_the_full_snapshot() {
    let stage = Stage::new().await;
    stage.fake.befriend_quietly("alice", "bob");
    stage.fake.befriend_quietly("eve", "bob");
    let theirs = Events::open(&stage, "eve", "", None).await.event().await.id;
    for id in ["", "x", "0123456789abcdef-7", "-", &"9".repeat(1_000), &theirs] {
        let mut events = Events::open(&stage, "alice", "", Some(id)).await;
        assert_eq!(users(&events.event().await), ["bob"], "{id}");
    }
}

#[tokio::test]
async fn a_large_snapshot_is_split() {
    let stage = Stage::new().await;
    for n in 0..700 {
        stage.fake.befriend_quietly("alice", &format!("u{n:03}"));
    }
    let mut events = Events::open(&stage, "alice", "", None).await;
    assert_eq!(users(&events.event().await).len(), 500);
    assert_eq!(users(&events.event().await).len(), 200);
}

#[tokio::test]
async fn it_says_goodbye_and_ends() {
    let stage = Stage::new().await;
    let mut events = Events::open(&stage, "alice", "", None).await;
    events.event().await;
    stage.fake.goodbye(GoodbyeReason::Drain, 70);
    let goodbye = events.event().await;
    assert_eq!(goodbye.name, "goodbye");
    assert_eq!(
        (&goodbye.data["reason"], &goodbye.data["reconnect"], &goodbye.data["after_ms"]),
        (&json!("drain"), &json!(true), &json!(70))
    );
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn it_is_refused_like_any_call_and_head_opens_nothing() {
    let stage = Stage::with(Setting::default()).await;
    problem(stage.call(Method::GET, "/v1/events").send().await.unwrap(), 401, "unauthenticated").await;
    let head = stage.by("alice", Method::HEAD, "/v1/events").send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    assert_eq!(stage.connections.open(), 0);
    *stage.fake.refusal.lock() = Some(ServiceError::Unavailable { why: "no quorum", after_ms: 10 });
    problem(stage.by("alice", Method::GET, "/v1/events").send().await.unwrap(), 503, "unavailable").await;
}
