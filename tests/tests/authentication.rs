//! Tokens of keys that an operator configured: issuer, audience, algorithm and scopes of each.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use jsonwebtoken::{Algorithm, EncodingKey};
use rollcall_tests::{Claims, Client, Server};
use serde_json::json;
use std::{fs, sync::OnceLock};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

const OLD_SECRET: &str = "an-old-secret-of-more-than-32-bytes!";
/// A key pair made for these tests.
const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIvMPVWrx3BMbcF1ovrG7eXKxW/fKPfXrm9+9XE0+AOV
-----END PRIVATE KEY-----
";
const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAzKtKhpsfHbONx9XJ9MgmXNcy4HM+bAGhaTHTl2mNmyo=
-----END PUBLIC KEY-----
";

/// A node with keys of its operator's choice, an issuer and an audience.
fn configured() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a directory").keep();
        let hmac = folder.join("hmac.key");
        let public = folder.join("ed.pem");
        let config = folder.join("rollcall.toml");
        fs::write(&hmac, format!("{OLD_SECRET}\n")).expect("a key file");
        fs::write(&public, ED_PUBLIC).expect("a key file");
        let text = format!(
            "[auth]\nissuer = \"https://issuer.example\"\naudience = \"rollcall\"\n\n\
             [[auth.keys]]\nkid = \"old\"\nalgorithm = \"HS256\"\nfile = {hmac:?}\ndefault = true\n\n\
             [[auth.keys]]\nkid = \"ed\"\nalgorithm = \"EdDSA\"\nfile = {public:?}\nscopes = [\"user\", \"service\"]\n"
        );
        fs::write(&config, text).expect("a configuration");
        let server = Server::launch().arg("--config").arg(config.display().to_string()).start();
        fs::remove_dir_all(folder).expect("keys are read at the start");
        server
    })
}

async fn accepts(server: &Server, token: String) -> bool {
    let client = Client::new(&server.address, "alice", token);
    let reply = client.get("/v1/users/me/presence").await;
    if reply.status == 200 {
        return true;
    }
    reply.problem(401, "unauthenticated");
    false
}

fn ed_key() -> EncodingKey {
    EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).expect("a key")
}

fn issued() -> Claims {
    Claims::of("alice").with("iss", "https://issuer.example").with("aud", "rollcall")
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    assert!(accepts(server(), issued().sign(server().secret())).await, "not where they are not");
    let sign = |claims: Claims| claims.kid(Some("old")).sign(OLD_SECRET);
    assert!(accepts(configured(), sign(issued())).await);
    assert!(accepts(configured(), sign(issued().with("aud", json!(["other", "rollcall"])))).await);
    for bad in [
        issued().without("iss"),
        issued().with("iss", "https://elsewhere.example"),
        issued().without("aud"),
        issued().with("aud", "other"),
    ] {
        assert!(!accepts(configured(), sign(bad.clone())).await, "{bad:?}");
    }
}

#[tokio::test]
async fn each_key_has_one_algorithm_and_the_default_one_takes_tokens_without_kid() {
    let ed = ed_key();
    assert!(accepts(configured(), issued().kid(Some("ed")).sign_by(Algorithm::EdDSA, &ed)).await);
    assert!(accepts(configured(), issued().kid(None).sign(OLD_SECRET)).await, "the default key");
    for bad in [
        issued().kid(None).sign_by(Algorithm::EdDSA, &ed),
        issued().kid(Some("old")).sign_by(Algorithm::EdDSA, &ed),
        issued().kid(Some("ed")).sign(OLD_SECRET),
        issued().kid(Some("ed")).sign(ED_PUBLIC),
        issued().kid(Some("local")).sign(OLD_SECRET),
    ] {
        assert!(!accepts(configured(), bad.clone()).await, "{bad}");
    }
}

#[tokio::test]
async fn a_key_grants_only_its_own_scopes() {
    let path = "/v1/users/bob/status";
    let admin = issued().with("scope", "admin service user");
    let old = Client::new(&configured().address, "alice", admin.clone().kid(Some("old")).sign(OLD_SECRET));
    old.get(path).await.problem(403, "forbidden");
    let _ = old.get("/v1/users/me/status").await.must(200);
    let ed = Client::new(&configured().address, "alice", admin.kid(Some("ed")).sign_by(Algorithm::EdDSA, &ed_key()));
    let _ = ed.get(path).await.must(200);
    ed.get("/v1/cluster/status").await.problem(403, "forbidden");
}
