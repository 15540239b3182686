//! rollcall-node
pub mod program;
