//! Tokens, minted as any issuer would: HS256 with the node's own key unless a test says otherwise.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lifetime of a token that a test does not care about, s.
const TTL_S: u64 = 3_600;

/// The wall clock, Unix ms.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock of this age")
}

/// The wall clock, Unix s.
#[must_use]
pub fn now_s() -> u64 {
    now_ms() / 1_000
}

/// What a token says, before it is signed.
#[derive(Debug, Clone)]
pub struct Claims {
    claims: Map<String, Value>,
    kid: Option<String>,
}

impl Claims {
    /// A token of `user`, valid for an hour, of the generated key.
    #[must_use]
    pub fn of(user: &str) -> Self {
        let mut claims = Map::new();
        claims.insert("sub".into(), user.into());
        claims.insert("exp".into(), json!(now_s() + TTL_S));
        Self { claims, kid: Some("local".into()) }
    }

    /// Adds or replaces a claim.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Names another key, or none.
    #[must_use]
    pub fn kid(mut self, kid: Option<&str>) -> Self {
        self.kid = kid.map(Into::into);
        self
    }

    /// Signs it by HS256.
    #[must_use]
    pub fn sign(&self, secret: &str) -> String {
        self.sign_by(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()))
    }

    /// Signs it.
    ///
    /// # Panics
    /// When the key does not fit the algorithm.
    #[must_use]
    pub fn sign_by(&self, algorithm: Algorithm, key: &EncodingKey) -> String {
        let mut header = Header::new(algorithm);
        header.kid.clone_from(&self.kid);
        encode(&header, &self.claims, key).expect("a token")
    }
}
