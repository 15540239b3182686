//! Tokens: who signed them, for whom, until when, and what they may do.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use jsonwebtoken::{Algorithm, EncodingKey};
use rollcall_tests::{Claims, Client, Server, now_s};
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
async fn forged_tokens_are_refused() {
    let secret = server().secret();
    assert!(accepts(server(), Claims::of("alice").sign(secret)).await);
    let good = Claims::of("alice").sign(secret);
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    let parts: Vec<&str> = good.split('.').collect();
    let other = Claims::of("mallory").sign(secret);
    let other_claims = other.split('.').nth(1).expect("claims");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [
        Claims::of("alice").sign("another secret of more than 32 bytes"),
        Claims::of("alice").sign(&format!("{secret}\n")),
        Claims::of("alice").sign_by(Algorithm::HS384, &EncodingKey::from_secret(secret.as_bytes())),
        Claims::of("alice").kid(Some("unknown")).sign(secret),
        format!("{signed}."),
        format!("{}.{other_claims}.{}", parts[0], parts[2]),
        format!("{none}.{}.", parts[1]),
        "nonsense".into(),
        "a.b.c".into(),
        String::new(),
    ] {
        assert!(!accepts(server(), forged.clone()).await, "{forged}");
    }
}

#[tokio::test]
async fn times_are_honoured_with_ten_seconds_of_leeway() {
    let secret = server().secret();
    let now = now_s();
    for (claims, good) in [
        (Claims::of("alice").with("exp", now - 5), true),
        (Claims::of("alice").with("exp", now - 15), false),
        (Claims::of("alice").with("exp", now - 3_600), false),
        (Claims::of("alice").with("nbf", now + 5), true),
        (Claims::of("alice").with("nbf", now + 60), false),
        (Claims::of("alice").without("exp"), false),
        (Claims::of("alice").with("exp", "tomorrow"), false),
    ] {
        assert_eq!(accepts(server(), claims.sign(secret)).await, good, "{claims:?}");
    }
}

#[tokio::test]
async fn the_sub_must_be_a_user_id() {
    let secret = server().secret();
    for sub in ["me", "", ".", "no spaces", &"x".repeat(129)] {
        assert!(!accepts(server(), Claims::of(sub).sign(secret)).await, "{sub:?}");
    }
    assert!(!accepts(server(), Claims::of("alice").without("sub").sign(secret)).await);
    assert!(!accepts(server(), Claims::of("alice").with("sub", 7).sign(secret)).await);
    assert!(accepts(server(), Claims::of(&"x".repeat(128)).sign(secret)).await);
}

#[tokio::test]
async fn the_claim_app_is_reserved() {
    let secret = server().secret();
    assert!(accepts(server(), Claims::of("alice").with("app", "main").sign(secret)).await);
    assert!(!accepts(server(), Claims::of("alice").with("app", "other").sign(secret)).await);
    assert!(!accepts(server(), Claims::of("alice").with("app", 1).sign(secret)).await);
}

#[tokio::test]
async fn scopes_are_words_of_which_unknown_ones_are_ignored() {
    let secret = server().secret();
    let reads = async |scope: Option<&str>, path: &str| {
        let claims = Claims::of("alice");
        let claims = scope.map_or(claims.clone(), |s| claims.with("scope", s));
        Client::new(&server().address, "alice", claims.sign(secret)).get(path).await.status
    };
    let (own, others, cluster) = ("/v1/users/me/status", "/v1/users/bob/status", "/v1/cluster/status");
    for (scope, expected) in [
        (None, [200, 403, 403]),
        (Some(""), [200, 403, 403]),
        (Some("openid profile"), [200, 403, 403]),
        (Some("user"), [200, 403, 403]),
        (Some("email service"), [200, 200, 403]),
        (Some("admin"), [200, 200, 200]),
        (Some("user admin service"), [200, 200, 200]),
    ] {
        let got = [reads(scope, own).await, reads(scope, others).await, reads(scope, cluster).await];
        assert_eq!(got, expected, "{scope:?}");
    }
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
