//! Values longer than a stored value may be, cut into pieces that lie one after the other.

use crate::{
    limits::VALUE_MAX_BYTES,
    store::envelope::{self, EnvelopeError},
};

/// A long value as it is stored: what replaces it need not read it again.
#[derive(Debug, Default)]
pub(crate) struct Pieces(pub(super) Vec<Vec<u8>>);

/// The key of a piece of the value under `key`.
pub(super) fn piece_key(key: &[u8], piece: u8) -> Vec<u8> {
    let mut piece_key = Vec::with_capacity(key.len() + 1);
    piece_key.extend_from_slice(key);
    piece_key.push(piece);
    piece_key
}

/// In how many pieces a value is kept, judged by its first.
pub(super) fn pieces_of(first: &[u8]) -> Result<u8, EnvelopeError> {
    let len = envelope::sealed_len(first)?;
    u8::try_from(len.div_ceil(VALUE_MAX_BYTES)).map_err(|_| EnvelopeError::Malformed)
}
