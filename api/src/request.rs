//! A request whose route is known, checked in the contract's order: token, scope, type and size of the body, then syntax.
//!
//! Handlers take it apart with the methods here; each refusal is the contract's problem and names the field.

use crate::{
    api::Api,
    auth, idempotency,
    members::{Members, clipped},
    problem::{Code, Problem},
    service::PresenceService,
    token::Identity,
};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use percent_encoding::percent_decode_str;
use rollcall_presence::{InvalidId, RequestKey, SessionId, UserId, Viewer, limits};
use serde::Serialize;
use std::{borrow::Cow, sync::Arc, time::Duration};

/// Largest body taken, bytes. Contract, section 1.
pub(crate) const BODY_MAX_BYTES: usize = 256 * 1_024;
/// The media type of backups.
pub(crate) const BYTES: &str = "application/octet-stream";
/// So much of a body that is too large is read on, so that the client, still sending, gets to read its refusal.
const DRAIN_MAX_BYTES: usize = 2 * 1_024 * 1_024;
/// How long a client that was refused already may go on sending.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Longest session id taken in a path, bytes. Contract, section 1.
const SESSION_MAX_BYTES: usize = limits::SESSION_ID_MAX_BYTES;

/// What a handler gives back.
pub(crate) type Answered = Result<Response, Problem>;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Anybody with a token.
    Token,
    /// The user in the path, or a service.
    Own,
    /// A service.
    Service,
    /// An operator.
    Admin,
}

/// Where an id stands in a path: `/v1/users/{user}/contacts/{other}`.
const USER_AT: usize = 3;
const OTHER_AT: usize = 5;
/// Where it stands below `/v1/cluster/nodes/` and `/v1/cluster/locate/`.
const CLUSTER_AT: usize = 4;

/// A request that may be carried out, if its syntax is right.
#[derive(Debug)]
pub(crate) struct Call {
    api: Api,
    parts: Parts,
    identity: Arc<Identity>,
    body: Bytes,
}

impl Call {
    /// A call without a body.
    ///
    /// # Errors
    /// 401 or 403.
    pub(crate) fn read(api: Api, request: Request, need: Need) -> Result<Self, Problem> {
        let (parts, _) = request.into_parts();
        let identity = auth::by_header(&api.options().keys, &parts.headers)?;
        permitted(&parts, &identity, need)?;
        Ok(Self { api, parts, identity, body: Bytes::new() })
    }

    /// A call with a body, or one that changes something.
    ///
    /// # Errors
    /// 401, 403, 415, 413, and 400 for a body that does not come in time.
    pub(crate) async fn write(api: Api, request: Request, need: Need) -> Result<Self, Problem> {
        Self::write_typed(api, request, need, typed).await
    }

    /// As [`write`](Self::write), of a body that is no JSON.
    pub(crate) async fn write_bytes(api: Api, request: Request, need: Need) -> Result<Self, Problem> {
        Self::write_typed(api, request, need, typed_as_bytes).await
    }

    async fn write_typed(api: Api, request: Request, need: Need, typed: Typed) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let identity = match admitted(&api, &parts, &body, need, typed) {
            Ok(identity) => identity,
            Err(problem) => {
                drained(&parts, body).await;
                return Err(problem);
            }
        };
        let within = Duration::from_millis(api.options().http.body_timeout_ms);
        let body = if body.is_end_stream() { Bytes::new() } else { received(&parts, body, within).await? };
        Ok(Self { api, parts, identity, body })
    }

    /// The body as it came.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    pub(crate) fn service(&self) -> &dyn PresenceService {
        self.api.service()
    }

    /// Charges the call and the `ids` that it asks for to its user: after its syntax was checked, before it takes effect.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn charge(&self, ids: usize) -> Result<(), Problem> {
        self.api.rates().user(&self.identity, ids)
    }

    /// Who asks, as the homes judge it.
    pub(crate) fn viewer(&self) -> Viewer {
        self.identity.viewer()
    }

    /// Who asks.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// `{user}` of the path.
    pub(crate) fn user(&self) -> Result<UserId, Problem> {
        self.user_at(USER_AT)
    }

    /// `{user}` of `/v1/cluster/locate/{user}`.
    pub(crate) fn located_user(&self) -> Result<UserId, Problem> {
        self.user_at(CLUSTER_AT)
    }

    fn user_at(&self, at: usize) -> Result<UserId, Problem> {
        match &*segment(&self.parts, at) {
            "me" => Ok(self.identity.user.clone()),
            text => UserId::new(text).map_err(|e| Problem::invalid("user", e.rule)),
        }
    }

    /// `{other}` of the path.
    pub(crate) fn other(&self) -> Result<UserId, Problem> {
        self.id_at(OTHER_AT, "other", UserId::new)
    }

    /// `{session}` of the path; `None` for one that no node can have minted, since ids are opaque to clients.
    pub(crate) fn session(&self) -> Result<Option<SessionId>, Problem> {
        let text = segment(&self.parts, OTHER_AT);
        let url_safe = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if text.len() > SESSION_MAX_BYTES || !url_safe {
            return Err(Problem::invalid("session", "must be at most 64 URL-safe bytes"));
        }
        Ok(SessionId::new(&text).ok())
    }

    /// `{name}` of `/v1/cluster/nodes/{name}`.
    pub(crate) fn node<T>(&self, new: fn(&str) -> Result<T, InvalidId>) -> Result<T, Problem> {
        self.id_at(CLUSTER_AT, "name", new)
    }

    fn id_at<T>(&self, at: usize, name: &str, new: fn(&str) -> Result<T, InvalidId>) -> Result<T, Problem> {
        new(&segment(&self.parts, at)).map_err(|e| Problem::invalid(name, e.rule))
    }

    /// The query's parameters, each known and given once.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(self.parts.uri.query(), known)
    }

    /// The members of the body; none if it is absent.
    pub(crate) fn members(&self) -> Result<Members<'_>, Problem> {
        self.query(&[])?;
        if self.body.is_empty() { Ok(Members::default()) } else { Members::parse(&self.body, "body") }
    }

    /// Refuses a query, and a body that says anything.
    pub(crate) fn nothing_else(&self) -> Result<(), Problem> {
        self.members()?.finish()
    }

    /// The idempotency key, if there is one.
    pub(crate) fn key(&self) -> Result<Option<RequestKey>, Problem> {
        idempotency::key_of(&self.parts.headers, &self.parts.method, self.parts.uri.path(), &self.body)
    }
}

/// The path's segment at `at`, percent-decoded once; what is no UTF-8 becomes a character that no id holds.
fn segment(parts: &Parts, at: usize) -> Cow<'_, str> {
    percent_decode_str(parts.uri.path().split('/').nth(at).unwrap_or("")).decode_utf8_lossy()
}

/// Whether the token's scopes reach as far as the call needs, whether or not the user exists.
fn permitted(parts: &Parts, identity: &Identity, need: Need) -> Result<(), Problem> {
    let reaches = match need {
        Need::Token => true,
        Need::Own => {
            let user = segment(parts, USER_AT);
            identity.service || identity.own && (user == "me" || user == *identity.user)
        }
        Need::Service => identity.service,
        Need::Admin => identity.admin,
    };
    if reaches { Ok(()) } else { Err(Problem::new(Code::Forbidden, "the token's scopes do not reach that far")) }
}

/// Token, scope and type of a call with a body.
fn admitted(api: &Api, parts: &Parts, body: &Body, need: Need, typed: Typed) -> Result<Arc<Identity>, Problem> {
    let identity = auth::by_header(&api.options().keys, &parts.headers)?;
    permitted(parts, &identity, need)?;
    if !body.is_end_stream() {
        typed(parts)?;
    }
    Ok(identity)
}

/// Judges what a body says it is.
type Typed = fn(&Parts) -> Result<(), Problem>;

fn is_plain(parts: &Parts) -> bool {
    parts.headers.get(header::CONTENT_ENCODING).is_none_or(|e| e.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Refuses a body that says it is something else than bytes.
fn typed_as_bytes(parts: &Parts) -> Result<(), Problem> {
    let bytes = parts.headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes() == BYTES.as_bytes());
    if is_plain(parts) && bytes {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType, "the body must be application/octet-stream, not encoded"))
    }
}

/// Refuses a body that says it is something else than JSON in UTF-8.
fn typed(parts: &Parts) -> Result<(), Problem> {
    let plain = is_plain(parts);
    let json = parts.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).is_some_and(|value| {
        let mut pieces = value.split(';').map(str::trim);
        let essence = pieces.next().unwrap_or("");
        essence.eq_ignore_ascii_case("application/json")
            && pieces.all(|p| match p.split_once('=') {
                Some((name, set)) if name.eq_ignore_ascii_case("charset") => {
                    set.trim_matches('"').eq_ignore_ascii_case("utf-8")
                }
                _ => true,
            })
    });
    if plain && json {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType, "the body must be application/json in UTF-8, not encoded"))
    }
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("the body must be at most {BODY_MAX_BYTES} bytes"))
}

/// Reads what a refused client is sending already, within bounds: closed on meanwhile, it would not get to read why.
async fn drained(parts: &Parts, mut body: Body) {
    let mut left = DRAIN_MAX_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    if !parts.headers.contains_key(header::EXPECT) {
        let _ = tokio::time::timeout(DRAIN_MAX, reading).await;
    }
}

/// Receives the whole body.
async fn received(parts: &Parts, body: Body, within: Duration) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        // Announced: whether it comes makes no difference.
        drained(parts, body).await;
        return Err(too_large());
    }
    let late = |_| Problem::new(Code::Late, format!("body: must be complete within {} ms", within.as_millis()));
    tokio::time::timeout(within, collected(body)).await.map_err(late)?
}

async fn collected(mut body: Body) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::invalid("body", "did not arrive whole"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        count += bytes.len();
        if count > BODY_MAX_BYTES + DRAIN_MAX_BYTES {
            return Err(too_large());
        }
        if count > BODY_MAX_BYTES {
            continue;
        }
        if first.is_empty() {
            first = bytes;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&bytes);
        }
    }
    match count {
        0..=BODY_MAX_BYTES if all.is_empty() => Ok(first),
        0..=BODY_MAX_BYTES => Ok(all.freeze()),
        _ => Err(too_large()),
    }
}

/// The parameters of a query.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Form-decodes a query.
    ///
    /// # Errors
    /// 400 for a parameter that is not known or comes twice.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut given = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Problem::invalid(&clipped(&name), "is not a parameter here"));
            }
            if given.iter().any(|(n, _)| *n == name) {
                return Err(Problem::invalid(&name, "must be given once"));
            }
            given.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(given))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// An integer from `min` to `max`, in digits only.
    pub(crate) fn integer(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(n) if digits && (min..=max).contains(&n) => Ok(Some(n)),
            _ => Err(Problem::invalid(name, format_args!("must be an integer from {min} to {max}"))),
        }
    }

    /// How many items a page has at most.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.integer("limit", 1, limits::PAGE_MAX as u64)?;
        Ok(limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(limits::PAGE_DEFAULT))
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answered {
    let bytes = serde_json::to_vec(body).map_err(|e| {
        tracing::error!(error = %e, "an answer could not be serialized");
        Problem::new(Code::Internal, "internal error")
    })?;
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, JSON)], bytes).into_response())
}

/// An answer without a body.
pub(crate) fn no_content() -> Answered {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A service answered something that the call cannot have led to.
pub(crate) fn unexpected(what: &impl std::fmt::Debug) -> Problem {
    tracing::error!(answer = ?what, "the service gave an answer that does not fit the call");
    Problem::new(Code::Internal, "internal error")
}
