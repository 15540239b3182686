//! Resuming a session after its connection was lost: what is kept, who may, and what cannot be revived.

use super::{brief, usual as server};
use rollcall_tests::{Client, Socket, befriend, eventually};
use serde_json::{Value, json};

async fn sessions(user: &Client) -> Vec<Value> {
    let list = user.get("/v1/users/me/sessions").await.must(200);
    list["sessions"].as_array().expect("sessions").clone()
}

async fn resumed(user: &Client, token: &str) -> Socket {
    user.connect(&format!("watch=none&resume={token}")).await
}

#[tokio::test]
async fn a_resumed_session_keeps_device_activity_and_age() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none&device=mobile").await;
    socket.must(json!({"type": "activity", "state": "idle"})).await;
    let before = sessions(&alice).await;
    let back = alice.connect(&format!("watch=none&device=web&resume={}", socket.resume())).await;
    assert_eq!((&back.welcome["resumed"], back.session()), (&json!(true), socket.session()));
    let after = sessions(&alice).await;
    assert_eq!(after.len(), 1);
    for field in ["session", "device", "activity", "kind", "opened"] {
        assert_eq!(after[0][field], before[0][field], "{field}");
    }
    assert_eq!((&after[0]["device"], &after[0]["activity"]), (&json!("mobile"), &json!("idle")));
}

#[tokio::test]
async fn a_resume_token_is_worth_nothing_without_a_token_of_its_user() {
    let [alice, mallory] = server().people(["alice", "mallory"]);
    let mut socket = alice.connect("watch=none").await;
    let query = format!("watch=none&resume={}", socket.resume());
    let refused = Socket::open(&server().address(), &query, &[]).await.expect_err("no token");
    assert_eq!((refused.status, &refused.problem["code"]), (401, &json!("unauthenticated")));
    for foreign in [mallory, server().service()] {
        let opened = foreign.connect(&query).await;
        assert_eq!((&opened.welcome["resumed"], &opened.welcome["user"]), (&json!(false), &json!(foreign.id)));
        assert_ne!(opened.session(), socket.session());
        opened.close(Some(1000)).await;
    }
    socket.must(json!({"type": "activity", "state": "idle"})).await; // nobody took it away
}

#[tokio::test]
async fn of_a_chain_of_connections_only_the_newest_holds_the_session() {
    let [alice] = server().people(["alice"]);
    let mut first = alice.connect("watch=none").await;
    let mut second = resumed(&alice, &first.resume()).await;
    first.ends_with("replaced", 4002, false).await;
    let mut third = resumed(&alice, &second.resume()).await;
    second.ends_with("replaced", 4002, false).await;
    assert_eq!(third.session(), first.session());
    third.must(json!({"type": "activity", "state": "idle"})).await;
    assert_eq!(sessions(&alice).await.len(), 1);
    assert_eq!(alice.reasons().await, ["connected", "idle"]);
}

#[tokio::test]
async fn a_session_that_ended_cleanly_is_never_resumed() {
    for code in [Some(1000), None] {
        let [alice] = server().people(["alice"]);
        let socket = alice.connect("watch=none").await;
        let (session, token) = (socket.session().to_owned(), socket.resume());
        socket.close(code).await;
        eventually("the session is over", async || sessions(&alice).await.is_empty().then_some(())).await;
        let next = resumed(&alice, &token).await;
        assert_eq!(next.welcome["resumed"], false);
        assert_ne!(next.session(), session);
        assert_eq!(alice.reasons().await, ["connected", "disconnected", "connected"]);
    }
}

#[tokio::test]
async fn a_lost_session_may_be_ended_over_http_within_its_grace() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    let socket = alice.connect("watch=none").await;
    friend.until_status(&alice.id, "online").await;
    let (session, token) = (socket.session().to_owned(), socket.resume());
    drop(socket);
    alice.close(&session).await;
    friend.until_status(&alice.id, "offline").await;
    assert_eq!(resumed(&alice, &token).await.welcome["resumed"], false);
}

#[tokio::test]
async fn activity_that_is_set_within_the_grace_is_kept() {
    let [alice] = server().people(["alice"]);
    let socket = alice.connect("watch=none").await;
    let (session, token) = (socket.session().to_owned(), socket.resume());
    drop(socket);
    let _ = alice.put(&format!("/v1/users/me/sessions/{session}"), json!({"activity": "idle"})).await.must(204);
    let back = resumed(&alice, &token).await;
    assert_eq!(back.session(), session);
    assert_eq!(alice.sees("me").await["status"], "away");
    assert_eq!(alice.reasons().await, ["connected", "idle"]);
}

#[tokio::test]
async fn of_two_devices_the_lost_one_alone_is_gone_after_its_grace() {
    let [alice] = brief().people(["alice"]);
    let mut web = alice.connect("watch=none&device=web").await;
    let mobile = alice.connect("watch=none&device=mobile").await;
    web.watch(json!([alice.id])).await;
    drop(mobile);
    let left = web.until_held(&alice.id, |p| p["devices"] == json!(["web"])).await;
    assert_eq!(left["status"], "online");
    assert_eq!(alice.reasons().await, ["connected", "device_changed", "device_changed"]);
}

#[tokio::test]
async fn neither_a_session_nor_a_users_name_is_a_resume_token() {
    let [alice] = server().people(["alice"]);
    let http = alice.open("web", "active").await;
    let socket = alice.connect("watch=none").await;
    let long = "r".repeat(4_000);
    for token in [http.as_str(), socket.session(), &alice.id, "", "%20", long.as_str()] {
        let opened = resumed(&alice, token).await;
        assert_eq!(opened.welcome["resumed"], false, "{token}");
        opened.close(Some(1000)).await;
    }
    let kept = [http.as_str(), socket.session()];
    let live = sessions(&alice).await;
    assert!(kept.iter().all(|id| live.iter().any(|s| s["session"] == **id)), "{live:?}");
}

#[tokio::test]
async fn the_setting_survives_a_reconnect_with_and_without_resume() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none").await;
    socket.must(json!({"type": "status", "status": "dnd", "text": "kept"})).await;
    let back = resumed(&alice, &socket.resume()).await;
    assert_eq!(alice.sees("me").await["text"], "kept");
    back.close(Some(1000)).await;
    eventually("gone", async || (alice.sees("me").await["status"] == "offline").then_some(())).await;
    let _fresh = alice.connect("watch=none").await;
    let presence = alice.sees("me").await;
    assert_eq!((&presence["status"], &presence["text"]), (&json!("dnd"), &json!("kept")));
}

#[tokio::test]
async fn an_observer_resumes_nothing() {
    let [alice] = server().people(["alice"]);
    let socket = alice.connect("watch=none").await;
    let (session, token) = (socket.session().to_owned(), socket.resume());
    drop(socket);
    let observer = alice.connect(&format!("watch=none&session=false&resume={token}")).await;
    for (field, expected) in [("session", Value::Null), ("resume", Value::Null), ("resumed", json!(false))] {
        assert_eq!(observer.welcome[field], expected, "{field}");
    }
    assert_eq!(resumed(&alice, &token).await.session(), session, "still there for a connection");
}
