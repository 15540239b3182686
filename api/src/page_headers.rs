//! Answers that a browser shows as a page, and what a page loads: with the headers that keep strangers out of it.
//!
//! Promises that a page loads nothing from elsewhere, runs no script but files of this server, stands in nobody's frame, and
//! tells nobody where its reader came from.

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, header};

/// What a page may load. Styles may stand in elements, since viewers set them from scripts; scripts may not. The pages' own
/// calls, by HTTP and by WebSocket, go to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every page and every file of one carries.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// A page, or a file that a page loads, of this content type: 200.
pub(crate) fn page(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_nothing_from_elsewhere_and_stands_in_nobodys_frame() {
        let page = page("text/html; charset=utf-8", "<!doctype html>");
        let of = |name: HeaderName| page.headers()[name].to_str().unwrap();
        assert_eq!(page.status(), 200);
        assert_eq!(of(header::CONTENT_TYPE), "text/html; charset=utf-8");
        let policy = of(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("script-src 'self';"), "{policy}");
        assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe-eval"), "{policy}");
        assert_eq!(of(header::X_FRAME_OPTIONS), "DENY");
        assert_eq!(of(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(of(header::REFERRER_POLICY), "no-referrer");
    }
}
