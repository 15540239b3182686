//! Many things at once: whatever the order, watchers end with the truth, and nothing is done twice.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Server, Socket, befriend, eventually};
use serde_json::{Value, json};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};
use tokio::task::{JoinHandle, JoinSet};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

/// A user who changes status without pause until told to stop; gives the last presence.
struct Storm {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Value>,
}

impl Storm {
    fn of(user: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (user, told) = (user.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut number = 0;
            loop {
                number += 1;
                let status = ["dnd", "away", "online"][number % 3];
                let set = user.set_status(json!({"status": status, "text": format!("storm {number}")})).await;
                if told.load(Ordering::Relaxed) {
                    return set["presence"].clone();
                }
            }
        });
        Self { stop, task }
    }

    async fn calm(self) -> Value {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a user")
    }
}

async fn sessions(user: &Client) -> Vec<Value> {
    let list = user.get("/v1/users/me/sessions").await.must(200);
    list["sessions"].as_array().expect("sessions").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_come_during_a_storm_hold_the_truth_after_it() {
    let mut storms = Vec::new();
    let mut ids = Vec::new();
    for number in 0..5 {
        let user = server().client(&format!("storm-{number}"), "user");
        user.open("web", "active").await;
        storms.push(Storm::of(&user));
        ids.push(user.id);
    }
    let service = server().service();
    let mut sockets: Vec<Socket> = Vec::new();
    for number in 0..30 {
        let mut socket = service.connect("session=false&watch=none").await;
        socket.watch(json!(ids)).await;
        if number % 3 == 0 {
            socket.must(json!({"type": "unwatch", "users": [ids[number % 5]]})).await;
            socket.watch(json!({&ids[number % 5]: socket.version(&ids[number % 5])})).await;
        }
        sockets.push(socket);
    }
    for (storm, id) in storms.into_iter().zip(&ids) {
        let last = storm.calm().await;
        for socket in &mut sockets {
            // The judge in the socket has seen that no version fell and nothing came twice.
            socket.until_held(id, |p| *p == last).await;
        }
    }
    for socket in &mut sockets {
        assert!(socket.fence().await.is_empty(), "nothing after the last state");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_frame_never_revives_a_revoked_view() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    let storm = Storm::of(&alice);
    let contact = format!("/v1/users/me/contacts/{}", bob.id);
    let (block, own_block) = (format!("/v1/users/me/blocks/{}", bob.id), format!("/v1/users/me/blocks/{}", alice.id));
    for round in 0..24 {
        match round % 3 {
            0 => alice.delete(&contact).await,
            1 => alice.put_bare(&block).await,
            _ => bob.put_bare(&own_block).await,
        };
        friend.until_held(&alice.id, |p| p["version"] == 0).await;
        for _ in 0..5 {
            assert_eq!(bob.sees(&alice.id).await["version"], 0);
            friend.fence().await;
            assert_eq!(friend.version(&alice.id), 0, "round {round}: revived in the storm");
        }
        match round % 3 {
            0 => alice.put_bare(&contact).await,
            1 => alice.delete(&block).await,
            _ => bob.delete(&own_block).await,
        };
        friend.until_held(&alice.id, |p| p["version"] != 0).await;
    }
    let last = storm.calm().await;
    friend.until_held(&alice.id, |p| *p == last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_that_come_and_go_in_a_storm_are_watched_as_listed() {
    let [bob] = server().people(["bob"]);
    let mut others = Vec::new();
    for number in 0..4 {
        let other = server().client(&format!("{}-other-{number}", bob.id), "user");
        other.open("web", "active").await;
        other.adds(&bob).await;
        others.push(other);
    }
    let mut socket = bob.connect("session=false").await;
    socket.contacts_snapshot().await;
    let storms: Vec<Storm> = others.iter().map(Storm::of).collect();
    for _ in 0..15 {
        for other in &others {
            bob.adds(other).await;
        }
        for other in &others[..2] {
            let _ = bob.delete(&format!("/v1/users/me/contacts/{}", other.id)).await.must(204);
        }
    }
    let mut last = Vec::new();
    for storm in storms {
        last.push(storm.calm().await);
    }
    for (other, presence) in others[2..].iter().zip(&last[2..]) {
        socket.until_held(&other.id, |p| p == presence).await;
    }
    socket.fence().await;
    for other in &others {
        other.set_status(json!({"status": "dnd", "text": "after"})).await;
    }
    for other in &others[2..] {
        socket.until_held(&other.id, |p| p["text"] == "after").await;
    }
    socket.fence().await;
    for other in &others[..2] {
        assert_ne!(socket.held(&other.id).map(|p| &p["text"]), Some(&json!("after")), "no contact any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_sent_many_times_at_once_has_one_effect() {
    let [alice] = server().people(["alice"]);
    let mut all = JoinSet::new();
    for _ in 0..12 {
        let alice = alice.clone();
        all.spawn(async move {
            let body = json!({"device": "web"});
            let key = [("idempotency-key", "at-once")];
            alice.send("POST", "/v1/users/me/sessions", &key, Some(&body)).await.must(201)
        });
    }
    let answers = all.join_all().await;
    assert!(answers.windows(2).all(|w| w[0] == w[1]), "{answers:?}");
    assert_eq!(sessions(&alice).await.len(), 1);
    assert_eq!(alice.reasons().await, ["connected"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_sessions_open_at_once_as_there_is_room() {
    let [alice] = server().people(["alice"]);
    let mut all = JoinSet::new();
    for number in 0..44 {
        let alice = alice.clone();
        all.spawn(async move {
            if number % 4 == 0 {
                let bearer = format!("Bearer {}", alice.token);
                let opened = Socket::open(&alice.address, "watch=none&device=ws", &[("authorization", &bearer)]).await;
                return opened.map_or_else(|refused| (refused.status, None), |socket| (201, Some(socket)));
            }
            (alice.post("/v1/users/me/sessions", json!({"device": "web"})).await.status, None)
        });
    }
    let answers = all.join_all().await;
    let opened = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(opened, 32);
    assert!(answers.iter().all(|(status, _)| matches!(status, 201 | 422)));
    assert_eq!(sessions(&alice).await.len(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_come_and_go_at_once_leave_no_ghost() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    let mut all = JoinSet::new();
    for task in 0..6 {
        let alice = alice.clone();
        all.spawn(async move {
            for _ in 0..15 {
                if task % 2 == 0 {
                    let session = alice.open("web", "active").await;
                    alice.close(&session).await;
                } else {
                    alice.connect("watch=none&device=web").await.close(Some(1000)).await;
                }
            }
        });
    }
    all.join_all().await;
    let last = friend.until_status(&alice.id, "offline").await;
    rollcall_tests::eventually("every session has ended", async || sessions(&alice).await.is_empty().then_some(()))
        .await;
    let now = alice.sees("me").await;
    friend.until_held(&alice.id, |p| *p == now).await;
    assert!(now["version"].as_u64() >= last["version"].as_u64());
    let reasons = alice.reasons().await;
    let pairs = reasons.chunks(2).all(|pair| pair == ["connected", "disconnected"]);
    assert!(pairs, "one device, always active: it only comes and goes, in turn: {reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_connections_that_race_for_a_session_one_holds_it() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    let first = alice.connect("watch=none&device=web").await;
    friend.until_status(&alice.id, "online").await;
    let mut all = JoinSet::new();
    for _ in 0..6 {
        let (alice, query) = (alice.clone(), format!("watch=none&device=web&resume={}", first.resume()));
        all.spawn(async move { alice.connect(&query).await });
    }
    let mut sockets = all.join_all().await;
    sockets.push(first);
    let live = sessions(&alice).await;
    assert!(friend.fence().await.is_empty(), "the same device all along");
    // Each live session is held by exactly one connection: ending them ends them all.
    for session in &live {
        alice.close(session["session"].as_str().expect("an id")).await;
    }
    let mut revoked = 0;
    for socket in &mut sockets {
        let ended = socket.ended().await;
        match ended.code {
            Some(4003) => revoked += 1,
            Some(4002) => {}
            other => panic!("{other:?}: {ended:?}"),
        }
    }
    assert_eq!(revoked, live.len(), "the others were replaced");
    friend.until_status(&alice.id, "offline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_resumes_a_session_while_it_is_ended_is_told_so() {
    let [alice] = server().people(["alice"]);
    for round in 0..60 {
        let first = alice.connect("watch=none&device=web").await;
        let (query, session) = (format!("watch=none&device=web&resume={}", first.resume()), first.session().to_owned());
        let (mut second, ()) = tokio::join!(alice.connect(&query), alice.close(&session));
        if second.welcome["resumed"] == true {
            let ended = second.ended().await;
            assert_eq!(ended.code, Some(4003), "round {round}: {ended:?}");
        } else {
            second.close(Some(1_000)).await;
        }
        drop(first);
    }
    eventually("every session to end", async || sessions(&alice).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_deleted_in_the_middle_of_its_writes_ends_consistently() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let service = server().service();
    befriend(&alice, &bob).await;
    let mut watcher = service.connect("session=false&watch=none").await;
    watcher.watch(json!([alice.id])).await;
    let mut version = 0;
    for _ in 0..5 {
        let socket = alice.connect("watch=none&device=web").await;
        let storm = Storm::of(&alice);
        watcher.until_held(&alice.id, |p| p["version"].as_u64() > Some(version)).await;
        version = watcher.version(&alice.id);
        let _ = service.delete(&format!("/v1/users/{}", alice.id)).await.must(204);
        storm.calm().await;
        drop(socket);
        let now = service.sees(&alice.id).await;
        watcher.until_held(&alice.id, |p| *p == now).await;
        assert_eq!(now["status"], "offline", "its sessions ended with it");
    }
    watcher.fence().await;
    assert_eq!(watcher.held(&alice.id), Some(&service.sees(&alice.id).await));
}
