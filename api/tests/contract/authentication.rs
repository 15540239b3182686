//! Section 2: tokens that are believed, tokens that are not, and how far each reaches.

use crate::{
    fake::now,
    stage::{SECRET, Setting, Stage, problem, token},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use rollcall_config::Auth;
use serde_json::{Value, json};

/// A token with these claims (an expiry in an hour is added) and header changes, signed with the generated key.
fn signed(claims: Value, change: impl FnOnce(&mut Header)) -> String {
    let mut all = json!({ "exp": now() / 1_000 + 3_600 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let mut header = Header { kid: Some("local".into()), ..Header::new(Algorithm::HS256) };
    change(&mut header);
    encode(&header, &all, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn plain(claims: Value) -> String {
    signed(claims, |_| ())
}

async fn status(stage: &Stage, token: &str) -> u16 {
    let call = stage.call(Method::GET, "/v1/users/me/sessions").header("Authorization", format!("Bearer {token}"));
    let response = call.send().await.unwrap();
    let got = response.status().as_u16();
    if got == 401 {
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        problem(response, 401, "unauthenticated").await;
    }
    got
}

#[tokio::test]
async fn sub_and_exp_are_required_and_checked() {
    let stage = Stage::new().await;
    let second = now() / 1_000;
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice" }))).await, 200);
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice", "exp": second - 5 }))).await, 200, "within the leeway");
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice", "nbf": second + 5 }))).await, 200, "within the leeway");
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice", "exp": second as f64 + 60.5 }))).await, 200);
    let refused = [
        json!({}),
        json!({ "sub": "" }),
        json!({ "sub": "me" }),
        json!({ "sub": 7 }),
        json!({ "sub": "a b" }),
        json!({ "sub": "a".repeat(129) }),
        json!({ "sub": "alice", "exp": null }),
        json!({ "sub": "alice", "exp": "soon" }),
        json!({ "sub": "alice", "exp": -1 }),
        json!({ "sub": "alice", "exp": second - 15 }),
        json!({ "sub": "alice", "nbf": second + 60 }),
        json!({ "sub": "alice", "nbf": "later" }),
        json!({ "sub": "alice", "scope": 7 }),
        json!({ "sub": "alice", "app": "other" }),
        json!({ "sub": "alice", "app": null }),
    ];
    for claims in refused {
        assert_eq!(status(&stage, &plain(claims.clone())).await, 401, "{claims}");
    }
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice", "app": "main" }))).await, 200);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let stage = Stage::new().await;
    let good = token("alice");
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |header: Value| {
        let claims = json!({ "sub": "alice", "exp": now() / 1_000 + 60 });
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.", part(header), part(claims))
    };
    let other_key = encode(
        &Header { kid: Some("local".into()), ..Header::default() },
        &json!({ "sub": "alice", "exp": now() / 1_000 + 60 }),
        &EncodingKey::from_secret(&[7; 32]),
    );
    let forged = [
        String::new(),
        "x".into(),
        "a.b.c".into(),
        good[..good.len() - 4].to_owned(),
        format!("{rest}.{}", signature.chars().rev().collect::<String>()),
        format!("{good}.x"),
        unsigned(json!({ "alg": "none" })),
        unsigned(json!({ "alg": "none", "kid": "local" })),
        unsigned(json!({ "alg": "HS256", "kid": "local" })),
        other_key.unwrap(),
    ];
    for token in forged {
        assert_eq!(status(&stage, &token).await, 401, "{token}");
    }
    assert_eq!(status(&stage, &good).await, 200);
}

#[tokio::test]
async fn a_header_can_choose_neither_key_nor_algorithm() {
    let stage = Stage::new().await;
    let alice = || json!({ "sub": "alice" });
    for kid in ["other", "", "../auth.key", "' OR 1=1 --", "/etc/passwd"] {
        assert_eq!(status(&stage, &signed(alice(), |h| h.kid = Some(kid.into()))).await, 401, "{kid}");
    }
    for alg in [Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(status(&stage, &signed(alice(), |h| h.alg = alg)).await, 401, "{alg:?}");
    }
    assert_eq!(status(&stage, &signed(alice(), |h| h.crit = Some(vec!["x".into()]))).await, 401);
    // A place to fetch a key from is never visited, and whoever names one is refused.
    assert_eq!(status(&stage, &signed(alice(), |h| h.jku = Some("http://127.0.0.1:1/".into()))).await, 401);
    assert_eq!(status(&stage, &signed(alice(), |h| h.kid = None)).await, 200, "the only key is the default");
}

#[tokio::test]
async fn a_token_comes_in_one_authorization_header_and_never_in_a_query() {
    let stage = Stage::new().await;
    let call = || stage.call(Method::GET, "/v1/users/me/sessions");
    problem(call().send().await.unwrap(), 401, "unauthenticated").await;
    let basic = call().header("Authorization", "Basic YTpi");
    problem(basic.send().await.unwrap(), 401, "unauthenticated").await;
    let two = call().bearer_auth(token("alice")).bearer_auth(token("alice"));
    problem(two.send().await.unwrap(), 401, "unauthenticated").await;
    let query = stage.call(Method::GET, &format!("/v1/users/me/sessions?access_token={}", token("alice")));
    problem(query.send().await.unwrap(), 401, "unauthenticated").await;
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let auth = Auth { issuer: Some("id.example".into()), audience: Some("rollcall".into()), ..Auth::default() };
    let stage = Stage::with(Setting { auth, ..Setting::default() }).await;
    let with = |iss: Value, aud: Value| plain(json!({ "sub": "alice", "iss": iss, "aud": aud }));
    assert_eq!(status(&stage, &with("id.example".into(), "rollcall".into())).await, 200);
    assert_eq!(status(&stage, &with("id.example".into(), json!(["other", "rollcall"]))).await, 200);
    assert_eq!(status(&stage, &with("evil.example".into(), "rollcall".into())).await, 401);
    assert_eq!(status(&stage, &with("id.example".into(), "other".into())).await, 401);
    assert_eq!(status(&stage, &with(Value::Null, Value::Null)).await, 401);
    assert_eq!(status(&stage, &plain(json!({ "sub": "alice" }))).await, 401);
    let open = Stage::new().await;
    assert_eq!(status(&open, &with("any".into(), "any".into())).await, 200, "not configured, not checked");
}

#[tokio::test]
async fn a_user_acts_as_itself_only() {
    let stage = Stage::new().await;
    let own = [
        (Method::GET, "sessions"),
        (Method::POST, "sessions"),
        (Method::PUT, "sessions/x"),
        (Method::DELETE, "sessions/x"),
        (Method::GET, "status"),
        (Method::PUT, "status"),
        (Method::DELETE, "status"),
        (Method::GET, "contacts"),
        (Method::POST, "contacts"),
        (Method::PUT, "contacts/carol"),
        (Method::DELETE, "contacts/carol"),
        (Method::GET, "blocks"),
        (Method::POST, "blocks"),
        (Method::PUT, "blocks/carol"),
        (Method::DELETE, "blocks/carol"),
        (Method::GET, "privacy"),
        (Method::PUT, "privacy"),
        (Method::PUT, "profile"),
        (Method::DELETE, "profile"),
        (Method::GET, "history"),
    ];
    for (method, path) in own {
        let path = format!("/v1/users/bob/{path}");
        let refused = stage.by("alice", method.clone(), &path).send().await.unwrap();
        problem(refused, 403, "forbidden").await;
        let service = stage.by("svc@service", method.clone(), &path).send().await.unwrap();
        assert_ne!(service.status(), 403, "{method} {path}");
        let unknown = stage.by("alice", method, &path.replace("bob", "not%20an%20id")).send().await.unwrap();
        problem(unknown, 403, "forbidden").await;
    }
    for path in ["/v1/users/bob/presence", "/v1/users/bob/profile"] {
        stage.get("alice", path).await;
    }
}

#[tokio::test]
async fn only_a_service_deletes_users_and_only_an_operator_sees_the_cluster() {
    let stage = Stage::new().await;
    problem(stage.delete("alice", "/v1/users/me").await, 403, "forbidden").await;
    assert_eq!(stage.delete("svc@service", "/v1/users/alice").await.status(), 204);
    assert_eq!(stage.delete("ops@admin", "/v1/users/alice").await.status(), 204, "admin includes service");
    let cluster = [
        (Method::GET, "/v1/cluster/status"),
        (Method::GET, "/v1/cluster/locate/alice"),
        (Method::POST, "/v1/cluster/nodes/n1/drain"),
        (Method::DELETE, "/v1/cluster/nodes/n1"),
    ];
    for (method, path) in cluster {
        for who in ["alice", "svc@service"] {
            problem(stage.by(who, method.clone(), path).send().await.unwrap(), 403, "forbidden").await;
        }
    }
}

#[tokio::test]
async fn other_words_of_a_scope_are_ignored() {
    let stage = Stage::new().await;
    for scope in ["", "openid profile", "users", "user openid"] {
        assert_eq!(status(&stage, &plain(json!({ "sub": "alice", "scope": scope }))).await, 200, "{scope}");
    }
}
