//! The one map from errors to HTTP: every refusal is a [`Problem`], whoever found it.
//!
//! A problem travels as an extension of an empty response; the envelope writes its body, because only the envelope knows
//! the request id. Source: contract, section 3.

use crate::service::ServiceError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::borrow::Cow;

/// The contract's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    NotFound,
    MethodNotAllowed,
    Unauthenticated,
    Forbidden,
    UnsupportedMediaType,
    PayloadTooLarge,
    InvalidRequest,
    /// A request that did not come in time.
    #[serde(rename = "invalid_request")]
    Late,
    /// A request whose head is too large.
    #[serde(rename = "invalid_request")]
    HeadTooLarge,
    UnknownSession,
    Conflict,
    LimitExceeded,
    RateLimited,
    Internal,
    Unavailable,
}

impl Code {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::UnsupportedMediaType,
        Self::PayloadTooLarge,
        Self::InvalidRequest,
        Self::UnknownSession,
        Self::Conflict,
        Self::LimitExceeded,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NotFound | Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::LimitExceeded => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A short title for people, the same for every occurrence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Unauthenticated => "Not authenticated",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::PayloadTooLarge => "Body too large",
            Self::InvalidRequest => "Invalid request",
            Self::Late => "Request too slow",
            Self::HeadTooLarge => "Header too large",
            Self::UnknownSession => "Unknown session",
            Self::Conflict => "Conflict",
            Self::LimitExceeded => "Limit exceeded",
            Self::RateLimited => "Too many requests",
            Self::Internal => "Internal error",
            Self::Unavailable => "Unavailable",
        }
    }

    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::PayloadTooLarge => "payload_too_large",
            Self::InvalidRequest | Self::Late | Self::HeadTooLarge => "invalid_request",
            Self::UnknownSession => "unknown_session",
            Self::Conflict => "conflict",
            Self::LimitExceeded => "limit_exceeded",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request or frame was refused, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: Cow<'static, str>,
    /// When to try again, ms; only with [`Code::RateLimited`] and [`Code::Unavailable`].
    pub(crate) after_ms: Option<u64>,
}

/// When to come back if nobody knows better, ms.
const AFTER_DEFAULT_MS: u64 = 1_000;

#[derive(Serialize)]
struct Body<'a> {
    r#type: Cow<'static, str>,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: Code,
    request_id: &'a str,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let after_ms = matches!(code, Code::RateLimited | Code::Unavailable).then_some(AFTER_DEFAULT_MS);
        Self { code, detail: detail.into(), after_ms }
    }

    /// A broken rule of `field`: 400, naming it.
    pub(crate) fn invalid(field: &str, rule: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidRequest, format!("{field}: {rule}"))
    }

    /// `Retry-After` in whole seconds, at least one.
    fn retry_after_s(&self) -> Option<u64> {
        self.after_ms.map(|ms| ms.div_ceil(1_000).max(1))
    }

    /// Writes the problem as `application/problem+json` into `response`.
    pub(crate) fn write(&self, response: &mut Response, request_id: &str) {
        let body = Body {
            r#type: Cow::Owned(format!("urn:rollcall:problem:{}", self.code.name())),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
        };
        // A struct of strings and numbers always serializes.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
        *response.body_mut() = json.into();
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after_s) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after_s));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceError::UnknownSession => Self::new(Code::UnknownSession, detail),
            ServiceError::KeyReused | ServiceError::Conflict(_) => Self::new(Code::Conflict, detail),
            ServiceError::LimitExceeded { .. } => Self::new(Code::LimitExceeded, detail),
            ServiceError::RateLimited { after_ms } => {
                Self { after_ms: Some(after_ms), ..Self::new(Code::RateLimited, detail) }
            }
            ServiceError::Unavailable { after_ms, .. } => {
                Self { after_ms: Some(after_ms), ..Self::new(Code::Unavailable, detail) }
            }
            ServiceError::UnknownNode => Self::new(Code::NotFound, detail),
            ServiceError::Malformed(_) => Self::invalid("body", detail),
            ServiceError::Internal => Self::new(Code::Internal, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_error_has_its_status_and_code() {
        let cases = [
            (ServiceError::UnknownSession, 404, "unknown_session"),
            (ServiceError::KeyReused, 409, "conflict"),
            (ServiceError::LimitExceeded { what: "contacts", max: 5 }, 422, "limit_exceeded"),
            (ServiceError::RateLimited { after_ms: 1 }, 429, "rate_limited"),
            (ServiceError::Unavailable { why: "no quorum", after_ms: 2_500 }, 503, "unavailable"),
            (ServiceError::UnknownNode, 404, "not_found"),
            (ServiceError::Conflict("the last replica".into()), 409, "conflict"),
            (ServiceError::Malformed("an item is damaged".into()), 400, "invalid_request"),
            (ServiceError::Internal, 500, "internal"),
        ];
        for (error, status, code) in cases {
            let problem = Problem::from(error);
            assert_eq!((problem.code.status().as_u16(), problem.code.name()), (status, code));
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_seconds() {
        let problem = Problem::from(ServiceError::Unavailable { why: "no quorum", after_ms: 2_001 });
        assert_eq!(problem.into_response().headers()[header::RETRY_AFTER], "3");
    }
}
