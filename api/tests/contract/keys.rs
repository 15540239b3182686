//! Section 2: configured keys, each with one algorithm, its scopes and its `kid`.

use crate::{
    fake::now,
    stage::{SECRET, Setting, Stage},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header, encode};
use reqwest::Method;
use rollcall_config::{Algorithm, Auth, AuthKey, Scope};
use serde_json::json;
use std::path::Path;

/// Key pairs made for these tests alone, in the form that OpenSSL writes.
const ED_PRIVATE: &str = include_str!("keys/ed25519.pem");
const ED_PUBLIC: &str = include_str!("keys/ed25519.pub.pem");
const EC_PRIVATE: &str = include_str!("keys/p256.pem");
const EC_PUBLIC: &str = include_str!("keys/p256.pub.pem");
const RSA_PRIVATE: &str = include_str!("keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa2048.pub.pem");

fn key(dir: &Path, kid: &str, algorithm: Algorithm, content: &str, scopes: &[Scope]) -> AuthKey {
    let file = dir.join(kid);
    std::fs::write(&file, content).unwrap();
    AuthKey { kid: kid.into(), algorithm, file, scopes: scopes.to_vec(), default: kid == "ed" }
}

fn auth(dir: &Path) -> Auth {
    let hmac = format!("{}\n", "h".repeat(32));
    Auth {
        keys: vec![
            key(dir, "hs", Algorithm::HS256, &hmac, &[Scope::User]),
            key(dir, "ed", Algorithm::EdDSA, ED_PUBLIC, &[Scope::Service]),
            key(dir, "ec", Algorithm::ES256, EC_PUBLIC, &[Scope::User]),
            key(dir, "rs", Algorithm::RS256, RSA_PUBLIC, &[Scope::User]),
        ],
        ..Auth::default()
    }
}

fn signed(alg: Alg, kid: Option<&str>, scope: &str, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(Into::into), ..Header::new(alg) };
    encode(&header, &json!({ "sub": "alice", "scope": scope, "exp": now() / 1_000 + 60 }), key).unwrap()
}

async fn status(stage: &Stage, user: &str, token: &str) -> u16 {
    let call = stage.call(Method::GET, &format!("/v1/users/{user}/sessions")).bearer_auth(token);
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn each_key_verifies_its_own_algorithm_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::with(Setting { auth: auth(dir.path()), ..Setting::default() }).await;
    let keys = [
        ("hs", Alg::HS256, EncodingKey::from_secret(&[b'h'; 32])),
        ("ed", Alg::EdDSA, EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap()),
        ("ec", Alg::ES256, EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).unwrap()),
        ("rs", Alg::RS256, EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap()),
    ];
    for (kid, alg, key) in &keys {
        for other in ["hs", "ed", "ec", "rs", "none"] {
            let expected = if other == *kid { 200 } else { 401 };
            assert_eq!(
                status(&stage, "alice", &signed(*alg, Some(other), "user", key)).await,
                expected,
                "{kid} {other}"
            );
        }
    }
    let (_, alg, key) = &keys[1];
    assert_eq!(status(&stage, "alice", &signed(*alg, None, "user", key)).await, 200, "the default key needs no kid");
    let (_, alg, key) = &keys[2];
    assert_eq!(status(&stage, "alice", &signed(*alg, None, "user", key)).await, 401, "any other key does");
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::with(Setting { auth: auth(dir.path()), ..Setting::default() }).await;
    let der = STANDARD.decode(RSA_PUBLIC.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
    for secret in [RSA_PUBLIC.as_bytes(), RSA_PUBLIC.trim_end().as_bytes(), &der] {
        let token = signed(Alg::HS256, Some("rs"), "user", &EncodingKey::from_secret(secret));
        assert_eq!(status(&stage, "alice", &token).await, 401);
    }
}

#[tokio::test]
async fn a_key_grants_only_the_scopes_configured_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::with(Setting { auth: auth(dir.path()), ..Setting::default() }).await;
    let hs = EncodingKey::from_secret(&[b'h'; 32]);
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    assert_eq!(status(&stage, "bob", &signed(Alg::HS256, Some("hs"), "service user", &hs)).await, 403);
    assert_eq!(status(&stage, "alice", &signed(Alg::HS256, Some("hs"), "service user", &hs)).await, 200);
    assert_eq!(status(&stage, "bob", &signed(Alg::EdDSA, Some("ed"), "service", &ed)).await, 200);
    let admin = signed(Alg::EdDSA, Some("ed"), "admin service", &ed);
    let call = stage.call(Method::GET, "/v1/cluster/status").bearer_auth(admin);
    assert_eq!(call.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn keys_may_be_replaced_while_serving() {
    let stage = Stage::new().await;
    let token = crate::stage::token("alice");
    assert_eq!(status(&stage, "alice", &token).await, 200);
    stage.keys.reload(&Auth::default(), Some(&[9; 32])).unwrap();
    assert_eq!(status(&stage, "alice", &token).await, 401);
    assert!(stage.keys.reload(&Auth::default(), Some(b"short")).is_err());
    assert!(stage.keys.reload(&Auth::default(), None).is_err());
    stage.keys.reload(&Auth::default(), Some(SECRET)).unwrap();
    assert_eq!(status(&stage, "alice", &token).await, 200);
}
