//! The privacy setting. Source: contract, section 6.

use crate::{
    api::Api,
    request::{Answered, Call, Need, json, unexpected},
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::{Answer, Audience, Intent, Privacy};
use serde::Serialize;

const AUDIENCES: &str = "must be \"contacts\" or \"nobody\"";

#[derive(Serialize)]
struct PrivacyJson {
    last_seen: Audience,
    devices: Audience,
}

fn answer(privacy: Privacy) -> Answered {
    json(StatusCode::OK, &PrivacyJson { last_seen: privacy.last_seen, devices: privacy.devices })
}

/// `GET /v1/users/{user}/privacy`
pub(crate) async fn get(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Own)?;
    let user = call.user()?;
    call.query(&[])?;
    call.charge(0)?;
    answer(call.service().privacy(&user).await?)
}

/// `PUT /v1/users/{user}/privacy`
pub(crate) async fn put(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Own).await?;
    let user = call.user()?;
    let mut body = call.members()?;
    let privacy = Privacy {
        last_seen: body.word("last_seen", AUDIENCES)?.unwrap_or(Audience::Contacts),
        devices: body.word("devices", AUDIENCES)?.unwrap_or(Audience::Contacts),
    };
    body.finish()?;
    let key = call.key()?;
    call.charge(0)?;
    match call.service().write(&user, Intent::PutPrivacy(privacy), key).await? {
        Answer::Privacy(privacy) => answer(privacy),
        other => Err(unexpected(&other)),
    }
}
