//! What is checked of a store before anything is started from it.
//!
//! Every row is read: logs must be whole from where they were purged, votes not older than entries, states at least where
//! their logs begin, and all digests must hold. Costs one pass over the database.

use super::{
    disk::Disk,
    envelope::{self, EnvelopeError},
    key,
    ledger::{Described, Digest, LedgerError, LogLedger, StateHeader, StoredIdentity},
    opening::{Expected, StartError},
};
use crate::{
    placement_group::{PLACEMENT, name_of},
    raft::{erasure::deletes, log::open_entry, wire::StoredLogId},
};
use rollcall_presence::PartitionId;
use std::{collections::BTreeMap, io};

/// Why a store is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not what was acknowledged.
    Damaged(String),
    /// A newer program wrote it.
    Newer(String),
    /// Something else.
    Other(StartError),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        unreadable(&error)
    }
}

/// A disk that fails.
#[must_use]
pub(crate) fn unreadable(error: &io::Error) -> Refusal {
    Refusal::Damaged(format!("it cannot be read: {error}"))
}

/// A row that describes which cannot be read.
#[must_use]
pub(crate) fn described(what: &str, error: &LedgerError) -> Refusal {
    match error {
        LedgerError::Envelope(EnvelopeError::Newer { .. }) => Refusal::Newer(format!("{what}: {error}")),
        _ => Refusal::Damaged(format!("{what}: {error}")),
    }
}

/// Whether the directory belongs to who is expected.
///
/// # Errors
/// Naming both.
pub(crate) fn identity(found: &StoredIdentity, expected: &Expected) -> Result<(), Refusal> {
    if found.node != expected.node {
        return Err(Refusal::Other(StartError::Name { founded: found.node.clone(), asked: expected.node.clone() }));
    }
    if found.partitions != expected.partitions {
        let (founded, asked) = (found.partitions, expected.partitions);
        return Err(Refusal::Other(StartError::Partitions { founded, asked }));
    }
    Ok(())
}

/// The rows that describe, by key, without the last round.
///
/// # Errors
/// When the disk fails.
pub(crate) fn read_described(disk: &dyn Disk) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Refusal> {
    let mut described = BTreeMap::new();
    for row in disk.scan(&[0], &[1]) {
        let (key, sealed) = row?;
        if key != key::ROUND {
            described.insert(key.to_vec(), sealed.to_vec());
        }
    }
    Ok(described)
}

/// What is seen of a log where all of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// How long it is, bytes.
    pub bytes: u64,
    /// The last entry that deletes a user.
    pub last_deletion: Option<u64>,
}

/// What was found of the groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The logs.
    pub logs: BTreeMap<PartitionId, LogLedger>,
    /// What was seen of the logs.
    pub log_extents: BTreeMap<PartitionId, Extent>,
    /// The states.
    pub states: BTreeMap<PartitionId, StateHeader>,
    /// Rows of states that were never switched to, or no longer used.
    pub leftovers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of replicas that nothing describes any more: they were being dropped.
    pub dropped: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads and checks every group.
///
/// # Errors
/// When something does not fit.
pub(crate) fn read_groups(
    disk: &dyn Disk,
    rows: &BTreeMap<Vec<u8>, Vec<u8>>,
    partitions: u16,
) -> Result<Groups, Refusal> {
    let mut groups = Groups::default();
    for partition in (0..partitions).map(PartitionId).chain([PLACEMENT]) {
        if !is_held(rows, partition) {
            groups.dropped.extend(rows_left(disk, partition)?);
            continue;
        }
        let what = |part: &str| format!("the {part} of {}", name_of(partition));
        let log = match rows.get(&key::log_ledger(partition)) {
            Some(sealed) => LogLedger::opened(sealed).map_err(|e| described(&what("log"), &e))?,
            None => LogLedger::default(),
        };
        let state = match rows.get(&key::state_header(partition)) {
            Some(sealed) => StateHeader::opened(sealed).map_err(|e| described(&what("state"), &e))?,
            None => StateHeader::default(),
        };
        if let (Some(vote), Some(last)) = (log.vote, log.last)
            && vote.term < last.term
        {
            let text = format!("its vote is of term {}, its last entry of term {}", vote.term, last.term);
            return Err(Refusal::Damaged(format!("{}: {text}", what("log"))));
        }
        if state.applied.map(|id| id.index) < log.purged.map(|id| id.index) {
            return Err(Refusal::Damaged(format!("{} ends before the log begins", what("state"))));
        }
        let extent =
            check_log(disk, partition, &log).map_err(|why| Refusal::Damaged(format!("{}: {why}", what("log"))))?;
        groups.log_extents.insert(partition, extent);
        check_state(disk, partition, &state, &mut groups.leftovers)
            .map_err(|why| Refusal::Damaged(format!("{}: {why}", what("state"))))?;
        groups.logs.insert(partition, log);
        groups.states.insert(partition, state);
    }
    Ok(groups)
}

/// Whether anything says that a replica is kept here.
fn is_held(rows: &BTreeMap<Vec<u8>, Vec<u8>>, partition: PartitionId) -> bool {
    rows.contains_key(&key::log_ledger(partition)) || rows.contains_key(&key::state_header(partition))
}

/// The ranges of a partition in which there are rows.
fn rows_left(disk: &dyn Disk, partition: PartitionId) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut left = Vec::new();
    for (from, to) in [key::log_range(partition), key::state_range(partition)] {
        if disk.scan(&from, &to).next().transpose()?.is_some() {
            left.push((from, to));
        }
    }
    Ok(left)
}

/// Reads a group's log: whole, in order, and what its ledger says.
fn check_log(disk: &dyn Disk, partition: PartitionId, ledger: &LogLedger) -> Result<Extent, String> {
    let mut extent = Extent::default();
    let mut digest = Digest::default();
    let mut next = ledger.purged.map_or(0, |id| id.index + 1);
    let mut last = ledger.purged;
    let mut sealed: Vec<u8> = Vec::new();
    for row in disk.scan(&key::log(partition, 0, 0), &key::log(partition, u64::MAX, u16::MAX)) {
        let (key, value) = row.map_err(|e| e.to_string())?;
        digest.add(&key, &value);
        let index = key::log_index(&key).ok_or("a key has no index")?;
        if index < next {
            continue; // purged, and about to be removed
        }
        if index > next {
            return Err(format!("entry {next} is missing"));
        }
        sealed.extend_from_slice(&value);
        extent.bytes += value.len() as u64;
        if envelope::sealed_len(&sealed).map_err(|e| format!("entry {index}: {e}"))? > sealed.len() {
            continue;
        }
        let entry = open_entry(&sealed).map_err(|e| format!("entry {index}: {e}"))?;
        let id = StoredLogId::from(entry.log_id);
        if id.index != index || last.is_some_and(|last| id.term < last.term) {
            return Err(format!("entry {index} is in the wrong place"));
        }
        if deletes(&entry) {
            extent.last_deletion = Some(index);
        }
        last = Some(id);
        next += 1;
        sealed.clear();
    }
    if !sealed.is_empty() {
        return Err(format!("entry {next} is cut short"));
    }
    if last != ledger.last {
        return Err(format!("it ends with entry {next}, but should end with {:?}", ledger.last));
    }
    if digest != ledger.digest { Err("its rows do not add up".into()) } else { Ok(extent) }
}

/// Reads a group's state: what its header says. Rows of other epochs go to `leftovers`.
fn check_state(
    disk: &dyn Disk,
    partition: PartitionId,
    header: &StateHeader,
    leftovers: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<(), String> {
    let mut digest = Digest::default();
    let prefix = key::state_prefix(partition, header.epoch);
    let mut other: Option<Vec<u8>> = None;
    let range = key::state_range(partition);
    for row in disk.scan(&range.0, &range.1) {
        let (key, value) = row.map_err(|e| e.to_string())?;
        let (front, relative) = key.split_at(key::STATE_PREFIX_BYTES.min(key.len()));
        if front == prefix {
            digest.add(relative, &value);
        } else if other.as_deref() != Some(front) {
            leftovers.push((front.to_vec(), key::after(front)));
            other = Some(front.to_vec());
        }
    }
    if digest != header.digest { Err("its rows do not add up".into()) } else { Ok(()) }
}
