//! Tokens of keys that an operator configured: issuer, audience, algorithm and scopes of each.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rollcall_tests::{Claims, Client, Server, exchange, now_s};
use serde_json::{Value, json};
use std::{fs, io::ErrorKind, net::TcpListener, sync::OnceLock};

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

const EC_PRIVATE: &str = include_str!("../../api/tests/contract/keys/p256.pem");
const EC_PUBLIC: &str = include_str!("../../api/tests/contract/keys/p256.pub.pem");
const RSA_PRIVATE: &str = include_str!("../../api/tests/contract/keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("../../api/tests/contract/keys/rsa2048.pub.pem");

/// The keys of a node that has one of every algorithm, and their names in a token's header.
fn every_key() -> [(&'static str, Algorithm, EncodingKey); 4] {
    [
        ("HS256", Algorithm::HS256, EncodingKey::from_secret(OLD_SECRET.as_bytes())),
        ("ES256", Algorithm::ES256, EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).expect("a key")),
        ("EdDSA", Algorithm::EdDSA, ed_key()),
        ("RS256", Algorithm::RS256, EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).expect("a key")),
    ]
}

/// A node with one key of every algorithm, each called as its algorithm is.
fn mixed() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a directory").keep();
        let files = [("HS256", OLD_SECRET), ("ES256", EC_PUBLIC), ("EdDSA", ED_PUBLIC), ("RS256", RSA_PUBLIC)];
        let mut text = String::new();
        for (kid, content) in files {
            let file = folder.join(kid);
            fs::write(&file, content).expect("a key file");
            let default = kid == "RS256";
            text.push_str(&format!(
                "[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"{kid}\"\nfile = {file:?}\ndefault = {default}\n\n"
            ));
        }
        let config = folder.join("rollcall.toml");
        fs::write(&config, text).expect("a configuration");
        let server = Server::launch().arg("--config").arg(config.display().to_string()).start();
        fs::remove_dir_all(folder).expect("keys are read at the start");
        server
    })
}

/// Header and claims as they are signed, with a header of the attacker's choice.
fn unsigned(header: &Value) -> String {
    let claims = json!({"sub": "alice", "exp": now_s() + 600});
    let encoded = [header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    encoded.join(".")
}

fn signed(header: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = unsigned(header);
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

async fn is_refused(what: &str, token: &str) {
    let head = format!("GET /v1/users/me/presence HTTP/1.1\nAuthorization: Bearer {token}");
    let reply = exchange(&mixed().address, &head, b"").await;
    assert_eq!(reply.status, 401, "{what}: {reply:?}");
    reply.problem(401, "unauthenticated");
    let challenge = reply.header("www-authenticate");
    assert!(challenge.is_some_and(|h| h.starts_with("Bearer")), "{what}: {reply:?}");
}

#[tokio::test]
async fn a_key_verifies_its_own_algorithm_and_no_other() {
    let keys = every_key();
    for (kid, algorithm, key) in &keys {
        let token = signed(&json!({"alg": kid, "kid": kid, "typ": "JWT"}), *algorithm, key);
        assert!(accepts(mixed(), token).await, "{kid}");
        for (other, ..) in keys.iter().filter(|(other, ..)| other != kid) {
            is_refused(&format!("{kid} as {other}"), &signed(&json!({"alg": kid, "kid": other}), *algorithm, key))
                .await;
            // Signed by one, said to be of the other.
            is_refused("a wrong name", &signed(&json!({"alg": other, "kid": kid}), *algorithm, key)).await;
            is_refused("two wrong names", &signed(&json!({"alg": other, "kid": other}), *algorithm, key)).await;
        }
        for alg in ["HS384", "HS512", "ES384", "RS384", "RS512", "PS256", "ES256K", "", "hs256"] {
            is_refused(alg, &signed(&json!({"alg": alg, "kid": kid}), *algorithm, key)).await;
        }
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_it_calls_that() {
    for alg in [json!("none"), json!("None"), json!("NONE"), json!("nOnE"), json!(null), json!(0), json!(["none"])] {
        for kid in ["HS256", "ES256", "EdDSA", "RS256"] {
            let message = unsigned(&json!({"alg": alg, "kid": kid}));
            for signature in [".", "", ".AA", "..", ".none"] {
                is_refused(&format!("{alg} {signature:?}"), &format!("{message}{signature}")).await;
            }
        }
        is_refused("no kid", &format!("{}.", unsigned(&json!({"alg": alg})))).await;
    }
    for (kid, ..) in every_key() {
        is_refused("an empty signature", &format!("{}.", unsigned(&json!({"alg": kid, "kid": kid})))).await;
        is_refused("no algorithm", &format!("{}.AA", unsigned(&json!({"kid": kid})))).await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let bare = |pem: &str| pem.lines().filter(|l| !l.starts_with('-')).collect::<String>();
    for (kid, public) in [("RS256", RSA_PUBLIC), ("ES256", EC_PUBLIC), ("EdDSA", ED_PUBLIC)] {
        let der = base64::engine::general_purpose::STANDARD.decode(bare(public)).expect("base64");
        for secret in [public.as_bytes(), public.trim_end().as_bytes(), bare(public).as_bytes(), der.as_slice()] {
            let key = EncodingKey::from_secret(secret);
            for header in
                [json!({"alg": "HS256", "kid": kid}), json!({"alg": "HS256", "kid": "HS256"}), json!({"alg": "HS256"})]
            {
                is_refused(&format!("{kid}'s public key as a secret"), &signed(&header, Algorithm::HS256, &key)).await;
            }
        }
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_or_points_at_are_neither_used_nor_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("a listener that can be looked at");
    let url = format!("http://{}/keys.json", listener.local_addr().expect("an address"));
    let own = "a-secret-of-the-attacker-of-more-than-32-bytes";
    let jwk = json!({"kty": "oct", "alg": "HS256", "kid": "HS256", "k": URL_SAFE_NO_PAD.encode(own)});
    let key = EncodingKey::from_secret(own.as_bytes());
    for kid in [json!("HS256"), json!("RS256"), json!("unknown"), json!(null)] {
        for (member, value) in
            [("jku", json!(url)), ("x5u", json!(url)), ("jwk", jwk.clone()), ("x5c", json!(["AAAA"]))]
        {
            let mut header = json!({"alg": "HS256", member: value});
            if !kid.is_null() {
                header["kid"] = kid.clone();
            }
            is_refused(member, &signed(&header, Algorithm::HS256, &key)).await;
            header["crit"] = json!([member]);
            is_refused(member, &signed(&header, Algorithm::HS256, &key)).await;
        }
    }
    // Nor beside a signature that holds: whoever signs with a key that counts here has nothing to bring.
    for (kid, algorithm, key) in &every_key() {
        for (member, value) in
            [("jku", json!(url)), ("x5u", json!(url)), ("jwk", jwk.clone()), ("x5c", json!(["AAAA"]))]
        {
            is_refused(member, &signed(&json!({"alg": kid, "kid": kid, member: value}), *algorithm, key)).await;
        }
    }
    is_refused("a kid that is a URL", &signed(&json!({"alg": "HS256", "kid": url}), Algorithm::HS256, &key)).await;
    let came = listener.accept().err().map(|e| e.kind());
    assert_eq!(came, Some(ErrorKind::WouldBlock), "nobody came for a key");
}

#[tokio::test]
async fn a_kid_is_a_name_and_nothing_else() {
    // Files whose content, or lack of it, an attacker knows.
    let known = [b"".as_slice(), b"\n", b"0", ED_PUBLIC.as_bytes()];
    let long = "k".repeat(10 * 1_024);
    let kids = [
        json!("../../../../../../dev/null"),
        json!("/dev/null"),
        json!("/proc/self/environ"),
        json!("file:///dev/null"),
        json!("HS256/../HS256"),
        json!("' OR '1'='1"),
        json!("x' UNION SELECT '0' --"),
        json!("HS256\u{0}"),
        json!("\u{0}"),
        json!(" HS256"),
        json!("hs256"),
        json!(""),
        json!("$(id)"),
        json!(long),
        json!(0),
        json!({"HS256": 1}),
    ];
    for kid in &kids {
        for secret in known {
            let token =
                signed(&json!({"alg": "HS256", "kid": kid}), Algorithm::HS256, &EncodingKey::from_secret(secret));
            is_refused("a kid", &token).await;
        }
        // Signed by keys that are believed under their own names, the default one among them.
        for (alg, algorithm, key) in every_key() {
            is_refused("a kid", &signed(&json!({"alg": alg, "kid": kid}), algorithm, &key)).await;
        }
    }
}

#[tokio::test]
async fn a_header_of_a_megabyte_is_refused_as_any_other() {
    let [(kid, algorithm, key), ..] = &every_key();
    for padding in [70_000, 1 << 20] {
        let header = json!({"alg": kid, "kid": kid, "pad": "p".repeat(padding)});
        is_refused("much padding", &signed(&header, *algorithm, key)).await;
    }
    is_refused("much of nothing", &"e".repeat(1 << 20)).await;
    is_refused("many dots", &".".repeat(1 << 16)).await;
    assert!(accepts(mixed(), signed(&json!({"alg": kid, "kid": kid}), *algorithm, key)).await, "and then a good one");
}
