//! Tokens: who one stands for, and minting one with the generated key. Source: contract, section 2.
//!
//! Signature, algorithm and times are checked by `jsonwebtoken`; a key has exactly one algorithm, so that no header can
//! choose another, and nothing that a header points to is ever fetched.

use crate::keys::{HMAC_MIN_BYTES, KeySet, LOCAL_KID, Mark, secret_of};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, crypto, decode, decode_header, encode};
use rollcall_config::{Algorithm, Auth, Scope};
use rollcall_presence::{UnixMs, UserId, Viewer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How far clocks may differ, seconds. Contract, section 2.
pub(crate) const LEEWAY_S: u64 = 10;
/// The only application of v1. Contract, section 1.
const APP: &str = "main";

/// Why a token is not believed, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no token")]
    Missing,
    #[error("the token is malformed, or signed by a key or algorithm that is not accepted here")]
    Untrusted,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
    #[error("the token lacks a claim, or has one that is not accepted here")]
    Claims,
}

/// Whom a token stands for, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    /// Acts as its user.
    pub(crate) own: bool,
    /// Acts for every user.
    pub(crate) service: bool,
    /// May use the cluster endpoints.
    pub(crate) admin: bool,
    /// When it expires, leeway included.
    pub(crate) until: UnixMs,
    /// The key that signed it.
    pub(crate) key: Arc<Mark>,
}

impl Identity {
    /// The identity as the homes judge it.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { user: self.user.clone(), service: self.service }
    }

    /// Whether a key that grants this would grant as much again.
    pub(crate) fn within(&self, grants: &[Scope]) -> bool {
        let (_, service, admin) = granted("service admin", grants);
        !grants.is_empty() && (service || !self.service) && (admin || !self.admin)
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: UserId,
    exp: f64,
    #[serde(default)]
    scope: Option<String>,
    /// Absent, or the only application there is; `null` is neither.
    #[serde(default = "main_app")]
    app: Value,
}

fn main_app() -> Value {
    APP.into()
}

/// What every token under a key of `algorithm` must fulfil.
pub(crate) fn validation(algorithm: Algorithm, auth: &Auth) -> Validation {
    let mut rules = Validation::new(registered(algorithm));
    let mut required = vec!["exp", "sub"];
    rules.leeway = LEEWAY_S;
    rules.validate_nbf = true;
    rules.validate_aud = auth.audience.is_some();
    if let Some(audience) = &auth.audience {
        rules.set_audience(&[audience]);
        required.push("aud");
    }
    if let Some(issuer) = &auth.issuer {
        rules.set_issuer(&[issuer]);
        required.push("iss");
    }
    rules.set_required_spec_claims(&required);
    rules
}

fn registered(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// Tries `key` out on a signature that cannot hold: only a key that is unfit fails.
pub(crate) fn proves(algorithm: Algorithm, key: &DecodingKey) -> Result<(), jsonwebtoken::errors::Error> {
    const NOTHING: &str = "AAAA";
    match crypto::verify(NOTHING, b"", key, registered(algorithm)) {
        Err(e) if !matches!(e.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => Err(e),
        _ => Ok(()),
    }
}

/// Who `token` stands for.
pub(crate) fn verify(keys: &KeySet, token: &str) -> Result<Identity, Refused> {
    let header = decode_header(token).map_err(|_| Refused::Untrusted)?;
    if brings_a_key(&header) || header.crit.is_some() {
        return Err(Refused::Untrusted);
    }
    let key = keys.find(header.kid.as_deref()).ok_or(Refused::Untrusted)?;
    let claims = decode::<Claims>(token, &key.decoding, &key.validation).map_err(|e| why(&e))?.claims;
    if claims.app != APP {
        return Err(Refused::Claims);
    }
    let (own, service, admin) = granted(claims.scope.as_deref().unwrap_or(""), &key.grants);
    let until = expiry_ms(claims.exp).saturating_add(LEEWAY_S * 1_000);
    Ok(Identity { user: claims.sub, own, service, admin, until, key: key.mark.clone() })
}

/// Whether a header names a key of its own, or a place to fetch one: nobody who has a key that counts here needs to.
fn brings_a_key(header: &Header) -> bool {
    header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some()
}

fn why(error: &jsonwebtoken::errors::Error) -> Refused {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match error.kind() {
        Kind::ExpiredSignature => Refused::Expired,
        Kind::ImmatureSignature => Refused::TooEarly,
        Kind::MissingRequiredClaim(_)
        | Kind::InvalidClaimFormat(_)
        | Kind::InvalidIssuer
        | Kind::InvalidAudience
        | Kind::InvalidSubject
        | Kind::Json(_) => Refused::Claims,
        _ => Refused::Untrusted,
    }
}

/// What is granted of what is asked for: (user, service, admin). A wider scope of the key includes the narrower ones.
fn granted(asked: &str, grants: &[Scope]) -> (bool, bool, bool) {
    let asks = |word: &str| asked.split(' ').any(|w| w == word);
    let has = |scope: Scope| grants.contains(&scope);
    let none = !["user", "service", "admin"].into_iter().any(asks);
    let admin = asks("admin") && has(Scope::Admin);
    let service = admin || asks("service") && (has(Scope::Service) || has(Scope::Admin));
    let own = service || (none || asks("user")) && !grants.is_empty();
    (own, service, admin)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast to an integer saturates")]
fn expiry_ms(exp_s: f64) -> UnixMs {
    (exp_s * 1_000.0) as UnixMs
}

/// Why no token could be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The secret is too short to be one.
    #[error("the key has {0} bytes and must have at least {HMAC_MIN_BYTES}")]
    TooShort(usize),
    /// The token could not be signed.
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// A token of `user` with `scopes` for `ttl`, signed (HS256, `kid` `local`) with the content of an HMAC key's file.
///
/// # Errors
/// [`MintError`].
pub fn mint(key_file: &[u8], user: &UserId, scopes: &[Scope], now: UnixMs, ttl: Duration) -> Result<String, MintError> {
    #[derive(Serialize)]
    struct Minted<'a> {
        sub: &'a UserId,
        scope: String,
        iat: u64,
        exp: u64,
    }
    let secret = secret_of(key_file);
    if secret.len() < HMAC_MIN_BYTES {
        return Err(MintError::TooShort(secret.len()));
    }
    let words: Vec<&str> = scopes
        .iter()
        .map(|s| match s {
            Scope::User => "user",
            Scope::Service => "service",
            Scope::Admin => "admin",
        })
        .collect();
    let iat = now / 1_000;
    let claims = Minted { sub: user, scope: words.join(" "), iat, exp: iat.saturating_add(ttl.as_secs()) };
    let header = Header { kid: Some(LOCAL_KID.to_owned()), ..Header::new(jsonwebtoken::Algorithm::HS256) };
    Ok(encode(&header, &claims, &EncodingKey::from_secret(secret))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_granted_as_far_as_the_key_goes() {
        let (user, service, admin) = (&[Scope::User][..], &[Scope::Service][..], &[Scope::Admin][..]);
        assert_eq!(granted("", user), (true, false, false));
        assert_eq!(granted("other words", user), (true, false, false));
        assert_eq!(granted("service", user), (false, false, false));
        assert_eq!(granted("user service", user), (true, false, false));
        assert_eq!(granted("service", service), (true, true, false));
        assert_eq!(granted("admin", service), (false, false, false));
        assert_eq!(granted("admin", admin), (true, true, true));
        assert_eq!(granted("service", admin), (true, true, false));
        assert_eq!(granted("user", admin), (true, false, false));
    }

    #[test]
    fn an_expiry_beyond_all_time_does_not_overflow() {
        assert_eq!(expiry_ms(1e300), UnixMs::MAX);
        assert_eq!(expiry_ms(1.5), 1_500);
    }
}
