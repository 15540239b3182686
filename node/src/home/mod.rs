//! The home of users: what a partition's leader does. Users' actors with live status, timers, the partition's watch table, and the
//! publication of what was committed.

mod announcements;
mod committed;
pub mod connections;
pub mod expiring;
pub mod fanout;
pub mod group;
mod last_heard;
mod liveness;
mod parcels;
pub mod partition;
pub mod partition_actor;
pub mod reads;
pub mod request;
pub mod tenure;
pub mod user_actor;
pub mod watching;
