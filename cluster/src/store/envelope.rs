//! The envelope around everything stored: magic, kind, version, length, checksum.
//!
//! Promises that what opens is what was sealed; a flipped bit, a foreign value or a newer version is an error with a clear
//! text. The layout is pinned: changing it needs a new version and a reader for the old one.

use thiserror::Error;

const MAGIC: [u8; 2] = *b"RC";
/// The version written by this program, of every kind.
const VERSION: u8 = 1;
/// magic 2, kind 1, version 1, length 4, crc32c 4
pub(crate) const HEADER_BYTES: usize = 12;

/// What an envelope holds. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Who this node is.
    Identity = 1,
    /// The last round and the digest of the rows that describe groups.
    Round = 2,
    /// A group's vote and the ends of its log.
    LogLedger = 3,
    /// A group's applied point, counts and digest.
    StateHeader = 4,
    /// A log entry.
    LogEntry = 5,
    /// A row of the state.
    StateRow = 6,
    /// A part of a snapshot, as it travels.
    SnapshotChunk = 8,
    /// A slot of the watermark file.
    Watermark = 7,
    /// A question about the cluster itself, as it travels.
    Question = 9,
    /// Its answer.
    Answer = 10,
    /// A part of a backup.
    Backup = 11,
}

/// Why bytes are not the envelope asked for. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Too short, another magic, another length.
    #[error("stored value is cut short or not ours")]
    Malformed,
    /// Ours, but another kind.
    #[error("stored value is of kind {found}, not {wanted}")]
    OtherKind {
        /// The kind found.
        found: u8,
        /// The kind asked for.
        wanted: u8,
    },
    /// Written by a newer program.
    #[error("stored value has format version {found}, this program reads up to {VERSION}")]
    Newer {
        /// The version found.
        found: u8,
    },
    /// The checksum does not hold.
    #[error("stored value has a bad checksum")]
    Checksum,
}

/// Seals `payload`.
#[must_use]
pub(crate) fn seal(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_BYTES + payload.len());
    sealed.extend_from_slice(&MAGIC);
    sealed.push(kind as u8);
    sealed.push(VERSION);
    // Payloads are bounded far below 4 GiB by what decodes.
    sealed.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&sealed), payload);
    sealed.extend_from_slice(&crc.to_le_bytes());
    sealed.extend_from_slice(payload);
    sealed
}

/// How long the whole sealed value is, judged by its beginning.
///
/// # Errors
/// [`EnvelopeError::Malformed`] when this is no beginning of an envelope.
pub(crate) fn sealed_len(beginning: &[u8]) -> Result<usize, EnvelopeError> {
    match beginning.get(..HEADER_BYTES) {
        Some([b'R', b'C', _, _, a, b, c, d, ..]) => Ok(HEADER_BYTES + u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        _ => Err(EnvelopeError::Malformed),
    }
}

/// Opens a sealed value of `kind`.
///
/// # Errors
/// [`EnvelopeError`] when it is not one, whole and unharmed.
pub(crate) fn open(kind: Kind, sealed: &[u8]) -> Result<&[u8], EnvelopeError> {
    if sealed_len(sealed)? != sealed.len() {
        return Err(EnvelopeError::Malformed);
    }
    let (header, payload) = sealed.split_at(HEADER_BYTES);
    let (front, crc) = header.split_at(HEADER_BYTES - 4);
    if crc32c::crc32c_append(crc32c::crc32c(front), payload).to_le_bytes() != *crc {
        return Err(EnvelopeError::Checksum);
    }
    if front[3] > VERSION {
        return Err(EnvelopeError::Newer { found: front[3] });
    }
    if front[2] != kind as u8 {
        return Err(EnvelopeError::OtherKind { found: front[2], wanted: kind as u8 });
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_on_disk_is_pinned() {
        let sealed = seal(Kind::StateRow, b"abc");
        assert_eq!(sealed, [b'R', b'C', 6, 1, 3, 0, 0, 0, 219, 210, 177, 94, b'a', b'b', b'c']);
        assert_eq!(open(Kind::StateRow, &sealed), Ok(&b"abc"[..]));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealed = seal(Kind::LogEntry, b"something that was acknowledged");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(Kind::LogEntry, &bad).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open(Kind::LogEntry, &sealed[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_newer_version_says_so() {
        let mut sealed = seal(Kind::Identity, b"x");
        sealed[3] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&sealed[..8]), b"x").to_le_bytes();
        sealed[8..12].copy_from_slice(&crc);
        assert_eq!(open(Kind::Identity, &sealed), Err(EnvelopeError::Newer { found: 9 }));
    }
}
