//! Section 2: keys that come and go while connections stand on them. A ping is 20 s away: nothing here waits for one.

use crate::{
    fake::now,
    stage::{DEADLINE, Setting, Socket, Stage},
};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header, encode};
use reqwest::Method;
use rollcall_config::{Algorithm, Auth, AuthKey, Scope};
use serde_json::json;
use std::path::Path;
use tokio::time::timeout;

fn auth(dir: &Path, keys: &[(&str, u8)]) -> Auth {
    let key = |(kid, secret): &(&str, u8)| {
        let file = dir.join(kid);
        std::fs::write(&file, [*secret; 32]).unwrap();
        AuthKey { kid: (*kid).into(), algorithm: Algorithm::HS256, file, scopes: vec![Scope::User], default: false }
    };
    Auth { keys: keys.iter().map(key).collect(), ..Auth::default() }
}

fn signed(kid: &str, secret: u8) -> String {
    let header = Header { kid: Some(kid.into()), ..Header::new(Alg::HS256) };
    let claims = json!({ "sub": "alice", "exp": now() / 1_000 + 3_600 });
    encode(&header, &claims, &EncodingKey::from_secret(&[secret; 32])).unwrap()
}

async fn observe(stage: &Stage, token: &str) -> Socket {
    let mut request = stage.anonymous_handshake("?watch=none");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut socket = Socket::open(request).await;
    assert_eq!(socket.next().await["type"], "welcome");
    socket
}

#[tokio::test]
async fn a_key_that_is_gone_ends_its_sockets_and_streams_and_those_with_a_fresh_token_stay() {
    let dir = tempfile::tempdir().unwrap();
    let both = auth(dir.path(), &[("old", 1), ("new", 2)]);
    let stage = Stage::with(Setting { auth: both.clone(), ..Setting::default() }).await;
    let (mut stays, mut ends) = (observe(&stage, &signed("old", 1)).await, observe(&stage, &signed("old", 1)).await);
    let stream = stage.call(Method::GET, "/v1/events?users=bob").bearer_auth(signed("old", 1)).send().await.unwrap();
    stage.keys.reload(&both, None).unwrap();
    for socket in [&mut stays, &mut ends] {
        assert_eq!(socket.ask(json!({ "type": "ping" })).await["type"], "pong", "the same keys change nothing");
    }
    let fresh = stays.ask(json!({ "type": "token", "id": 1, "token": signed("new", 2) })).await;
    assert_eq!(fresh["type"], "ok");
    stage.keys.reload(&auth(dir.path(), &[("new", 2)]), None).unwrap();
    let goodbye = ends.next().await;
    assert_eq!((&goodbye["reason"], &goodbye["reconnect"]), (&json!("token_expired"), &json!(true)));
    assert_eq!(ends.closed().await, 4_001);
    let told = timeout(DEADLINE, stream.text()).await.expect("the stream ends").unwrap();
    assert!(told.contains("event: goodbye") && told.contains("token_expired"), "{told}");
    assert_eq!(stays.ask(json!({ "type": "ping" })).await["type"], "pong");
}

#[tokio::test]
async fn another_key_under_the_same_kid_ends_what_the_first_one_signed() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::with(Setting { auth: auth(dir.path(), &[("k", 1)]), ..Setting::default() }).await;
    let mut socket = observe(&stage, &signed("k", 1)).await;
    stage.keys.reload(&auth(dir.path(), &[("k", 2)]), None).unwrap();
    assert_eq!(socket.next().await["reason"], "token_expired");
    assert_eq!(socket.closed().await, 4_001);
    observe(&stage, &signed("k", 2)).await;
}
