//! The cluster as operators see and change it. Source: contract, section 10.

use crate::{
    api::Api,
    problem::Problem,
    request::{Answered, BYTES, Call, Need, json},
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::IntoResponse,
};
use futures::StreamExt;
use http::{Method, StatusCode, header};
use rollcall_presence::NodeName;
use serde::Serialize;
use std::convert::Infallible;

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

/// `GET /v1/cluster/backup`
pub(crate) async fn backup(State(api): State<Api>, request: Request) -> Answered {
    let head = request.method() == Method::HEAD;
    let call = Call::read(api, request, Need::Admin)?;
    call.query(&[])?;
    call.charge(0)?;
    let body =
        if head { Body::empty() } else { Body::from_stream(call.service().backup().await?.map(Ok::<_, Infallible>)) };
    Ok(([(header::CONTENT_TYPE, BYTES)], body).into_response())
}

/// `POST /v1/cluster/restore`
pub(crate) async fn restore(State(api): State<Api>, request: Request) -> Answered {
    let call = Call::write_bytes(api, request, Need::Admin).await?;
    let overwrite = match call.query(&["overwrite"])?.get("overwrite") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::invalid("overwrite", "must be true or false")),
    };
    call.charge(0)?;
    json(StatusCode::OK, &call.service().restore(call.body().clone(), overwrite).await?)
}
