//! The decoders of bytes from disks and from other nodes, for the targets in `fuzz/` and for the test that reads their kept
//! inputs again.
//!
//! Compiled for fuzzing and for tests only. Each function promises not to panic, whatever it is given, and to demand that
//! what was accepted is written as it was read.

use crate::{
    backup::{Check, Item},
    control::message::{Answer, Question as ControlQuestion},
    peers::{
        frame::Messages,
        proof::Greeting,
        wire::{self, Question, SnapshotOf},
    },
    raft::{log::open_entry, wire as stored},
    state::stream::Chunk,
    store::{
        envelope::{self, Kind},
        ledger::{Described, LogLedger, RoundRow, StateHeader, StoredIdentity},
    },
};
use bincode::{Decode, Encode};
use bytes::Bytes;
use rollcall_presence::{HistoryEntry, KeyTable, Profile, UserRecord, codec};

/// A frame of a link: its messages, and their bodies as questions, answers and greetings.
pub fn peer_frame(bytes: &[u8]) {
    for message in Messages::of(Bytes::copy_from_slice(bytes)).flatten() {
        peer_message(&message.body);
    }
    peer_message(bytes);
}

fn peer_message(body: &[u8]) {
    match Question::decoded(body) {
        Ok(Question::Control(question)) => control(&question),
        Ok(question) => assert!(Question::decoded(&question.encoded()).is_ok()),
        Err(_) => {}
    }
    if let Ok(told) = wire::decode_told(body) {
        assert!(wire::decode_told(&wire::encode_told(told)).is_ok());
    }
    if let Ok(answer) = wire::decode_snapshot_answer(body) {
        assert!(wire::decode_snapshot_answer(&wire::encode_snapshot_answer(&answer)).is_ok());
    }
    control(body);
    same_again::<Greeting>(body);
}

/// A question or answer about the cluster itself, as it came and with an envelope put around it.
fn control(body: &[u8]) {
    for kind in [Kind::Question, Kind::Answer] {
        for sealed in [body, &envelope::seal(kind, body)] {
            if let Some(question) = ControlQuestion::opened(sealed) {
                assert_eq!(ControlQuestion::opened(&question.sealed()), Some(question));
            }
            if let Some(answer) = Answer::opened(sealed) {
                assert_eq!(Answer::opened(&answer.sealed()), Some(answer));
            }
        }
    }
}

/// A record of a log, or of the rows that describe a store, as it came and with an envelope put around it.
pub fn log_record(bytes: &[u8]) {
    let _ = open_entry(bytes);
    if let Ok(entry) = stored::decode_entry(bytes) {
        assert_eq!(stored::decode_entry(&stored::encode_entry(&entry)).ok(), Some(entry));
    }
    described::<StoredIdentity>(bytes);
    described::<RoundRow>(bytes);
    described::<LogLedger>(bytes);
    described::<StateHeader>(bytes);
}

/// What a snapshot is of, its chunks, and the rows that they carry.
pub fn snapshot_record(bytes: &[u8]) {
    if let Ok(of) = SnapshotOf::decoded(bytes) {
        let again = SnapshotOf::decoded(&of.encoded());
        assert_eq!(again.map(|again| again.meta.last_log_id).ok(), Some(of.meta.last_log_id));
    }
    for sealed in [bytes, &envelope::seal(Kind::SnapshotChunk, bytes)] {
        match Chunk::opened(sealed) {
            Ok(Chunk::Rows(rows)) => rows.iter().for_each(|(_, value)| row(value)),
            Ok(header) => assert_eq!(Chunk::opened(&header.sealed()).ok(), Some(header)),
            Err(_) => {}
        }
    }
    row(bytes);
}

/// The items of a backup, as they came and with an envelope put around them, read from memory and as from a file.
pub fn backup_item(bytes: &[u8]) {
    for sealed in [bytes, &envelope::seal(Kind::Backup, bytes)] {
        let (mut rest, mut file, mut check) = (sealed, sealed, Check::default());
        while let Ok(Some((len, item))) = Item::split_off(rest) {
            assert!(len > 0 && Item::read(&mut file).is_ok_and(|read| read == Some((len, item.clone()))));
            assert!(Item::split_off(&item.sealed()).is_ok_and(|again| again.is_some_and(|(_, again)| again == item)));
            rest = &rest[len..];
            if check.take(len, &item).is_err() {
                break;
            }
        }
        let _ = check.finish();
    }
}

fn row(value: &[u8]) {
    let value = envelope::open(Kind::StateRow, value).unwrap_or(value);
    same_again::<UserRecord>(value);
    same_again::<HistoryEntry>(value);
    same_again::<KeyTable>(value);
    same_again::<Profile>(value);
}

fn described<T: Described + PartialEq>(bytes: &[u8]) {
    let _ = T::opened(bytes);
    if let Ok(row) = T::opened(&envelope::seal(T::KIND, bytes)) {
        assert!(T::opened(&row.sealed()).is_ok_and(|again| again == row));
    }
}

fn same_again<T: Encode + Decode<()> + PartialEq>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes) {
        assert!(codec::decode::<T>(&codec::encode(&value)).is_ok_and(|again| again == value));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    type Read = fn(&[u8]);

    #[test]
    fn every_kept_input_is_read_without_a_panic() {
        let targets: [(&str, Read); 4] = [
            ("peer_frame", super::peer_frame),
            ("log_record", super::log_record),
            ("snapshot_record", super::snapshot_record),
            ("backup_item", super::backup_item),
        ];
        for (name, read) in targets {
            let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
            let mut count = 0;
            for file in fs::read_dir(&kept).unwrap() {
                read(&fs::read(file.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{} is empty", kept.display());
        }
    }
}
