//! The frames of `/v1/connect`: welcome, snapshots, watches, answers, and what becomes of bad frames.

use super::usual as server;
use rollcall_tests::{Client, Socket, befriend, exchange};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn ids(presences: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = presences.iter().filter_map(|p| p["user"].as_str()).collect();
    ids.sort_unstable();
    ids
}

/// Two friends, the first of them online, and the socket of the second, which watches nobody yet.
async fn pair() -> (Client, Client, Socket) {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let socket = bob.connect("watch=none").await;
    (alice, bob, socket)
}

#[tokio::test]
async fn the_welcome_comes_first_with_all_its_fields() {
    let [alice] = server().people(["alice"]);
    let socket = alice.connect("device=web&watch=none").await;
    let welcome = &socket.welcome;
    let mut fields: Vec<&String> = welcome.as_object().expect("an object").keys().collect();
    fields.sort();
    assert_eq!(fields, ["node", "ping_ms", "resume", "resumed", "session", "type", "user"]);
    assert_eq!(welcome["user"], alice.id.as_str());
    assert_eq!(welcome["resumed"], false);
    let names: Vec<&str> = (0..server().cluster().len()).map(|at| server().cluster().name(at)).collect();
    assert!(names.contains(&welcome["node"].as_str().unwrap_or_default()), "{welcome}");
    assert_eq!(welcome["ping_ms"], 20_000);
    assert!(socket.session().len() <= 64 && !socket.resume().is_empty());
    let presence = alice.sees("me").await;
    assert_eq!((&presence["status"], &presence["devices"]), (&json!("online"), &json!(["web"])), "durable by then");
}

#[tokio::test]
async fn an_observer_has_no_session_and_shows_nobody() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("session=false&watch=none").await;
    assert_eq!((&socket.welcome["session"], &socket.welcome["resume"]), (&Value::Null, &Value::Null));
    assert_eq!(alice.sees("me").await["version"], 0);
    let refused = socket.ask(json!({"type": "activity", "state": "idle"})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("invalid_request")), "{refused}");
    socket.must(json!({"type": "status", "status": "dnd", "text": "by an observer"})).await;
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!((&setting["status"], &setting["text"]), (&json!("dnd"), &json!("by an observer")));
    assert_eq!(alice.sees("me").await["status"], "offline");
    assert_eq!(alice.get("/v1/users/me/sessions").await.must(200), json!({"sessions": []}));
}

#[tokio::test]
async fn the_snapshot_of_contacts_follows_the_welcome() {
    let [alice, bob, carol] = server().people(["alice", "bob", "carol"]);
    befriend(&alice, &bob).await;
    bob.adds(&carol).await; // carol has not added bob
    alice.open("web", "active").await;
    carol.open("web", "active").await;
    let mut socket = bob.connect("").await;
    let snapshot = socket.contacts_snapshot().await;
    assert_eq!(ids(&snapshot), [alice.id.as_str(), carol.id.as_str()]);
    assert_eq!(socket.held(&alice.id), Some(&alice.sees("me").await));
    assert_eq!(socket.version(&carol.id), 0, "the never-seen user");
}

#[tokio::test]
async fn a_watch_is_answered_by_its_snapshot_and_followed_by_changes() {
    let (alice, _, mut socket) = pair().await;
    let snapshot = socket.ask(json!({"type": "watch", "users": [alice.id, "nobody-at-all"]})).await;
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(ids(snapshot["presences"].as_array().expect("presences")), [alice.id.as_str(), "nobody-at-all"]);
    assert_eq!(socket.version("nobody-at-all"), 0);
    assert_eq!(socket.held(&alice.id), Some(&alice.sees("me").await));
    let set = alice.set_status(json!({"status": "dnd"})).await;
    let frame = socket.frame().await;
    assert_eq!(frame, json!({"type": "presence", "presences": [set["presence"]]}));
    let again = socket.watch(json!([alice.id])).await;
    assert_eq!(again, [set["presence"].clone()], "watching again repeats the snapshot");
}

#[tokio::test]
async fn known_versions_bring_only_what_is_newer() {
    let (alice, bob, mut socket) = pair().await;
    let [carol, stranger] = server().people(["carol", "stranger"]);
    befriend(&carol, &bob).await;
    carol.open("web", "active").await;
    stranger.open("web", "active").await;
    socket.watch(json!([alice.id, carol.id])).await;
    let (known_alice, known_carol) = (socket.version(&alice.id), socket.version(&carol.id));
    alice.set_status(json!({"status": "dnd"})).await;
    let mut later = bob.connect("watch=none").await;
    let known = json!({&alice.id: known_alice, &carol.id: known_carol, &stranger.id: 77, "unknown-at-0": 0});
    let snapshot = later.watch(known).await;
    assert_eq!(ids(&snapshot), [alice.id.as_str(), stranger.id.as_str()], "newer, and 0 where more was known");
    assert_eq!(later.version(&stranger.id), 0);
    carol.set_status(json!({"status": "away"})).await;
    later.until_status(&carol.id, "away").await; // watched all the same
}

#[tokio::test]
async fn oneself_may_be_watched() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none&device=web").await;
    let snapshot = socket.watch(json!([alice.id])).await;
    assert_eq!(snapshot, [alice.sees("me").await]);
    socket.must(json!({"type": "activity", "state": "idle"})).await;
    socket.until_status(&alice.id, "away").await;
    socket.must(json!({"type": "activity", "state": "active"})).await;
    socket.until_status(&alice.id, "online").await;
}

#[tokio::test]
async fn nothing_comes_after_the_ok_of_an_unwatch() {
    let (alice, bob, mut socket) = pair().await;
    socket.watch(json!([alice.id])).await;
    socket.must(json!({"type": "unwatch", "users": [alice.id, "never-watched"]})).await;
    alice.set_status(json!({"status": "dnd"})).await;
    assert!(socket.fence().await.is_empty());

    let mut contacts = bob.connect("").await;
    contacts.contacts_snapshot().await;
    contacts.must(json!({"type": "unwatch", "users": [alice.id]})).await;
    alice.set_status(json!({"status": "away"})).await;
    assert!(contacts.fence().await.is_empty(), "a contact stays unwatched");
    contacts.watch(json!([alice.id])).await;
    assert_eq!(contacts.held(&alice.id), Some(&alice.sees("me").await));
    alice.set_status(json!({"status": "dnd"})).await;
    contacts.until_status(&alice.id, "dnd").await;
}

#[tokio::test]
async fn every_frame_with_an_id_gets_exactly_one_answer_with_it() {
    let (alice, _, mut socket) = pair().await;
    let frames = [
        (json!({"type": "ping", "id": 11}), "pong"),
        (json!({"type": "watch", "users": [alice.id], "id": 12}), "snapshot"),
        (json!({"type": "unwatch", "users": [alice.id], "id": 13}), "ok"),
        (json!({"type": "activity", "state": "idle", "id": 14}), "ok"),
        (json!({"type": "status", "status": "dnd", "id": 15}), "ok"),
        (json!({"type": "clear_status", "id": 16}), "ok"),
        (json!({"type": "status", "status": "asleep", "id": 17}), "error"),
        (json!({"type": "watch", "users": ["bad id"], "id": 18}), "error"),
        (json!({"type": "token", "token": "not.a.token", "id": 19}), "error"),
        (json!({"type": "dance", "id": 20}), "error"),
        (json!({"type": "watch", "users": [], "id": 21}), "snapshot"),
    ];
    for (frame, answer) in &frames {
        socket.send(frame).await;
        let got = socket.frame().await;
        assert_eq!((&got["type"], &got["id"]), (&json!(answer), &frame["id"]), "{frame} was answered by {got}");
        if *answer == "error" {
            assert!(got["code"].is_string() && got["detail"].is_string(), "{got}");
            assert_eq!(got["after_ms"], Value::Null, "{got}");
        }
    }
    assert!(socket.fence().await.is_empty(), "one answer each");
    socket.send(&json!({"type": "ping"})).await;
    socket.until(|f| f["type"] == "pong").await;
}

#[tokio::test]
async fn a_refused_frame_changes_nothing() {
    let (alice, bob, mut socket) = pair().await;
    for (frame, code) in [
        (json!({"type": "status", "status": "dnd", "text": "t".repeat(513)}), "invalid_request"),
        (json!({"type": "status", "status": "dnd", "mood": 1}), "invalid_request"),
        (json!({"type": "status"}), "invalid_request"),
        (json!({"type": "activity", "state": "asleep"}), "invalid_request"),
        (json!({"type": "watch", "users": [alice.id, "me"]}), "invalid_request"),
        (json!({"type": "watch", "users": {"alice": -1}}), "invalid_request"),
        (json!({"type": "watch", "users": many(0..501)}), "invalid_request"),
        (json!({"type": "watch"}), "invalid_request"),
        (json!({"type": "watch", "users": [alice.id], "room": "x"}), "invalid_request"),
    ] {
        let answer = socket.ask(frame.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{frame}");
        socket.fence().await; // a good frame, so that bad ones are never ten in a row
    }
    let setting = bob.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!(setting["status"], "online");
    alice.set_status(json!({"status": "dnd"})).await;
    assert!(socket.fence().await.is_empty(), "nobody is watched");
}

fn many(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("many-{n}")).collect()
}

#[tokio::test]
async fn five_hundred_users_fit_a_frame_and_five_thousand_a_connection() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none").await;
    for part in 0..10 {
        let snapshot = socket.watch(json!(many(part * 500..(part + 1) * 500))).await;
        assert_eq!(snapshot.len(), 500);
    }
    let refused = socket.ask(json!({"type": "watch", "users": ["one-more"]})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("limit_exceeded")), "{refused}");
    socket.watch(json!(many(0..500))).await; // those are watched already
    socket.must(json!({"type": "unwatch", "users": ["many-7"]})).await;
    socket.watch(json!(["one-more"])).await;
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts() {
    let [bob] = server().people(["bob"]);
    let service = server().service();
    let path = format!("/v1/users/{}/contacts", bob.id);
    let _ = service.post(&path, json!({"add": many(0..1_000)})).await.must(200);
    let _ = service.post(&path, json!({"add": many(1_000..1_200)})).await.must(200);
    let mut socket = bob.connect("").await;
    assert_eq!(socket.contacts_snapshot().await.len(), 1_200, "each part is at most 500, which the socket checks");
}

#[tokio::test]
async fn a_fresh_token_replaces_the_old_one_of_the_same_user_only() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let mut socket = alice.connect("watch=none").await;
    socket.must(json!({"type": "token", "token": alice.token})).await;
    let refused = socket.ask(json!({"type": "token", "token": bob.token})).await;
    assert_eq!(refused["type"], "error", "{refused}");
    socket.must(json!({"type": "status", "status": "dnd"})).await; // the old one stays
}

#[tokio::test]
async fn nine_bad_frames_are_answered_and_the_tenth_in_a_row_closes() {
    let [alice] = server().people(["alice"]);
    let bad = [
        Message::text("{"),
        Message::text("[]"),
        Message::text("7"),
        Message::text("{}"),
        Message::text(r#"{"type":"sing"}"#),
        Message::text(r#"{"type":5}"#),
        Message::binary(vec![1, 2, 3]),
        Message::text(""),
        Message::text("null"),
    ];
    let mut socket = alice.connect("watch=none").await;
    for round in 0..2 {
        for message in &bad {
            socket.send_message(message.clone()).await;
            let error = socket.frame().await;
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_request")), "{message}");
            assert_eq!(error["id"], Value::Null);
        }
        if round == 0 {
            socket.fence().await; // a good frame begins the count anew
        }
    }
    socket.send_message(Message::text("{")).await;
    assert_eq!(socket.ended().await.code, Some(1008));
}

#[tokio::test]
async fn a_frame_over_128_kib_closes_with_1009() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none").await;
    let padded = |bytes: usize| {
        let bare = r#"{"type":"ping","id":1}"#;
        Message::text(format!("{bare}{}", " ".repeat(bytes - bare.len())))
    };
    socket.send_message(padded(128 * 1_024)).await;
    assert_eq!(socket.frame().await["type"], "pong", "just as large as it may be");
    socket.send_message(padded(128 * 1_024 + 1)).await;
    assert_eq!(socket.ended().await.code, Some(1009));
}

#[tokio::test]
async fn a_request_without_upgrade_or_with_a_bad_query_is_refused() {
    let [alice] = server().people(["alice"]);
    let head = format!("GET /v1/connect HTTP/1.1\nAuthorization: Bearer {}", alice.token);
    exchange(&server().address(), &head, b"").await.problem(400, "invalid_request");
    let bearer = format!("Bearer {}", alice.token);
    let headers = [("authorization", bearer.as_str())];
    for bad in ["device=Web", "watch=all", "session=no", "gadget=1", "device=a&device=b", "token=x"] {
        let refused = Socket::open(&server().address(), bad, &headers).await.expect_err(bad);
        assert_eq!((refused.status, &refused.problem["code"]), (400, &json!("invalid_request")), "{bad}");
    }
    let refused = Socket::open(&server().address(), "", &[]).await.expect_err("no token");
    assert_eq!((refused.status, &refused.problem["code"]), (401, &json!("unauthenticated")));
    assert_eq!(alice.get("/v1/users/me/sessions").await.must(200), json!({"sessions": []}));
}

#[tokio::test]
async fn a_browser_offers_its_token_as_a_subprotocol() {
    let [alice] = server().people(["alice"]);
    let offer = format!("rollcall.v1, bearer.{}", alice.token);
    let opened = Socket::open(&server().address(), "watch=none", &[("sec-websocket-protocol", &offer)]).await;
    let mut socket = opened.expect("an upgrade");
    assert_eq!(socket.subprotocol.as_deref(), Some("rollcall.v1"));
    socket.take_welcome().await;

    let forged = format!("rollcall.v1, bearer.{}x", alice.token);
    let opened = Socket::open(&server().address(), "watch=none", &[("sec-websocket-protocol", &forged)]).await;
    let mut socket = opened.expect("an upgrade, since browsers cannot read a refused handshake");
    let error = socket.frame().await;
    assert_eq!(
        (&error["type"], &error["code"], &error["id"]),
        (&json!("error"), &json!("unauthenticated"), &Value::Null)
    );
    assert_eq!(socket.ended().await.code, Some(4401));

    let without = format!("bearer.{}", alice.token);
    let refused = Socket::open(&server().address(), "watch=none", &[("sec-websocket-protocol", &without)]).await;
    assert_eq!(refused.expect_err("no rollcall.v1 offered").status, 400);
    let foreign = [("sec-websocket-protocol", offer.as_str()), ("origin", "https://elsewhere.example")];
    let refused = Socket::open(&server().address(), "watch=none", &foreign).await;
    assert_eq!(refused.expect_err("a foreign origin").status, 403);
}
