//! The one binary form of everything stored or sent: bincode 2, little endian, variable integers, bounded, consumed whole.

use crate::limits::COMMAND_MAX_BYTES;
use alloc::vec::Vec;
use bincode::{Decode, Encode, config};

/// Most bytes that a decoded value may claim: the largest command times the commands of an entry would allow 10 MiB;
/// proposals are cut at 1 MiB, so four of these leave room for envelopes.
pub const DECODE_MAX_BYTES: usize = 4 * 1_024 * 1_024;

const _: () = assert!(COMMAND_MAX_BYTES < DECODE_MAX_BYTES);

/// What a value may claim of which few bytes arrived: its lengths are foreign, and memory is taken for them before what
/// they count has been read. A few bytes must not cost a megabyte.
const SMALL_BYTES: usize = 4 * 1_024;
const SMALL_CLAIM_MAX_BYTES: usize = 256 * 1_024;
/// The same of what is larger. Lists that nodes send and store are bounded in number (64 commands, 500 subjects, 1,024
/// partitions) or made of items that are stored in a few times their size, so that nothing honest claims 16 times its bytes.
const MIDDLE_BYTES: usize = 64 * 1_024;
const MIDDLE_CLAIM_MAX_BYTES: usize = 1_024 * 1_024;

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

/// Encodes `value`. Types of this crate always encode.
#[must_use]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // Encoding into a growing vector fails only for types that refuse themselves (a poisoned lock, a time before the
    // epoch); no type that crosses this function has one, and the golden-bytes tests encode each of them.
    bincode::encode_to_vec(value, config::standard()).unwrap_or_default()
}

/// Decodes one `T` from all of `bytes`.
///
/// # Errors
/// [`CodecError`] when the bytes are malformed, claim too much, or hold more than the value.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    const BINARY: config::Configuration = config::standard();
    let decoded = if bytes.len() <= SMALL_BYTES {
        bincode::decode_from_slice(bytes, BINARY.with_limit::<SMALL_CLAIM_MAX_BYTES>())
    } else if bytes.len() <= MIDDLE_BYTES {
        bincode::decode_from_slice(bytes, BINARY.with_limit::<MIDDLE_CLAIM_MAX_BYTES>())
    } else {
        bincode::decode_from_slice(bytes, BINARY.with_limit::<DECODE_MAX_BYTES>())
    };
    let (value, used) = decoded.map_err(|_| CodecError::Malformed)?;
    if used == bytes.len() { Ok(value) } else { Err(CodecError::Trailing(bytes.len() - used)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// In memory 264 bytes, a single one as bytes.
    const WIDE: Option<[u64; 32]> = None;

    #[test]
    fn few_bytes_cannot_claim_much_memory() {
        let listed = |count: usize| decode::<Vec<Option<[u64; 32]>>>(&encode(&vec![WIDE; count]));
        assert_eq!(listed(900).map(|list| list.len()), Ok(900));
        assert_eq!(listed(1_000), Err(CodecError::Malformed), "over 256 KiB of a thousand bytes");
        assert_eq!(listed(5_000), Err(CodecError::Malformed), "over 1 MiB of five thousand");
        assert_eq!(listed(20_000), Err(CodecError::Malformed), "over 4 MiB are never taken");
    }
}
