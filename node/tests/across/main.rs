//! Several nodes, one after the other taking every part: sockets here, homes there, links that fail, homes that move.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod client;
mod clustered;
mod ending;
mod forwarding;
mod net;
mod operating;
mod real;
mod stage;
#[path = "../../../cluster/tests/bench/switchboard.rs"]
mod switchboard;
mod watching;
