//! The state of a partition: rows on disk, rows not yet there, and the step that changes them.

pub(crate) mod cell;
mod merge;
pub(crate) mod pieces;
pub(crate) mod placed;
pub(crate) mod read_error;
pub(crate) mod rows;
pub(crate) mod step;
pub(crate) mod stream;
pub(crate) mod view;
