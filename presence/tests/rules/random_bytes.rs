//! Bytes from a disk or a peer may be anything: they decode or are refused, and never end the process.

use crate::{deed::any_history, world::World};
use proptest::{collection::vec, prelude::*};
use rollcall_presence::{
    Answer, Entry, HistoryEntry, KeyTable, Ledger, Profile, PublicPresence, UserRecord,
    codec::{self, CodecError},
};

/// Decodes `bytes` as each type; what decodes must encode to as many bytes or fewer, since none are left over.
fn decode_all(bytes: &[u8]) {
    fn decode<T: bincode::Encode + bincode::Decode<()>>(bytes: &[u8]) {
        if let Ok(value) = codec::decode::<T>(bytes) {
            assert!(codec::encode(&value).len() <= bytes.len());
        }
    }
    decode::<Entry>(bytes);
    decode::<UserRecord>(bytes);
    decode::<KeyTable>(bytes);
    decode::<Ledger>(bytes);
    decode::<HistoryEntry>(bytes);
    decode::<Answer>(bytes);
    decode::<Profile>(bytes);
    decode::<PublicPresence>(bytes);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
    }

    #[test]
    fn bytes_with_a_flipped_bit_or_a_missing_tail_never_panic(
        history in any_history(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut world = World::new();
        for deed in &history {
            world.act(deed);
        }
        for stored in &world.users {
            for mut bytes in [codec::encode(&stored.record), codec::encode(&stored.keys)] {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                decode_all(&bytes);
                let _ = codec::decode::<Option<UserRecord>>(&bytes);
                decode_all(&bytes[..at]);
            }
        }
    }
}

#[test]
fn a_hostile_length_is_refused_without_taking_memory() {
    // A list that claims 2^56 entries.
    let claim = [0xfd, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(codec::decode::<KeyTable>(&claim), Err(CodecError::Malformed));
    assert_eq!(codec::decode::<Vec<u8>>(&claim), Err(CodecError::Malformed));
}

#[test]
fn bytes_left_over_are_refused() {
    let mut bytes = codec::encode(&Ledger::default());
    bytes.extend([0, 0]);
    assert_eq!(codec::decode::<Ledger>(&bytes), Err(CodecError::Trailing(2)));
}
