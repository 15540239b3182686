//! Which path and method lead where. A route that is not here is refused before anybody asks who is calling.

use crate::{
    api::Api,
    cluster, connect, events, health, lists, privacy,
    problem::{Code, Problem},
    profile, reading, sessions, status,
};
use axum::{
    Router,
    routing::{delete, get, post, put},
};

/// The contract's routes, with health unless the settings move it to an address of its own.
pub(crate) fn whole(api: &Api) -> Router {
    let http = &api.options().http;
    let moved = http.ops_listen.as_ref().is_some_and(|ops| *ops != http.listen);
    let routes = Router::new()
        .merge(users())
        .route("/v1/presence/query", post(reading::query))
        .route("/v1/connect", get(connect::connect))
        .route("/v1/events", get(events::events))
        .route("/v1/cluster/status", get(cluster::status))
        .route("/v1/cluster/locate/{user}", get(cluster::locate))
        .route("/v1/cluster/nodes/{name}/drain", post(cluster::drain))
        .route("/v1/cluster/nodes/{name}", delete(cluster::remove));
    finished(if moved { routes } else { routes.merge(ops()) }, api)
}

/// What operators' machinery asks, on an address of its own.
pub(crate) fn ops_only(api: &Api) -> Router {
    finished(ops(), api)
}

fn ops() -> Router<Api> {
    Router::new().route("/healthz", get(health::lives)).route("/readyz", get(health::ready))
}

fn users() -> Router<Api> {
    Router::new()
        .route("/v1/users/{user}", delete(reading::delete_user))
        .route("/v1/users/{user}/presence", get(reading::presence))
        .route("/v1/users/{user}/history", get(reading::history))
        .route("/v1/users/{user}/sessions", get(sessions::list).post(sessions::open))
        .route("/v1/users/{user}/sessions/{session}", put(sessions::heartbeat).delete(sessions::end))
        .route("/v1/users/{user}/status", get(status::get).put(status::put).delete(status::clear))
        .route("/v1/users/{user}/contacts", get(lists::contacts).post(lists::change_contacts))
        .route("/v1/users/{user}/contacts/{other}", put(lists::add_contact).delete(lists::remove_contact))
        .route("/v1/users/{user}/blocks", get(lists::blocks).post(lists::change_blocks))
        .route("/v1/users/{user}/blocks/{other}", put(lists::add_block).delete(lists::remove_block))
        .route("/v1/users/{user}/privacy", get(privacy::get).put(privacy::put))
        .route("/v1/users/{user}/profile", get(profile::get).put(profile::put).delete(profile::delete))
}

fn finished(routes: Router<Api>, api: &Api) -> Router {
    routes.fallback(no_route).method_not_allowed_fallback(no_method).with_state(api.clone())
}

async fn no_route() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path")
}

async fn no_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this path has other methods, see Allow")
}
