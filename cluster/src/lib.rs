//! rollcall-cluster
