//! The home of users: what a partition's leader does. Users' actors with live status, timers, the partition's watch table, and the
//! publication of what was committed.

mod committed;
pub mod fanout;
mod liveness;
pub mod partition;
pub mod partition_actor;
pub mod reads;
pub mod request;
pub mod user_actor;
pub mod watching;
