//! The id of a request: the client's own, if it is sane, else one of ours that no other request of any node has.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The header that carries it, both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a client, bytes: it is written into logs.
const MAX_BYTES: usize = 128;

/// Starts every id of this process; random, so that ids of different nodes differ.
static PREFIX: OnceLock<u64> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The id of the request with these headers.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if sane(id.as_bytes()) => id.clone(),
        _ => fresh(),
    }
}

/// No quotes, no spaces, no control characters: nothing that could forge a log line.
fn sane(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(b))
}

fn fresh() -> HeaderValue {
    let prefix = PREFIX.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without randomness ids of two nodes may be the same; nothing but a log depends on it.
        let _ = getrandom::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    let id = format!("{prefix:016x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(id).unwrap())])
    }

    #[test]
    fn a_sane_id_is_kept() {
        assert_eq!(of(&asked("a-B_3.4:5/6")), "a-B_3.4:5/6");
    }

    #[test]
    fn an_id_that_could_forge_a_log_line_is_replaced() {
        for bad in ["a b", "\"", &"x".repeat(129), ""] {
            assert_ne!(of(&asked(bad)), bad);
        }
    }

    #[test]
    fn no_two_requests_have_the_same_id() {
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
