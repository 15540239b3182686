//! The one binary form of everything stored or sent: bincode 2, little endian, variable integers, bounded, consumed whole.

use crate::limits::COMMAND_MAX_BYTES;
use alloc::vec::Vec;
use bincode::{Decode, Encode, config};

/// Most bytes that a decoded value may claim: the largest command times the commands of an entry would allow 10 MiB;
/// proposals are cut at 1 MiB, so four of these leave room for envelopes.
pub const DECODE_MAX_BYTES: usize = 4 * 1_024 * 1_024;

const _: () = assert!(COMMAND_MAX_BYTES < DECODE_MAX_BYTES);

/// Why bytes were not a value of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes do not decode, or claim more than [`DECODE_MAX_BYTES`].
    #[error("bytes do not decode")]
    Malformed,
    /// A value was decoded, but bytes were left over.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
}

fn configuration() -> impl config::Config {
    config::standard().with_limit::<DECODE_MAX_BYTES>()
}

/// Encodes `value`. Types of this crate always encode.
#[must_use]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // Encoding into a growing vector fails only for types that refuse themselves (a poisoned lock, a time before the
    // epoch); no type that crosses this function has one, and the golden-bytes tests encode each of them.
    bincode::encode_to_vec(value, configuration()).unwrap_or_default()
}

/// Decodes one `T` from all of `bytes`.
///
/// # Errors
/// [`CodecError`] when the bytes are malformed, claim too much, or hold more than the value.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::decode_from_slice(bytes, configuration()).map_err(|_| CodecError::Malformed)?;
    if used == bytes.len() { Ok(value) } else { Err(CodecError::Trailing(bytes.len() - used)) }
}
