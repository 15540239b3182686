//! Several nodes, one after the other taking every part: sockets here, homes there, links that fail, homes that move.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod client;
mod ending;
mod forwarding;
mod net;
mod operating;
mod stage;
mod watching;
