//! `GET /v1/connect`: the handshake, up to a socket that is served by a task of its own. Source: contract, section 8.
//!
//! The upgrade is answered once the session is durable. A browser that is refused is upgraded all the same, because it
//! cannot read a refused handshake.

mod conversation;
mod ending;
mod inbound;
mod outbound;
mod pace;
mod socket;

use crate::{
    api::Api,
    auth::{self, SUBPROTOCOL},
    problem::{Code, Problem},
    request::{Answered, Query},
    server::Place,
    service::{ConnectRequest, Connection, NewSession, ServiceError, Welcome},
    sessions::unknown_device,
    token::{Identity, Refused},
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use conversation::Conversation;
use http::{HeaderMap, HeaderValue, header};
use hyper::upgrade::OnUpgrade;
pub(crate) use outbound::{fitting, goodbye_json};
pub(crate) use pace::{Due, Pace};
use rollcall_presence::Device;
use socket::Socket;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// Longest resume token looked at, bytes; a longer one is none of ours, and opens a new session like any unknown one.
const RESUME_MAX_BYTES: usize = 256;
/// Close codes of a refused handshake are this and the HTTP status. Contract, section 8.
const REFUSED_BASE: u16 = 4_000;

/// A connection that the service serves.
struct Admitted {
    identity: Arc<Identity>,
    request: ConnectRequest,
    welcome: Welcome,
    connection: Box<dyn Connection>,
}

/// `GET /v1/connect`
pub(crate) async fn connect(State(api): State<Api>, request: Request) -> Answered {
    let mut request = request.map(drop);
    let shaken = create_response_with_body(&request, Body::empty).ok().map(|r| answered(r, request.headers()));
    let upgrade = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<Place>();
    let readable = auth::offered_token(request.headers()).is_none();
    let reachable = api.cors().allows_socket(request.headers()) && offers_ours(request.headers());
    match (admitted(&api, &request, shaken.is_some()).await, shaken) {
        (Ok(admitted), Some(response)) => {
            tokio::spawn(converse(api, upgrade, admitted, place));
            Ok(response)
        }
        (Err(problem), Some(response)) if !readable && reachable => {
            tokio::spawn(refuse(upgrade, problem, place));
            Ok(response)
        }
        (Err(problem), _) => Err(problem),
        (Ok(_), None) => Err(no_upgrade()),
    }
}

fn no_upgrade() -> Problem {
    Problem::new(Code::InvalidRequest, "this is a WebSocket: ask for an upgrade, version 13")
}

/// Whether the client speaks our subprotocol, or does not care.
fn offers_ours(headers: &HeaderMap) -> bool {
    let mut offered = auth::offered(headers).peekable();
    offered.peek().is_none() || offered.any(|p| p == SUBPROTOCOL)
}

/// The handshake's answer, with the subprotocol if the client asked for it.
fn answered(mut response: Response<Body>, headers: &HeaderMap) -> Response {
    if auth::offered(headers).any(|p| p == SUBPROTOCOL) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// Everything that may refuse a handshake, in the contract's order.
async fn admitted(api: &Api, request: &Request<()>, shaken: bool) -> Result<Admitted, Problem> {
    let headers = request.headers();
    let identity = match auth::offered_token(headers) {
        Some(token) if !headers.contains_key(header::AUTHORIZATION) => api.options().keys.verify(token),
        _ => auth::by_header(&api.options().keys, headers),
    };
    let stranger = !api.cors().allows_socket(headers);
    let identity = match identity {
        // A refused token of a page that may not call at all is not worth an answer that the page could read.
        Err(refused) if !stranger || refused == Refused::Missing => return Err(refused.into()),
        Ok(identity) if !stranger => identity,
        _ => return Err(Problem::new(Code::Forbidden, "pages of this origin may not connect")),
    };
    if !shaken {
        return Err(no_upgrade());
    }
    if !offers_ours(headers) {
        return Err(Problem::invalid("Sec-WebSocket-Protocol", "must offer rollcall.v1"));
    }
    let request = asked(&identity, request.uri().query())?;
    let service = api.options().service.clone();
    let asked = request.clone();
    // In a task of its own: a client that goes away meanwhile must not stop an opening half way.
    let connected = tokio::spawn(async move { service.connect(asked).await });
    let (welcome, connection) = connected.await.map_err(|_| ServiceError::Internal)??;
    Ok(Admitted { identity, request, welcome, connection })
}

/// What the query asks for.
fn asked(identity: &Identity, query: Option<&str>) -> Result<ConnectRequest, Problem> {
    let query = Query::parse(query, &["device", "watch", "session", "resume"])?;
    let one_of = |name, yes, no| match query.get(name) {
        None => Ok(true),
        Some(value) if value == yes => Ok(true),
        Some(value) if value == no => Ok(false),
        Some(_) => Err(Problem::invalid(name, format_args!("must be {yes} or {no}"))),
    };
    let device = query.get("device").map(Device::new).transpose().map_err(|e| Problem::invalid("device", e.rule))?;
    let resume = query.get("resume").filter(|r| r.len() <= RESUME_MAX_BYTES).map(str::to_owned);
    let watch_contacts = one_of("watch", "contacts", "none")?;
    let session = if one_of("session", "true", "false")? {
        Some(NewSession { device: device.map_or_else(unknown_device, Ok)?, resume })
    } else {
        None
    };
    Ok(ConnectRequest { viewer: identity.viewer(), session, watch_contacts })
}

/// Serves an upgraded connection to its end. Without an upgrade the connection is dropped, and counts as lost.
async fn converse(api: Api, upgrade: OnUpgrade, admitted: Admitted, place: Option<Place>) {
    let Ok(upgraded) = upgrade.await else { return };
    let open = api.options().connections.enter();
    let Admitted { identity, request, welcome, connection } = admitted;
    let mut conversation =
        Box::new(Conversation::new(api, Socket::new(upgraded).await, connection, identity, &request));
    let greeted = Box::pin(conversation.greet(&welcome, request.watch_contacts)).await;
    drop((request, welcome));
    let end = match greeted {
        Ok(()) => conversation.go_on().await,
        Err(end) => end,
    };
    Box::pin(conversation.finish(end)).await;
    drop((open, place));
}

/// Tells a browser why it is refused, in the only way that it can read.
async fn refuse(upgrade: OnUpgrade, problem: Problem, place: Option<Place>) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = Socket::new(upgraded).await;
    if socket.send(&mut outbound::error(None, &problem)).await.is_ok() {
        socket.close(REFUSED_BASE + problem.code.status().as_u16(), problem.code.name()).await;
    }
    drop(place);
}
