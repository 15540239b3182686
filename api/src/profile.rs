//! The profile: durable metadata of a user, beside the presence. Source: contract, section 6.

use crate::{
    api::Api,
    request::{Answered, Call, Need, json, no_content, unexpected},
    wire::raw,
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::{Answer, Intent, Profile, limits};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct ProfileJson<'a> {
    name: Option<&'a str>,
    meta: &'a RawValue,
}

fn answer(profile: &Profile) -> Answered {
    json(StatusCode::OK, &ProfileJson { name: profile.name.as_deref(), meta: raw(profile.meta.as_json()) })
}

/// `GET /v1/users/{user}/profile`
pub(crate) async fn get(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Token)?;
    let user = call.user()?;
    call.query(&[])?;
    call.charge(1)?;
    answer(&call.service().profile(&call.viewer(), &user).await?)
}

/// `PUT /v1/users/{user}/profile`
pub(crate) async fn put(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let user = call.user()?;
    let mut body = call.members()?;
    let profile = Profile {
        name: body.line("name", limits::PROFILE_NAME_MAX_BYTES)?,
        meta: body.meta("meta", limits::PROFILE_META_MAX_BYTES)?,
    };
    body.finish()?;
    let key = call.key()?;
    call.charge(0)?;
    match call.service().write(&user, Intent::PutProfile(profile), key).await? {
        Answer::Profile(profile) => answer(&profile),
        other => Err(unexpected(&other)),
    }
}

/// `DELETE /v1/users/{user}/profile`
pub(crate) async fn delete(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let user = call.user()?;
    call.nothing_else()?;
    let key = call.key()?;
    call.charge(0)?;
    call.service().write(&user, Intent::DeleteProfile, key).await?;
    no_content()
}
