//! Frames of a client and their answers: ids, exact fields, bad frames, and the token's replacement.

use super::usual as server;
use rollcall_tests::{Claims, Client, Socket, befriend, now_s};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn one() -> (Client, Socket) {
    let [alice] = server().people(["alice"]);
    let socket = alice.connect("watch=none").await;
    (alice, socket)
}

fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn each_answer_has_exactly_its_fields() {
    let (alice, mut socket) = one().await;
    for (frame, expected) in [
        (json!({"type": "ping"}), vec!["id", "type"]),
        (json!({"type": "activity", "state": "active"}), vec!["id", "type"]),
        (json!({"type": "watch", "users": [alice.id]}), vec!["id", "more", "presences", "type"]),
        (json!({"type": "sing"}), vec!["after_ms", "code", "detail", "id", "type"]),
    ] {
        let answer = socket.ask(frame.clone()).await;
        assert_eq!(fields(&answer), expected, "{frame}: {answer}");
    }
    alice.set_status(json!({"status": "dnd"})).await;
    let told = socket.until(|f| f["type"] == "presence").await;
    assert_eq!(fields(&told), ["presences", "type"]);
    alice.close(socket.session()).await;
    let goodbye = socket.ended().await.goodbye.expect("a goodbye");
    assert_eq!(fields(&goodbye), ["after_ms", "reason", "reconnect", "type"]);
}

#[tokio::test]
async fn an_id_is_an_integer_and_comes_back_as_it_was() {
    let (_, mut socket) = one().await;
    for id in [json!(0), json!(1), json!(1), json!(9_007_199_254_740_991_u64)] {
        socket.send(&json!({"type": "ping", "id": id})).await;
        assert_eq!(socket.frame().await, json!({"type": "pong", "id": id}));
    }
    for bad in [json!("7"), json!(1.5), json!({}), json!([1]), json!(true)] {
        socket.send(&json!({"type": "ping", "id": bad})).await;
        let error = socket.frame().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_request")), "{bad}");
        assert_eq!(error["id"], Value::Null, "{bad}");
    }
    socket.fence().await;
}

#[tokio::test]
async fn a_frame_without_id_has_its_effect_and_no_ok() {
    let (alice, mut socket) = one().await;
    socket.send(&json!({"type": "status", "status": "dnd", "text": "quietly"})).await;
    socket.send(&json!({"type": "activity", "state": "idle", "id": null})).await;
    socket.send(&json!({"type": "unwatch", "users": ["nobody"]})).await;
    socket.must(json!({"type": "activity", "state": "idle"})).await; // what came before has been done
    assert!(socket.fence().await.is_empty());
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!((&setting["status"], &setting["text"]), (&json!("dnd"), &json!("quietly")));
    socket.send(&json!({"type": "status", "status": "asleep"})).await;
    let error = socket.frame().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &Value::Null), "a refusal is told all the same");
}

#[tokio::test]
async fn an_unknown_field_is_refused_in_every_frame() {
    let (alice, mut socket) = one().await;
    for frame in [
        json!({"type": "ping"}),
        json!({"type": "watch", "users": [alice.id]}),
        json!({"type": "unwatch", "users": [alice.id]}),
        json!({"type": "activity", "state": "idle"}),
        json!({"type": "status", "status": "dnd"}),
        json!({"type": "clear_status"}),
        json!({"type": "token", "token": alice.token}),
    ] {
        for extra in ["surprise", "room"] {
            let mut odd = frame.clone();
            odd[extra] = json!("x");
            let answer = socket.ask(odd.clone()).await;
            assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("invalid_request")), "{odd}");
            socket.fence().await; // never ten in a row
        }
    }
    assert_eq!(alice.reasons().await, ["connected"], "nothing changed");
}

#[tokio::test]
async fn a_status_frame_is_a_put_and_clear_status_a_delete() {
    let (alice, mut socket) = one().await;
    let full = json!({"type": "status", "status": "dnd", "text": "x", "meta": {"a": 1}, "expires_in_s": 600});
    socket.must(full).await;
    let set = alice.get("/v1/users/me/status").await.must(200);
    let setting = &set["setting"];
    assert_eq!(
        (&setting["status"], &setting["text"], &setting["meta"]),
        (&json!("dnd"), &json!("x"), &json!({"a": 1}))
    );
    assert!(setting["expires_at"].as_u64() > Some(now_s() * 1_000));
    assert_eq!(set["presence"], alice.sees("me").await);
    socket.must(json!({"type": "status", "status": "away"})).await;
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!(setting, json!({"status": "away", "text": null, "meta": {}, "expires_at": null}), "as a whole");
    socket.must(json!({"type": "clear_status"})).await;
    socket.must(json!({"type": "clear_status"})).await;
    let setting = alice.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!(setting["status"], "online");
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_set", "status_cleared"]);
}

#[tokio::test]
async fn what_is_ok_over_a_socket_is_read_on_any_node_at_once() {
    let (alice, mut socket) = one().await;
    for number in 0..12 {
        let text = format!("{number}");
        socket.must(json!({"type": "status", "status": "dnd", "text": text})).await;
        assert_eq!(alice.sees("me").await["text"], text.as_str());
        let state = if number % 2 == 0 { "idle" } else { "active" };
        socket.must(json!({"type": "activity", "state": state})).await;
        let sessions = alice.get("/v1/users/me/sessions").await.must(200);
        assert_eq!(sessions["sessions"][0]["activity"], state);
    }
}

#[tokio::test]
async fn a_refused_token_is_an_error_and_the_old_one_stays() {
    let (alice, mut socket) = one().await;
    let [bob] = server().people(["bob"]);
    let claims = || Claims::of(&alice.id);
    let secret = server().secret();
    for token in [
        bob.token.clone(),
        claims().with("exp", now_s() - 60).sign(secret),
        claims().with("nbf", now_s() + 600).sign(secret),
        claims().with("app", "other").sign(secret),
        claims().without("exp").sign(secret),
        claims().sign("a secret of more than thirty-two bytes"),
        "not.a.token".into(),
        String::new(),
    ] {
        let refused = socket.ask(json!({"type": "token", "token": token})).await;
        assert_eq!(refused["type"], "error", "{token}: {refused}");
        assert!(token.is_empty() || !refused.to_string().contains(&token), "never repeated");
        socket.must(json!({"type": "status", "status": "dnd"})).await;
    }
    for bad in [json!({"type": "token"}), json!({"type": "token", "token": 7}), json!({"type": "token", "token": null})]
    {
        assert_eq!(socket.ask(bad).await["code"], "invalid_request");
    }
    socket.must(json!({"type": "token", "token": claims().with("exp", now_s() + 7_200).sign(secret)})).await;
}

#[tokio::test]
async fn ten_binary_frames_in_a_row_close_with_1008() {
    let (_, mut socket) = one().await;
    for _ in 0..9 {
        socket.send_message(Message::binary(br#"{"type":"ping","id":1}"#.to_vec())).await;
        let error = socket.frame().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_request")), "{error}");
        assert_eq!(error["id"], Value::Null);
    }
    socket.send_message(Message::binary(vec![0])).await;
    assert_eq!(socket.ended().await.code, Some(1008));
}

#[tokio::test]
async fn frames_that_say_no_json_object_have_an_error_without_id() {
    let (_, mut socket) = one().await;
    for text in
        ["\"ping\"", "{\"type\":\"ping\",}", "{\"type\":\"ping\"} {}", "[{\"type\":\"ping\"}]", "ping", "\u{feff}{}"]
    {
        socket.send_message(Message::text(text)).await;
        let error = socket.frame().await;
        assert_eq!((&error["code"], &error["id"]), (&json!("invalid_request"), &Value::Null), "{text}");
    }
    assert!(socket.fence().await.is_empty());
}

#[tokio::test]
async fn a_session_closed_for_bad_frames_has_its_grace() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut friend = bob.connect("session=false").await;
    friend.contacts_snapshot().await;
    let mut socket = alice.connect("watch=none").await;
    friend.until_status(&alice.id, "online").await;
    socket.send_message(Message::text(" ".repeat(128 * 1_024 + 1))).await;
    assert_eq!(socket.ended().await.code, Some(1009));
    let mut back = alice.connect(&format!("watch=none&resume={}", socket.resume())).await;
    assert_eq!(back.welcome["resumed"], true);
    for _ in 0..10 {
        back.send_message(Message::text("{")).await;
    }
    assert_eq!(back.ended().await.code, Some(1008));
    let last = alice.connect(&format!("watch=none&resume={}", back.resume())).await;
    assert_eq!(last.welcome["resumed"], true);
    assert_eq!(alice.reasons().await, ["connected"]);
    assert!(friend.fence().await.is_empty());
}

#[tokio::test]
async fn an_observer_may_do_all_but_be_active() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let mut socket = alice.connect("session=false").await;
    assert_eq!(socket.contacts_snapshot().await.len(), 1);
    for state in ["active", "idle"] {
        let refused = socket.ask(json!({"type": "activity", "state": state})).await;
        assert_eq!(refused["code"], "invalid_request", "{refused}");
    }
    socket.must(json!({"type": "status", "status": "dnd"})).await;
    socket.must(json!({"type": "clear_status"})).await;
    socket.must(json!({"type": "token", "token": alice.token})).await;
    socket.must(json!({"type": "unwatch", "users": [bob.id]})).await;
    socket.watch(json!([bob.id])).await;
    assert_eq!(alice.reasons().await, ["status_set", "status_cleared"]);
    socket.close(None).await;
    assert_eq!(alice.reasons().await, ["status_set", "status_cleared"], "nobody was there, and nobody left");
}
