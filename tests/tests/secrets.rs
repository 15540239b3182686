//! What must never be read in a log: tokens, resume tokens and keys, however much is logged.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Claims, Client, Server, Socket, exchange, now_s};
use serde_json::json;
use std::fs;

/// What a log must not hold, each with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 16, "{what} is long enough to be found: {secret}");
        self.0.push((what, secret.to_owned()));
    }

    /// A token, and its signature, which alone makes one of what may be known.
    fn keep_token(&mut self, what: &'static str, token: &str) {
        self.keep(what, token);
        self.keep(what, token.rsplit('.').next().unwrap_or_default());
    }

    fn demand_absence(&self, printed: &str) {
        for (what, secret) in &self.0 {
            let line = printed.lines().find(|l| l.contains(secret.as_str()));
            assert!(line.is_none(), "{what} is in the log: {line:?}");
        }
    }
}

/// Speaks to `server` in every way that carries a secret.
async fn confide(server: &Server) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.keep("the key of tokens", server.secret());
    let cluster = fs::read_to_string(server.data.join("cluster.key")).expect("a key");
    secrets.keep("the key of the cluster", cluster.trim_end());
    let [alice] = server.people(["alice"]);
    let fresh = |n: u64| Claims::of(&alice.id).with("jti", n).sign(server.secret());

    let good =
        [("a token in a header", fresh(1)), ("a token in a subprotocol", fresh(2)), ("a token in a frame", fresh(3))];
    let bad = [
        ("an expired token", Claims::of(&alice.id).with("exp", now_s() - 600).sign(server.secret())),
        ("a forged token", Claims::of(&alice.id).sign("another-secret-of-more-than-32-bytes")),
        ("a token of an unknown key", Claims::of(&alice.id).kid(Some("unknown")).sign(server.secret())),
        ("a token without a subject", Claims::of(&alice.id).without("sub").sign(server.secret())),
        ("no token at all", "this-is-no-token-but-somebody-took-it-for-one".to_owned()),
    ];
    for (what, token) in good.iter().chain(&bad) {
        secrets.keep_token(what, token);
    }
    let with = |token: &str| Client::new(&server.address, &alice.id, token.to_owned());
    let header = with(&good[0].1);
    let _ = header.set_status(json!({"status": "away"})).await;
    let protocols = format!("rollcall.v1, bearer.{}", good[1].1);
    let opened = Socket::open(&server.address, "device=web", &[("sec-websocket-protocol", &protocols)]).await;
    let mut socket = opened.expect("an upgrade");
    socket.take_welcome().await;
    socket.must(json!({"type": "token", "token": good[2].1})).await;
    let resume = socket.resume();
    secrets.keep("a resume token", &resume);
    drop(socket);
    let mut resumed = header.connect(&format!("device=web&resume={resume}")).await;
    secrets.keep("a resume token", &resumed.resume());
    for (_, token) in &bad {
        with(token).get("/v1/users/me/presence").await.problem(401, "unauthenticated");
        assert!(Socket::try_connect(&server.address, token, "device=web").await.is_err());
        let protocols = format!("rollcall.v1, bearer.{token}");
        let refused = Socket::open(&server.address, "device=web", &[("sec-websocket-protocol", &protocols)]).await;
        let _ = refused.expect("an upgrade, to say why").ended().await;
        resumed.ask(json!({"type": "token", "token": token})).await;
        resumed = header.connect("device=web").await;
    }
    let broken = format!("GET /v1/users/me/presence HTTP/1.1\nAuthorization: Bearer {}\nContent-Length: x", good[0].1);
    exchange(&server.address, &broken, b"").await.problem(400, "invalid_request");
    let late = format!("PUT /v1/users/me/status HTTP/1.1\nAuthorization: Bearer {}\nContent-Length: 9", good[0].1);
    exchange(&server.address, &late, b"not json!").await;
    secrets
}

async fn logs_no_secret(format: &str) {
    let mut server = Server::launch().set("log.filter", "trace").set("log.format", format).start();
    let output = server.output().clone();
    let secrets = confide(&server).await;
    assert!(server.terminate().success());
    let printed = output.to_string();
    assert!(printed.contains("TRACE"), "everything is logged:\n{printed}");
    secrets.demand_absence(&printed);
}

#[tokio::test]
async fn no_token_and_no_key_is_in_a_log_for_people() {
    logs_no_secret("text").await;
}

#[tokio::test]
async fn no_token_and_no_key_is_in_a_log_for_machines() {
    logs_no_secret("json").await;
}
