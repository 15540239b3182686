//! The handshake of `/v1/connect`: subprotocols, origins, refusals that a browser can read, and how many fit.

use super::usual as server;
use rollcall_tests::{RefusedHandshake, Socket};
use serde_json::{Value, json};

const PROTOCOL: &str = "sec-websocket-protocol";

async fn open(query: &str, headers: &[(&str, &str)]) -> Result<Socket, RefusedHandshake> {
    Socket::open(&server().address(), query, headers).await
}

/// Demands an upgrade that brings one `error` frame with this code, and the close code of its status.
async fn told_by_a_frame(query: &str, offer: &str, code: &str, close: u16) {
    let mut socket = open(query, &[(PROTOCOL, offer)]).await.expect("an upgrade");
    assert_eq!(socket.subprotocol.as_deref(), Some("rollcall.v1"));
    let error = socket.frame().await;
    assert_eq!(
        (&error["type"], &error["code"], &error["id"]),
        (&json!("error"), &json!(code), &Value::Null),
        "{query}"
    );
    let ended = socket.ended().await;
    assert_eq!((ended.code, ended.goodbye), (Some(close), None), "{query}");
}

#[tokio::test]
async fn a_browser_reads_every_refusal_in_a_frame() {
    let [alice] = server().people(["alice"]);
    let good = format!("rollcall.v1, bearer.{}", alice.token);
    for bad in ["device=Web", "watch=all", "session=perhaps", "gadget=1", "watch=none&watch=none"] {
        told_by_a_frame(bad, &good, "invalid_request", 4_400).await;
    }
    told_by_a_frame("", "rollcall.v1, bearer.nonsense", "unauthenticated", 4_401).await;
    told_by_a_frame("", "rollcall.v1, bearer.", "unauthenticated", 4_401).await;
    assert_eq!(alice.get("/v1/users/me/sessions").await.must(200), json!({"sessions": []}));
}

#[tokio::test]
async fn the_thirty_third_session_is_refused_to_a_socket_too() {
    let [alice] = server().people(["alice"]);
    for _ in 0..31 {
        alice.open("web", "active").await;
    }
    let last = alice.connect("watch=none&device=mobile").await;
    let bearer = format!("Bearer {}", alice.token);
    let refused = open("watch=none", &[("authorization", &bearer)]).await.expect_err("32 are the most");
    assert_eq!((refused.status, &refused.problem["code"]), (422, &json!("limit_exceeded")));
    let offer = format!("rollcall.v1, bearer.{}", alice.token);
    told_by_a_frame("watch=none", &offer, "limit_exceeded", 4_422).await;
    let before = alice.sees("me").await;
    let mut observer = alice.connect("watch=none&session=false").await; // needs no session
    observer.fence().await;
    assert_eq!(alice.sees("me").await, before, "nothing changed");
    last.close(Some(1000)).await;
    rollcall_tests::eventually("room for another one", async || {
        open("watch=none", &[("authorization", &bearer)]).await.ok().map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn subprotocols_may_be_offered_in_any_order_and_beside_a_header() {
    let [alice] = server().people(["alice"]);
    let bearer = format!("Bearer {}", alice.token);
    let turned = format!("bearer.{}, rollcall.v1", alice.token);
    let among = format!("chat, rollcall.v1, bearer.{}", alice.token);
    for headers in [
        vec![(PROTOCOL, turned.as_str())],
        vec![(PROTOCOL, among.as_str())],
        vec![(PROTOCOL, "rollcall.v1"), ("authorization", bearer.as_str())],
    ] {
        let mut socket = open("watch=none&session=false", &headers).await.expect("an upgrade");
        assert_eq!(socket.subprotocol.as_deref(), Some("rollcall.v1"), "{headers:?}");
        socket.take_welcome().await;
        assert_eq!(socket.welcome["user"], alice.id.as_str());
    }
    let mut bare = open("watch=none", &[("authorization", &bearer)]).await.expect("an upgrade");
    assert_eq!(bare.subprotocol, None, "none was offered");
    bare.take_welcome().await;
    let foreign = [(PROTOCOL, "chat, graphql-ws"), ("authorization", bearer.as_str())];
    let refused = open("watch=none", &foreign).await.expect_err("no rollcall.v1");
    assert_eq!((refused.status, &refused.problem["code"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn an_allowed_origin_connects_and_a_foreign_one_is_a_plain_403() {
    let [alice] = server().people(["alice"]);
    let bearer = format!("Bearer {}", alice.token);
    let offer = format!("rollcall.v1, bearer.{}", alice.token);
    for credential in [("authorization", bearer.as_str()), (PROTOCOL, offer.as_str())] {
        let allowed = [credential, ("origin", "https://app.example")];
        let mut socket = open("watch=none&session=false", &allowed).await.expect("an upgrade");
        socket.take_welcome().await;
        for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
            let refused = open("watch=none", &[credential, ("origin", origin)]).await.expect_err(origin);
            assert_eq!((refused.status, &refused.problem["code"]), (403, &json!("forbidden")), "{origin}");
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_never_taken() {
    let [alice] = server().people(["alice"]);
    for name in ["token", "access_token", "bearer", "authorization"] {
        let refused = open(&format!("{name}={}", alice.token), &[]).await.expect_err(name);
        assert_eq!((refused.status, &refused.problem["code"]), (401, &json!("unauthenticated")), "{name}");
        alice.get(&format!("/v1/users/me/presence?{name}=x")).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn each_of_a_users_connections_is_a_session_of_its_own() {
    let [alice] = server().people(["alice"]);
    let web = alice.connect("watch=none&device=web").await;
    let mobile = alice.connect("watch=none&device=mobile").await;
    let second = alice.connect("watch=none&device=web").await;
    let sessions = [web.session(), mobile.session(), second.session()];
    assert!(sessions[0] != sessions[1] && sessions[1] != sessions[2] && sessions[0] != sessions[2]);
    let tokens = [web.resume(), mobile.resume(), second.resume()];
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2] && tokens[0] != tokens[2]);
    assert_eq!(alice.sees("me").await["devices"], json!(["mobile", "web"]));
    web.close(Some(1000)).await;
    mobile.close(Some(1000)).await;
    rollcall_tests::eventually("two have ended", async || {
        (alice.sees("me").await["devices"] == json!(["web"])).then_some(())
    })
    .await;
    assert_eq!(alice.get("/v1/users/me/sessions").await.must(200)["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_device_is_unknown_unless_named() {
    let [alice] = server().people(["alice"]);
    let _socket = alice.connect("watch=none").await;
    assert_eq!(alice.sees("me").await["devices"], json!(["unknown"]));
}
