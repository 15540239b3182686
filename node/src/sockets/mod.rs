//! The side of a node that holds sockets: connections, their outboxes, and whom they watch.
//!
//! Watches are soft state of this side; who may see is decided at the homes and only kept here.

pub mod connection;
pub mod following;
pub mod outbox;
pub mod registry;
mod slot;
pub mod subject;
mod tied;

pub use connection::LiveConnection;
pub use registry::Sockets;
pub use slot::Why;

#[cfg(test)]
mod outbox_tests;
