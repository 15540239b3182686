//! The keys of the one tree: descriptions, logs, states, in this order.
//!
//! Numbers are big-endian, so that byte order is numeric order. Tags are on disk and pinned here. A user id never holds a
//! zero byte, so that a zero ends it, and no user's rows lie among another's.

use rollcall_presence::{ListKind, PartitionId, UserId};

const TAG_META: u8 = 0;
const TAG_LOG: u8 = 1;
const TAG_STATE: u8 = 2;

/// The application; every key of the state has room for one. There is only `main` so far.
const APP_MAIN: u16 = 0;

/// Who this node is.
pub(crate) const IDENTITY: &[u8] = &[TAG_META, b'i'];
/// The last round.
pub(crate) const ROUND: &[u8] = &[TAG_META, b'r'];

/// The description of a group's log.
#[must_use]
pub(crate) fn log_ledger(partition: PartitionId) -> Vec<u8> {
    let [a, b] = partition.0.to_be_bytes();
    vec![TAG_META, b'l', a, b]
}

/// The description of a group's state.
#[must_use]
pub(crate) fn state_header(partition: PartitionId) -> Vec<u8> {
    let [a, b] = partition.0.to_be_bytes();
    vec![TAG_META, b's', a, b]
}

/// A piece of a log entry: tag 1, partition 2, index 8, piece 2.
#[must_use]
pub(crate) fn log(partition: PartitionId, index: u64, piece: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(13);
    key.push(TAG_LOG);
    key.extend_from_slice(&partition.0.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

/// The index in the key of a log entry's piece.
#[must_use]
pub(crate) fn log_index(key: &[u8]) -> Option<u64> {
    key.get(3..11).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes)
}

/// From the first to after the last key of a group's log.
#[must_use]
pub(crate) fn log_range(partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
    let [a, b] = partition.0.to_be_bytes();
    let prefix = [TAG_LOG, a, b];
    (prefix.to_vec(), after(&prefix))
}

/// What every key of a partition's state in `epoch` begins with: tag 1, partition 2, epoch 4.
#[must_use]
pub(crate) fn state_prefix(partition: PartitionId, epoch: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(7 + 160);
    key.push(TAG_STATE);
    key.extend_from_slice(&partition.0.to_be_bytes());
    key.extend_from_slice(&epoch.to_be_bytes());
    key
}

/// From the first to after the last key of a partition's state, of all epochs.
#[must_use]
pub(crate) fn state_range(partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
    let [a, b] = partition.0.to_be_bytes();
    let prefix = [TAG_STATE, a, b];
    (prefix.to_vec(), after(&prefix))
}

/// The bytes that [`state_prefix`] takes.
pub(crate) const STATE_PREFIX_BYTES: usize = 7;

/// The first key after all that begin with `prefix`.
#[must_use]
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; prefix.len() + 1]
}

const FAMILY_USER: u8 = 1;
const FAMILY_LIVE: u8 = 2;
const FAMILY_PLACEMENT: u8 = 3;

/// The kinds of rows of a user. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cell {
    /// The record.
    Record = 1,
    /// Somebody on the contacts.
    Contact = 2,
    /// Somebody on the blocks.
    Block = 3,
    /// A history entry.
    History = 4,
    /// The profile.
    Profile = 5,
    /// The idempotency keys.
    Keys = 6,
    /// How far a restore has come.
    Restoring = 7,
    /// A part of a restore.
    Part = 8,
}

/// The placement, in the state of the placement group.
#[must_use]
pub(crate) fn placement() -> Vec<u8> {
    let [a, b] = APP_MAIN.to_be_bytes();
    vec![a, b, FAMILY_PLACEMENT]
}

/// What every row of any user begins with, within a partition's state.
#[must_use]
pub(crate) fn users() -> Vec<u8> {
    let [a, b] = APP_MAIN.to_be_bytes();
    vec![a, b, FAMILY_USER]
}

/// The user in the key of one of its rows, as bytes.
#[must_use]
pub(crate) fn user_of(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(users().as_slice())?.split(|byte| *byte == 0).next()
}

/// What every row of `user` begins with, within a partition's state.
#[must_use]
pub(crate) fn user(user: &UserId) -> Vec<u8> {
    let mut key = Vec::with_capacity(user.len() + 16);
    key.extend_from_slice(&APP_MAIN.to_be_bytes());
    key.push(FAMILY_USER);
    key.extend_from_slice(user.as_bytes());
    key.push(0);
    key
}

/// What the rows of one kind of `user` begin with.
#[must_use]
pub(crate) fn cell(user_id: &UserId, cell: Cell) -> Vec<u8> {
    let mut key = user(user_id);
    key.push(cell as u8);
    key
}

/// The row of `other` on a list of `user`.
#[must_use]
pub(crate) fn listed(user: &UserId, list: ListKind, other: &UserId) -> Vec<u8> {
    let mut key = list_rows(user, list);
    key.extend_from_slice(other.as_bytes());
    key
}

/// What the rows of a list of `user` begin with.
#[must_use]
pub(crate) fn list_rows(user: &UserId, list: ListKind) -> Vec<u8> {
    cell(
        user,
        match list {
            ListKind::Contacts => Cell::Contact,
            ListKind::Blocks => Cell::Block,
        },
    )
}

/// A part of a restore of `user`, whose pieces follow.
#[must_use]
pub(crate) fn part(user: &UserId, part: u32) -> Vec<u8> {
    let mut key = cell(user, Cell::Part);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The row of a history entry of `user`.
#[must_use]
pub(crate) fn history(user: &UserId, seq: u64) -> Vec<u8> {
    let mut key = cell(user, Cell::History);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// What the rows of the live index begin with.
#[must_use]
pub(crate) fn live_rows() -> Vec<u8> {
    let [a, b] = APP_MAIN.to_be_bytes();
    vec![a, b, FAMILY_LIVE]
}

/// The row of `user` in the live index.
#[must_use]
pub(crate) fn live(user: &UserId) -> Vec<u8> {
    let mut key = live_rows();
    key.extend_from_slice(user.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_on_disk_are_pinned() {
        let alice = UserId::new("al").unwrap();
        let bob = UserId::new("bo").unwrap();
        assert_eq!(log(PartitionId(3), 258, 1), [1, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 1]);
        assert_eq!(state_prefix(PartitionId(3), 2), [2, 0, 3, 0, 0, 0, 2]);
        assert_eq!(listed(&alice, ListKind::Blocks, &bob), [0, 0, 1, b'a', b'l', 0, 3, b'b', b'o']);
        assert_eq!(history(&alice, 7), [0, 0, 1, b'a', b'l', 0, 4, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(live(&bob), [0, 0, 2, b'b', b'o']);
        assert_eq!(placement(), [0, 0, 3]);
        assert_eq!(log_range(PartitionId(255)), (vec![1, 0, 255], vec![1, 1]));
        assert_eq!(log_ledger(PartitionId(1)), [0, b'l', 0, 1]);
        assert_eq!(state_header(PartitionId(1)), [0, b's', 0, 1]);
    }

    #[test]
    fn rows_of_a_user_do_not_reach_into_those_of_a_longer_name() {
        let short = UserId::new("al").unwrap();
        let long = UserId::new("al+").unwrap();
        let prefix = user(&short);
        assert!(!cell(&long, Cell::Record).starts_with(&prefix));
        assert!(cell(&long, Cell::Record) > after(&prefix));
        assert_eq!(after(&[1, 255, 255]), [2]);
    }
}
