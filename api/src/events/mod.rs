//! `GET /v1/events`: presences as Server-Sent Events, read-only. Source: contract, section 9.
//!
//! It starts with a snapshot; a client that comes back with `Last-Event-ID` gets only what is newer or lost.

mod stream;
mod told;

use crate::{
    api::Api,
    members::bounded,
    problem::{Code, Problem},
    request::{Answered, Call, Need},
    service::{ConnectRequest, Connection, ServiceError},
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::IntoResponse,
};
use http::{HeaderName, HeaderValue, Method, header};
use rollcall_presence::{UserId, limits::WATCH_FRAME_MAX_IDS};
use std::collections::BTreeSet;
use stream::{Events, Opening};
pub(crate) use told::Streams;
use told::{EventId, Known};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Reads an id, whatever it is; one of ours comes out as it went in.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_any_id(text: &str) {
    if let Some(id) = EventId::parse(text) {
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }
}

/// `GET /v1/events`
pub(crate) async fn events(State(api): State<Api>, request: Request) -> Answered {
    let head = request.method() == Method::HEAD;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| EventId::parse(id.to_str().ok()?));
    let call = Call::read(api.clone(), request, Need::Token)?;
    let users = selected(&call)?;
    if head {
        return Ok(answer(Body::empty()));
    }
    call.charge(users.as_ref().map_or(0, Vec::len))?;
    let viewer = call.viewer();
    let known = last.map(|id| api.streams().known(&viewer, id)).unwrap_or_default();
    let wanted = ConnectRequest { viewer, session: None, watch_contacts: users.is_none() };
    let service = api.options().service.clone();
    // In a task of its own: a client that goes away meanwhile must not stop an opening half way.
    let opened = tokio::spawn(async move {
        let (_, mut connection) = service.connect(wanted).await?;
        let opening = opening(&mut *connection, users, known).await?;
        Ok::<_, ServiceError>((connection, opening))
    });
    let (connection, opening) = opened.await.map_err(|_| ServiceError::Internal)??;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Problem::new(Code::Internal, "no randomness for an event id"))?;
    let stream = u64::from_le_bytes(random);
    let events = Events::new(api, call.identity().clone(), connection, stream, opening);
    Ok(answer(Body::from_stream(events)))
}

fn answer(body: Body) -> axum::response::Response {
    const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
    // Proxies that hold answers back would hold back what is only good at once.
    const UNBUFFERED: (HeaderName, HeaderValue) =
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    ([(header::CONTENT_TYPE, EVENTS), UNBUFFERED], body).into_response()
}

/// The users asked for; `None` for the contacts.
fn selected(call: &Call) -> Result<Option<Vec<UserId>>, Problem> {
    let query = call.query(&["watch", "users"])?;
    match (query.get("watch"), query.get("users")) {
        (Some(_), Some(_)) => Err(Problem::invalid("users", "may not be given together with watch")),
        (None | Some("contacts"), None) => Ok(None),
        (Some(_), None) => Err(Problem::invalid("watch", "must be contacts")),
        (None, Some(users)) => {
            let ids = users.split(',').map(UserId::new);
            let ids: BTreeSet<UserId> = ids.collect::<Result<_, _>>().map_err(|e| Problem::invalid("users", e))?;
            bounded("users", ids.len(), WATCH_FRAME_MAX_IDS)?;
            Ok(Some(ids.into_iter().collect()))
        }
    }
}

/// Begins to watch, and finds what the client does not know yet.
async fn opening(
    connection: &mut dyn Connection,
    users: Option<Vec<UserId>>,
    known: Known,
) -> Result<Opening, ServiceError> {
    if let Some(users) = users {
        let users = users.into_iter().map(|user| (user.clone(), known.version(&user))).collect();
        return Ok(Opening { snapshot: connection.watch(users).await?, unwatched: Vec::new(), known });
    }
    let mut snapshot = connection.contacts_snapshot().await?;
    let unwatched = known.no_longer(&snapshot);
    snapshot.retain(|presence| known.lacks(presence));
    Ok(Opening { snapshot, unwatched, known })
}
