//! The key of a request that may be repeated, with the digest that tells another request under the same key.

use crate::problem::Problem;
use http::{HeaderMap, HeaderName, Method};
use rollcall_presence::{RequestKey, limits::KEY_MAX_BYTES};
use sha2::{Digest, Sha256};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The request's key, if it has one.
///
/// # Errors
/// 400 for a key that is repeated, empty, too long or not visible ASCII.
pub(crate) fn key_of(
    headers: &HeaderMap,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Option<RequestKey>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let valid = keys.next().is_none()
        && (1..=KEY_MAX_BYTES).contains(&key.len())
        && key.as_bytes().iter().all(u8::is_ascii_graphic);
    match key.to_str() {
        Ok(key) if valid => Ok(Some(RequestKey { key: key.into(), digest: digest(method, path, body) })),
        _ => Err(Problem::invalid("Idempotency-Key", "must be 1 to 64 visible ASCII characters, once")),
    }
}

/// Neither a method nor a path holds a NUL, so that no two requests run into one.
fn digest(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), b"\0", path.as_bytes(), b"\0", body] {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_digest_tells_method_path_and_body_apart() {
        let all = [
            digest(&Method::PUT, "/a", b"b"),
            digest(&Method::POST, "/a", b"b"),
            digest(&Method::PUT, "/ab", b""),
            digest(&Method::PUT, "/a", b"c"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }

    #[test]
    fn a_key_outside_the_bounds_is_refused() {
        for bad in ["", "a b", &"k".repeat(65)] {
            let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_str(bad).unwrap())]);
            assert!(key_of(&headers, &Method::PUT, "/", b"").is_err(), "{bad}");
        }
    }
}
