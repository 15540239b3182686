//! What every answer carries, whoever gave it: request id, no caching, what browsers need, and the body of a problem.

use crate::{
    api::Api,
    client_address,
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
use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};
use tower::ServiceExt;

/// How long a refusal for too many requests is held back: whoever goes on asking is read more slowly, on this connection only.
const HELD_BACK: Duration = Duration::from_millis(100);

/// Marks an answer whose refusal is said in a frame of an upgraded connection.
#[derive(Debug, Clone)]
pub(crate) struct RefusedInFrame;

/// Answers a request that came from `peer`, or refuses it as was found before it had a route.
pub(crate) async fn answer(
    api: &Api,
    router: Router,
    request: Request<Body>,
    peer: IpAddr,
    refused: Option<Problem>,
) -> Response {
    let id = request_id::of(request.headers());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let began = Instant::now();
    let versioned = request.uri().path().starts_with("/v1/");
    let address = client_address::of(peer, request.headers(), api.trusted_proxies());
    let mut response = if let Some(problem) = refused {
        problem.into_response()
    } else if versioned && api.cors().is_preflight(request.method(), request.headers()) {
        let mut permitted = StatusCode::NO_CONTENT.into_response();
        Cors::permit(permitted.headers_mut());
        permitted
    } else if let Some(limited) = api.rates().request(address).err().filter(|_| versioned) {
        limited.into_response()
    } else {
        // A panic is a defect of one request and must cost no other one on this connection.
        match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Err(_) => Problem::new(Code::Internal, "internal error").into_response(),
        }
    };
    if is_refused(&response)
        && let Err(limited) = api.rates().refusal(address)
    {
        response = limited.into_response();
    }
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        tokio::time::sleep(HELD_BACK).await;
    }
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

/// Whether it is charged to the address: tokens that are guessed, and what is no request of the contract.
fn is_refused(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST)
        || response.extensions().get::<RefusedInFrame>().is_some()
}
