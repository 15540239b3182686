//! Presences, many at once, a user's history, and the end of a user. Source: contract, section 7.

use crate::{
    api::Api,
    cursor,
    members::{INTEGER_MAX, bounded},
    problem::{Code, Problem},
    request::{Answered, Call, Need, json, no_content},
    service::{HistoryQuery, Page, Seen},
    wire::PresenceJson,
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::{HistoryEntry, Intent, Reason, TrueStatus, UnixMs, limits};
use serde::Serialize;

#[derive(Serialize)]
struct Presences<'a> {
    presences: Vec<PresenceJson<'a>>,
}

#[derive(Serialize)]
struct EntryJson<'a> {
    version: u64,
    at: UnixMs,
    status: TrueStatus,
    text: Option<&'a str>,
    reason: Reason,
}

impl<'a> From<&'a HistoryEntry> for EntryJson<'a> {
    fn from(e: &'a HistoryEntry) -> Self {
        Self { version: e.version, at: e.at, status: e.status, text: e.text.as_deref(), reason: e.reason }
    }
}

#[derive(Serialize)]
struct Entries<'a> {
    entries: Vec<EntryJson<'a>>,
    next: Option<String>,
}

/// `GET /v1/users/{user}/presence`
pub(crate) async fn presence(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Token)?;
    let user = call.user()?;
    call.query(&[])?;
    call.charge(1)?;
    let seen = call.service().presences(&call.viewer(), std::slice::from_ref(&user)).await?;
    match seen.first() {
        Some(Seen { presence, stale }) => json(StatusCode::OK, &PresenceJson::new(presence, *stale)),
        None => Err(Problem::new(Code::Internal, "internal error")),
    }
}

/// `POST /v1/presence/query`
pub(crate) async fn query(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Token).await?;
    let mut body = call.members()?;
    let users = body.users("users")?.ok_or_else(|| Problem::invalid("users", "is required"))?;
    body.finish()?;
    bounded("users", users.len(), limits::QUERY_MAX_IDS)?;
    call.charge(users.len())?;
    let seen = call.service().presences(&call.viewer(), &users).await?;
    let presences = seen.iter().map(|s| PresenceJson::new(&s.presence, s.stale)).collect();
    json(StatusCode::OK, &Presences { presences })
}

/// `GET /v1/users/{user}/history`
pub(crate) async fn history(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Own)?;
    let user = call.user()?;
    let given = call.query(&["from", "to", "limit", "cursor"])?;
    let query = HistoryQuery {
        from: given.integer("from", 0, INTEGER_MAX)?.unwrap_or(0),
        to: given.integer("to", 0, INTEGER_MAX)?.unwrap_or(INTEGER_MAX),
        limit: given.limit()?,
        before: given.get("cursor").map(cursor::to_entry).transpose()?,
    };
    call.charge(0)?;
    let Page { items, next } = call.service().history(&user, query).await?;
    let next = next.map(cursor::before_entry);
    json(StatusCode::OK, &Entries { entries: items.iter().map(EntryJson::from).collect(), next })
}

/// `DELETE /v1/users/{user}`
pub(crate) async fn delete_user(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Service).await?;
    let user = call.user()?;
    call.nothing_else()?;
    let key = call.key()?;
    call.charge(0)?;
    call.service().write(&user, Intent::DeleteUser, key).await?;
    no_content()
}
