//! How a conversation may end, and what a broken read or write says of it. Source: contract, section 8.

use super::outbound::Frame;
use crate::{
    problem::{Code, Problem},
    service::GoodbyeReason,
};
use std::{io, task::Poll};
use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
};

const TOO_BIG: u16 = 1_009;
const BAD_PROTOCOL: u16 = 1_002;
const BAD_TEXT: u16 = 1_007;

/// How a conversation ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client closed it, and meant it.
    Closed,
    /// The client is gone, or closed it in some other way.
    Gone,
    /// The server closes it, and says why.
    Goodbye(GoodbyeReason, u64),
    /// The client broke a rule, or could not be served.
    Refused(u16, &'static str),
    /// The client stopped reading in the middle of a frame.
    Slow(Frame),
}

/// How a conversation ends when a write failed.
pub(super) fn stopped(error: &io::Error, rest: Frame) -> End {
    if error.kind() == io::ErrorKind::TimedOut { End::Slow(rest) } else { End::Gone }
}

/// How a conversation ends when reading failed.
pub(super) fn broken(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Refused(TOO_BIG, "frame too large"),
        Error::Utf8(_) => End::Refused(BAD_TEXT, "text is not UTF-8"),
        Error::Protocol(p) if !matches!(p, ProtocolError::ResetWithoutClosingHandshake) => {
            End::Refused(BAD_PROTOCOL, "protocol error")
        }
        _ => End::Gone,
    }
}

/// Why an observer cannot be active.
pub(super) fn no_session() -> Problem {
    Problem::new(Code::InvalidRequest, "an observer has no session to be active in")
}

/// The other side's turn, when this one has nothing.
pub(super) trait OrElse {
    /// This one if it is ready, else what `other` finds.
    fn map_or_pending(self, other: impl FnOnce() -> Self) -> Self;
}

impl<T> OrElse for Poll<T> {
    fn map_or_pending(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_ready() { self } else { other() }
    }
}
