//! The status setting. Source: contract, sections 4 and 6.

use crate::{
    api::Api,
    members::Members,
    problem::Problem,
    request::{Answered, Call, Need, json, unexpected},
    service::Seen,
    wire::{PresenceJson, raw},
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::{Answer, Intent, ManualStatus, PublicPresence, Setting, UnixMs, limits};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct SettingJson<'a> {
    status: ManualStatus,
    text: Option<&'a str>,
    meta: &'a RawValue,
    expires_at: Option<UnixMs>,
}

#[derive(Serialize)]
struct StatusJson<'a> {
    setting: SettingJson<'a>,
    presence: PresenceJson<'a>,
}

/// The wish that a status body or frame stands for; takes its members.
pub(crate) fn wish(members: &mut Members<'_>) -> Result<Intent, Problem> {
    const STATUSES: &str = "must be \"online\", \"away\", \"dnd\" or \"invisible\"";
    Ok(Intent::PutStatus {
        status: members.word("status", STATUSES)?.ok_or_else(|| Problem::invalid("status", "is required"))?,
        text: members.line("text", limits::TEXT_MAX_BYTES)?,
        meta: members.meta("meta", limits::STATUS_META_MAX_BYTES)?,
        expires_in_s: members.integer("expires_in_s", 1, limits::EXPIRES_IN_MAX_S)?,
    })
}

fn answer(setting: &Setting, presence: &PublicPresence, stale: bool) -> Answered {
    let Setting { status, text, meta, expires_at } = setting;
    let setting =
        SettingJson { status: *status, text: text.as_deref(), meta: raw(meta.as_json()), expires_at: *expires_at };
    json(StatusCode::OK, &StatusJson { setting, presence: PresenceJson::new(presence, stale) })
}

async fn write(call: &Call, intent: Intent) -> Answered {
    let key = call.key()?;
    let user = call.user()?;
    call.charge(0)?;
    match call.service().write(&user, intent, key).await? {
        Answer::Status { setting, presence } => answer(&setting, &presence, false),
        other => Err(unexpected(&other)),
    }
}

/// `PUT /v1/users/{user}/status`
pub(crate) async fn put(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let mut body = call.members()?;
    let intent = wish(&mut body)?;
    body.finish()?;
    tracing::trace!(target: "rollcall::path", hop = "route handler");
    write(&call, intent).await
}

/// `DELETE /v1/users/{user}/status`
pub(crate) async fn clear(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    call.nothing_else()?;
    write(&call, Intent::ClearStatus).await
}

/// `GET /v1/users/{user}/status`
pub(crate) async fn get(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Own)?;
    let user = call.user()?;
    call.query(&[])?;
    call.charge(0)?;
    let (setting, Seen { presence, stale }) = call.service().status(&user).await?;
    answer(&setting, &presence, stale)
}
