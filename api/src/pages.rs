//! Pages for people, and the document that one of them shows. Every file is part of the program; nothing is loaded from elsewhere.

use crate::{
    api::Api,
    page_headers::page,
    problem::{Code, Problem},
    request::Answered,
};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of a page.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// The same after gzip, where that is worth it.
    gzip: Option<&'static [u8]>,
}

const VIEWER: File = File {
    name: "viewer.js",
    kind: SCRIPT,
    bytes: include_bytes!("../assets/rapidoc/rapidoc-min.js"),
    gzip: Some(include_bytes!("../assets/rapidoc/rapidoc-min.js.gz")),
};
const DOCS_STYLE: File =
    File { name: "docs.css", kind: STYLE, bytes: include_bytes!("../assets/docs/docs.css"), gzip: None };
const DASHBOARD_SCRIPT: File =
    File { name: "dashboard.js", kind: SCRIPT, bytes: include_bytes!("../assets/dashboard/dashboard.js"), gzip: None };
const DASHBOARD_STYLE: File =
    File { name: "dashboard.css", kind: STYLE, bytes: include_bytes!("../assets/dashboard/dashboard.css"), gzip: None };

/// `GET /openapi.json`
pub(crate) async fn document(State(api): State<Api>) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, JSON)], api.document()).into_response()
}

/// `GET /docs`
pub(crate) async fn docs() -> Response {
    page(HTML, include_str!("../assets/docs/index.html"))
}

/// `GET /docs/{file}`
pub(crate) async fn docs_file(Path(name): Path<String>, headers: HeaderMap) -> Answered {
    file(&[VIEWER, DOCS_STYLE], &name, &headers)
}

/// `GET /`
pub(crate) async fn dashboard() -> Response {
    page(HTML, include_str!("../assets/dashboard/index.html"))
}

/// `GET /dashboard/{file}`
pub(crate) async fn dashboard_file(Path(name): Path<String>, headers: HeaderMap) -> Answered {
    file(&[DASHBOARD_SCRIPT, DASHBOARD_STYLE], &name, &headers)
}

fn file(files: &[File], name: &str, headers: &HeaderMap) -> Answered {
    let found = files.iter().find(|file| file.name == name);
    let file = found.ok_or_else(|| Problem::new(Code::NotFound, "there is nothing at this path"))?;
    let Some(gzip) = file.gzip else { return Ok(page(file.kind, file.bytes)) };
    let packed = takes_gzip(headers);
    let mut response = page(file.kind, if packed { gzip } else { file.bytes });
    let answer = response.headers_mut();
    answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    // Files of one build; a newer program is asked again within the hour.
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    if packed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether the client names gzip, and not with a quality of zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    named.flat_map(|v| v.split(',')).any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let gzip = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        gzip && !pieces.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_whom_takes_it() {
        let asked = |with: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(with).unwrap())]);
            file(&[VIEWER], "viewer.js", &headers).unwrap().headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(asked("gzip") && asked("br, GZIP;q=0.5"));
        assert!(!asked("br") && !asked("gzip;q=0") && !asked("xgzip"));
    }
}
