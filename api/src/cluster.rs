//! The cluster as operators see and change it. Source: contract, section 10.

use crate::{
    api::Api,
    request::{Answered, Call, Need, json},
};
use axum::extract::{Request, State};
use http::StatusCode;
use rollcall_presence::NodeName;
use serde::Serialize;

/// `{}`
#[derive(Serialize)]
struct Begun {}

/// `GET /v1/cluster/status`
pub(crate) async fn status(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Admin)?;
    call.query(&[])?;
    call.charge(0)?;
    json(StatusCode::OK, &call.service().cluster_status().await)
}

/// `GET /v1/cluster/locate/{user}`
pub(crate) async fn locate(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::read(api, request, Need::Admin)?;
    let user = call.located_user()?;
    call.query(&[])?;
    call.charge(0)?;
    json(StatusCode::OK, &call.service().locate(&user).await)
}

/// `POST /v1/cluster/nodes/{name}/drain`
pub(crate) async fn drain(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Admin).await?;
    let node = call.node(NodeName::new)?;
    call.nothing_else()?;
    call.charge(0)?;
    call.service().drain(&node).await?;
    json(StatusCode::ACCEPTED, &Begun {})
}

/// `DELETE /v1/cluster/nodes/{name}`
pub(crate) async fn remove(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write(api, request, Need::Admin).await?;
    let node = call.node(NodeName::new)?;
    call.nothing_else()?;
    call.charge(0)?;
    call.service().remove(&node).await?;
    json(StatusCode::ACCEPTED, &Begun {})
}
