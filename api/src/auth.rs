//! Who makes a request: the token of its `Authorization` header, or of a browser's WebSocket subprotocol.

use crate::{
    keys::Keys,
    problem::{Code, Problem},
    token::{Identity, Refused},
};
use http::{HeaderMap, header};
use std::sync::Arc;

/// The subprotocol of the contract's WebSocket.
pub(crate) const SUBPROTOCOL: &str = "rollcall.v1";
const BEARER: &str = "bearer.";

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(Code::Unauthenticated, refused.to_string())
    }
}

/// Who the `Authorization` header stands for.
pub(crate) fn by_header(keys: &Keys, headers: &HeaderMap) -> Result<Arc<Identity>, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::Missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or(Refused::Untrusted)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refused::Untrusted);
    }
    keys.verify(token.trim())
}

/// The subprotocols that a WebSocket handshake offers.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).filter(|p| !p.is_empty())
}

/// The token that a WebSocket handshake offers as a subprotocol.
pub(crate) fn offered_token(headers: &HeaderMap) -> Option<&str> {
    offered(headers).find_map(|p| p.strip_prefix(BEARER))
}
