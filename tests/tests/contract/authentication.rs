//! Tokens of the generated key: who signed them, for whom, until when, and what they may do.

use super::usual as server;
use jsonwebtoken::{Algorithm, EncodingKey};
use rollcall_tests::{Claims, Stage, now_s};

async fn accepts(stage: &Stage, token: String) -> bool {
    let reply = stage.holder("alice", token).get("/v1/users/me/presence").await;
    if reply.status == 200 {
        return true;
    }
    reply.problem(401, "unauthenticated");
    false
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
        server().holder("alice", claims.sign(secret)).get(path).await.status
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
