//! rollcall-node
