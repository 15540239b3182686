//! What every answer carries, whoever gave it: request id, no caching, what browsers need, and the body of a problem.

use crate::{
    api::Api,
    cors::Cors,
    meter::Meter,
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
use std::{panic::AssertUnwindSafe, time::Instant};
use tower::ServiceExt;

/// Answers a request.
pub(crate) async fn answer(api: &Api, router: Router, request: Request<Body>) -> Response {
    let id = request_id::of(request.headers());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let began = Instant::now();
    let versioned = request.uri().path().starts_with("/v1/");
    let mut response = if versioned && api.cors().is_preflight(request.method(), request.headers()) {
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
        api.metrics().refused(problem.code);
        problem.write(&mut response, id.to_str().unwrap_or(""));
    }
    match response.extensions_mut().remove::<Meter>() {
        Some(meter) => meter.answered(response.status(), began.elapsed()),
        None => api.metrics().unrouted().answered(response.status(), began.elapsed()),
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    if versioned || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if versioned {
        api.cors().expose(origin.as_ref(), headers);
    }
    response
}
