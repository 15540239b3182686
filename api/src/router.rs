//! Which path and method lead where: one table, of which the router is built and which the OpenAPI document describes. A route that is
//! not here is refused before anybody asks who is calling.

use crate::{
    api::Api,
    cluster, connect,
    document::{Said, said},
    events, health, lists,
    meter::Meter,
    metrics, pages, privacy,
    problem::{Code, Problem},
    profile, reading, sessions, status,
};
use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::Response,
    routing::{MethodFilter, MethodRouter, on},
};
use http::Method;

/// A path and a method of it, with what happens there and what the document says of it.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    /// Describes it. Without, there would be no route: that is why it stands here.
    pub(crate) said: fn() -> Said,
    /// Whether `http.ops_listen` moves it to another address.
    ops: bool,
    call: MethodRouter<Api>,
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, handler: H, said: fn() -> Said) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let filter = match method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        Self { path, method, said, ops: false, call: on(filter, handler) }
    }

    fn moving(self) -> Self {
        Self { ops: true, ..self }
    }
}

fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H, said: fn() -> Said) -> Route {
    Route::new(Method::GET, path, handler, said)
}

fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H, said: fn() -> Said) -> Route {
    Route::new(Method::POST, path, handler, said)
}

fn put<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H, said: fn() -> Said) -> Route {
    Route::new(Method::PUT, path, handler, said)
}

fn delete<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H, said: fn() -> Said) -> Route {
    Route::new(Method::DELETE, path, handler, said)
}

/// Every route of the contract.
pub(crate) fn table() -> Vec<Route> {
    let mut all = users();
    all.extend(lists());
    all.extend([
        post("/v1/presence/query", reading::query, said::query),
        get("/v1/connect", connect::connect, said::connect),
        get("/v1/events", events::events, said::events),
        get("/v1/cluster/status", cluster::status, said::cluster_status),
        get("/v1/cluster/locate/{user}", cluster::locate, said::locate),
        post("/v1/cluster/nodes/{name}/drain", cluster::drain, said::drain),
        delete("/v1/cluster/nodes/{name}", cluster::remove, said::remove),
        get("/v1/cluster/backup", cluster::backup, said::backup),
        post("/v1/cluster/restore", cluster::restore, said::restore),
        get("/healthz", health::lives, said::lives).moving(),
        get("/readyz", health::ready, said::ready).moving(),
        get("/metrics", metrics::metrics, said::metrics).moving(),
        get("/openapi.json", pages::document, said::document),
        get("/docs", pages::docs, said::docs),
        get("/docs/{file}", pages::docs_file, said::docs_file),
        get("/", pages::dashboard, said::dashboard),
        get("/dashboard/{file}", pages::dashboard_file, said::dashboard_file),
    ]);
    all
}

fn users() -> Vec<Route> {
    vec![
        delete("/v1/users/{user}", reading::delete_user, said::delete_user),
        get("/v1/users/{user}/presence", reading::presence, said::presence),
        get("/v1/users/{user}/history", reading::history, said::history),
        get("/v1/users/{user}/sessions", sessions::list, said::sessions),
        post("/v1/users/{user}/sessions", sessions::open, said::open_session),
        put("/v1/users/{user}/sessions/{session}", sessions::heartbeat, said::heartbeat),
        delete("/v1/users/{user}/sessions/{session}", sessions::end, said::end_session),
        get("/v1/users/{user}/status", status::get, said::status),
        put("/v1/users/{user}/status", status::put, said::put_status),
        delete("/v1/users/{user}/status", status::clear, said::clear_status),
        get("/v1/users/{user}/privacy", privacy::get, said::privacy),
        put("/v1/users/{user}/privacy", privacy::put, said::put_privacy),
        get("/v1/users/{user}/profile", profile::get, said::profile),
        put("/v1/users/{user}/profile", profile::put, said::put_profile),
        delete("/v1/users/{user}/profile", profile::delete, said::delete_profile),
    ]
}

fn lists() -> Vec<Route> {
    vec![
        get("/v1/users/{user}/contacts", lists::contacts, said::contacts),
        post("/v1/users/{user}/contacts", lists::change_contacts, said::change_contacts),
        put("/v1/users/{user}/contacts/{other}", lists::add_contact, said::add_contact),
        delete("/v1/users/{user}/contacts/{other}", lists::remove_contact, said::remove_contact),
        get("/v1/users/{user}/blocks", lists::blocks, said::blocks),
        post("/v1/users/{user}/blocks", lists::change_blocks, said::change_blocks),
        put("/v1/users/{user}/blocks/{other}", lists::add_block, said::add_block),
        delete("/v1/users/{user}/blocks/{other}", lists::remove_block, said::remove_block),
    ]
}

/// The contract's routes, with health and metrics unless the settings move them to an address of their own.
pub(crate) fn whole(api: &Api) -> Router {
    let http = &api.options().http;
    let moved = http.ops_listen.as_ref().is_some_and(|ops| *ops != http.listen);
    built(api, |route| !(moved && route.ops))
}

/// What operators' machinery asks, on an address of its own.
pub(crate) fn ops_only(api: &Api) -> Router {
    built(api, |route| route.ops)
}

fn built(api: &Api, here: impl Fn(&Route) -> bool) -> Router {
    let mut router = Router::new();
    for Route { path, method, call, .. } in table().into_iter().filter(here) {
        let meter = api.metrics().route(path, &method);
        router = router.route(path, call.route_layer(middleware::from_fn_with_state(meter, metered)));
    }
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(api.clone())
}

/// Says which route gave the answer: the envelope counts it, once it is whole.
async fn metered(State(meter): State<Meter>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(meter);
    response
}

async fn no_route() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path")
}

async fn no_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this path has other methods, see Allow")
}
