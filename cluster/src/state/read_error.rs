//! Why something cannot be read of a state.

use crate::{partition::NotHeld, store::envelope::EnvelopeError};
use rollcall_presence::{PartitionId, codec};
use std::io;
use thiserror::Error;

/// Why a row cannot be read. Nothing was touched.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("the store cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// No replica is kept here, or not any more.
    #[error(transparent)]
    NotHeld(#[from] NotHeld),
    /// The envelope is not right.
    #[error("a row of partition {partition} is damaged: {why}; take this node out and let it join again as a new one")]
    Damaged {
        /// Whose row.
        partition: PartitionId,
        /// What is wrong with it.
        why: EnvelopeError,
    },
    /// The content is not right.
    #[error("a row of partition {partition} does not decode: {why}; it was written by another version of the program")]
    Undecodable {
        /// Whose row.
        partition: PartitionId,
        /// What is wrong with it.
        why: codec::CodecError,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Disk(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}
