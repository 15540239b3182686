//! What every answer carries, whoever gave it: request id, no caching, what browsers need, and the body of a problem.

use crate::{
    api::Api,
    cors::Cors,
    problem::{Code, Problem},
    request_id::{self, X_REQUEST_ID},
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::{HeaderValue, StatusCode, header};
use std::panic::AssertUnwindSafe;
use tower::ServiceExt;

/// Answers a request, or refuses it as was found before it had a route.
pub(crate) async fn answer(api: &Api, router: Router, request: Request<Body>, refused: Option<Problem>) -> Response {
    let id = request_id::of(request.headers());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let versioned = request.uri().path().starts_with("/v1/");
    let mut response = if let Some(problem) = refused {
        problem.into_response()
    } else if versioned && api.cors().is_preflight(request.method(), request.headers()) {
        let mut permitted = StatusCode::NO_CONTENT.into_response();
        Cors::permit(permitted.headers_mut());
        permitted
    } else {
        // A panic is a defect of one request and must cost no other one on this connection.
        match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Err(_) => Problem::new(Code::Internal, "internal error").into_response(),
        }
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        problem.write(&mut response, id.to_str().unwrap_or(""));
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if versioned {
        api.cors().expose(origin.as_ref(), headers);
    }
    response
}
