//! Which pages may call the API: those of `http.allowed_origins`, and for a WebSocket also those of this host.

use http::{HeaderMap, HeaderValue, Method, header};

/// How long a browser may remember a preflight's answer, seconds.
const PREFLIGHT_MAX_AGE_S: u64 = 7_200;
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id";
const EXPOSED: &str = "Retry-After, X-Request-Id";

/// The origins that may call.
#[derive(Debug)]
pub(crate) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
}

impl Cors {
    pub(crate) fn new(allowed_origins: &[String]) -> Self {
        let origins = allowed_origins.iter().filter_map(|o| HeaderValue::from_str(o.trim_end_matches('/')).ok());
        Self { any: allowed_origins.iter().any(|o| o == "*"), origins: origins.collect() }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.any || self.origins.contains(origin)
    }

    /// Whether a WebSocket handshake with these headers may come from where it says it comes from. No browser, no
    /// `Origin`; a page of this very host is no stranger.
    pub(crate) fn allows_socket(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        if self.allows(origin) {
            return true;
        }
        let authority = origin.as_bytes().split(|b| *b == b'/').nth(2);
        authority.is_some_and(|a| headers.get(header::HOST).is_some_and(|h| h.as_bytes().eq_ignore_ascii_case(a)))
    }

    /// Whether this is a preflight of a page that may call.
    pub(crate) fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && headers.get(header::ORIGIN).is_some_and(|o| self.allows(o))
    }

    /// Adds what a browser has to be told in a preflight's answer.
    pub(crate) fn permit(answer: &mut HeaderMap) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_MAX_AGE_S));
    }

    /// Adds what a browser has to be told in every answer.
    pub(crate) fn expose(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if !self.any && self.origins.is_empty() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin.filter(|o| self.allows(o)) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("presence.example:7700")),
            (header::ORIGIN, HeaderValue::from_str(origin).unwrap()),
        ])
    }

    #[test]
    fn a_socket_is_taken_from_this_host_and_from_allowed_origins_only() {
        let cors = Cors::new(&["https://app.example".into()]);
        assert!(cors.allows_socket(&HeaderMap::new()));
        assert!(cors.allows_socket(&from("https://app.example")));
        assert!(cors.allows_socket(&from("http://presence.example:7700")));
        for foreign in ["https://evil.example", "https://app.example.evil.example", "http://presence.example", "null"] {
            assert!(!cors.allows_socket(&from(foreign)), "{foreign}");
        }
    }
}
