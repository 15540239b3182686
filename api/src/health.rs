//! Whether the process lives, and whether it can serve; without a token. Source: contract, section 10.

use crate::{
    api::Api,
    problem::{Code, Problem},
    request::{Answered, json},
};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// `GET /healthz`
pub(crate) async fn lives() -> Answered {
    json(StatusCode::OK, &OK)
}

/// `GET /readyz`
pub(crate) async fn ready(State(api): State<Api>) -> Answered {
    api.service().ready().await.map_err(|why| Problem::new(Code::Unavailable, why))?;
    json(StatusCode::OK, &OK)
}
