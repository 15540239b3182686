//! rollcall-config
