//! Clusters in one process whose links are cut: silence is never taken for death, and nothing is acknowledged by a node that
//! cannot ask the others.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod cut_off;
mod one_frame_per_node;
mod one_link;
