//! A node of Rollcall: users' actors, sessions, watch tables, fan-out, timers, the presence service made of them, and the program.

pub mod admin;
pub mod assembly;
pub mod backups;
pub mod bounds;
pub mod clock;
pub mod doors;
pub mod home;
pub mod homes;
pub mod key_file;
pub mod logging;
pub mod node;
pub mod nodes;
pub mod openings;
pub mod peers;
pub mod planted;
pub mod program;
pub mod reloading;
pub mod report;
mod seeking;
pub mod serve;
pub mod service;
mod signals;
pub mod sockets;
pub mod status;
pub mod ties;
pub mod token;
pub mod welcome;
