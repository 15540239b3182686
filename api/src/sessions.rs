//! Sessions over HTTP: opening, heartbeats, ending, and the list of live ones. Source: contract, section 5.

use crate::{
    api::{Api, now_ms},
    problem::{Code, Problem},
    request::{Answered, Call, Need, json, no_content, unexpected},
    service::{LiveSession, ServiceError},
};
use axum::extract::{Request, State};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header};
use rollcall_presence::{Activity, Answer, Device, EndCause, Intent, SessionId, SessionKind, UnixMs};
use serde::Serialize;

/// Randomness of a session id, bytes: unguessable.
const ID_BYTES: usize = 16;
/// The device of a client that does not say. Contract, section 1.
const UNKNOWN_DEVICE: &str = "unknown";
const ACTIVITIES: &str = "must be \"active\" or \"idle\"";

#[derive(Serialize)]
struct Opened<'a> {
    session: &'a SessionId,
    heartbeat_ms: u64,
    ttl_ms: u64,
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    session: SessionId,
    device: Device,
    activity: Activity,
    kind: SessionKind,
    opened: UnixMs,
    last_heartbeat: UnixMs,
}

impl From<LiveSession> for Listed {
    fn from(live: LiveSession) -> Self {
        let LiveSession { session, device, activity, kind, opened, last_heartbeat } = live;
        Self { session, device, activity, kind, opened, last_heartbeat }
    }
}

/// A session id that nobody can guess.
fn fresh_id() -> Result<SessionId, Problem> {
    let mut bytes = [0; ID_BYTES];
    let random = getrandom::fill(&mut bytes).ok().and_then(|()| SessionId::new(&URL_SAFE_NO_PAD.encode(bytes)).ok());
    random.ok_or_else(|| Problem::new(Code::Internal, "no randomness for a session id"))
}

/// The device of a client that does not say.
pub(crate) fn unknown_device() -> Result<Device, Problem> {
    Device::new(UNKNOWN_DEVICE).map_err(|e| Problem::invalid("device", e.rule))
}

/// `POST /v1/users/{user}/sessions`
pub(crate) async fn open(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let user = call.user()?;
    let mut body = call.members()?;
    let device = body.id("device", Device::new)?.map_or_else(unknown_device, Ok)?;
    let activity = body.word("activity", ACTIVITIES)?.unwrap_or(Activity::Active);
    body.finish()?;
    let intent = Intent::OpenSession {
        session: fresh_id()?,
        device,
        activity,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    };
    let key = call.key()?;
    call.charge(0)?;
    let session = match call.service().write(&user, intent, key).await? {
        Answer::Session(session) => session.id,
        other => return Err(unexpected(&other)),
    };
    let presence = &call.api().options().presence;
    let opened = Opened { session: &session, heartbeat_ms: presence.heartbeat_ms, ttl_ms: presence.session_ttl_ms };
    let mut answer = json(StatusCode::CREATED, &opened)?;
    // Both ids consist of characters that a path may hold as they are.
    if let Ok(location) = HeaderValue::try_from(format!("/v1/users/{user}/sessions/{session}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// `PUT /v1/users/{user}/sessions/{session}`
pub(crate) async fn heartbeat(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let (user, session) = (call.user()?, call.session()?);
    let mut body = call.members()?;
    let activity = body.word("activity", ACTIVITIES)?;
    body.finish()?;
    let key = call.key()?;
    let session = session.ok_or(ServiceError::UnknownSession)?;
    call.charge(0)?;
    call.service().heartbeat(&user, &session, activity, key).await?;
    no_content()
}

/// `DELETE /v1/users/{user}/sessions/{session}`
pub(crate) async fn end(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let (user, session) = (call.user()?, call.session()?);
    call.nothing_else()?;
    let key = call.key()?;
    if let Some(session) = session {
        let intent = Intent::EndSession { session, attachment: None, cause: EndCause::Closed, heard_at: now_ms() };
        call.charge(0)?;
        call.service().write(&user, intent, key).await?;
    }
    no_content()
}

/// `GET /v1/users/{user}/sessions`
pub(crate) async fn list(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Own)?;
    let user = call.user()?;
    call.query(&[])?;
    call.charge(0)?;
    let live = call.service().sessions(&user).await?;
    json(StatusCode::OK, &Sessions { sessions: live.into_iter().map(Listed::from).collect() })
}
