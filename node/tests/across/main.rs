//! Several nodes, one after the other taking every part: sockets here, homes there, links that fail, homes that move.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod client;
mod forwarding;
mod net;
mod stage;
mod watching;
