//! One partition's state: its header, its rows, and how far both are on disk.
//!
//! Applying an entry excludes readers, so that every reader sees whole entries only. Promises that steps are handed to the
//! writer in order, each with a header that fits its rows.

use super::{
    rows::Rows,
    stream::{Kept, StateStream},
    view::View,
};
use crate::{
    raft::wire::{StoredLogId, StoredMembers},
    store::{
        disk::Disk,
        ledger::{Described, StateHeader},
        work::Change,
    },
};
use parking_lot::RwLock;
use rollcall_presence::{Ledger, PartitionId};
use std::{io, sync::Arc};
use tokio::sync::watch;

/// What is known of the state, and its rows.
pub(crate) struct State {
    pub(super) rows: Rows,
    pub(super) ledger: Ledger,
    applied: Option<StoredLogId>,
    members: StoredMembers,
    seq: u64,
}

impl State {
    /// Only where that fault is planted.
    pub(crate) fn forget_revision(&mut self) {
        self.ledger.revision = 0;
    }

    /// The header as it stands.
    #[must_use]
    pub(crate) fn header(&self) -> StateHeader {
        StateHeader {
            epoch: self.rows.epoch(),
            applied: self.applied,
            members: self.members.clone(),
            ledger: self.ledger,
            digest: self.rows.digest(),
        }
    }
}

/// What a step changed, for the writer.
#[derive(Debug)]
pub(crate) struct Step {
    /// Counts steps.
    pub seq: u64,
    /// The rows.
    pub rows: Vec<Change>,
    /// The header, sealed.
    pub header: Vec<u8>,
    /// The entry.
    pub applied: Option<StoredLogId>,
}

/// The state, shared by whoever applies and reads.
pub(crate) struct StateCell {
    partition: PartitionId,
    state: RwLock<State>,
    synced: watch::Sender<u64>,
    term: watch::Sender<u64>,
}

impl StateCell {
    /// The state of `partition` on `disk`, as `header` describes it.
    #[must_use]
    pub(crate) fn new(partition: PartitionId, disk: Arc<dyn Disk>, header: StateHeader) -> Arc<Self> {
        let rows = Rows::new(partition, disk, header.epoch, header.digest);
        // Only an entry applied by this process says that a term's home has caught up.
        let term = watch::Sender::new(0);
        let StateHeader { applied, members, ledger, .. } = header;
        let state = RwLock::new(State { rows, ledger, applied, members, seq: 0 });
        Arc::new(Self { partition, state, synced: watch::Sender::new(0), term })
    }

    /// The partition.
    #[must_use]
    pub(crate) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Applies one entry: `change` does its work on rows and counts, then all of it counts as applied up to `id`.
    ///
    /// # Errors
    /// When rows could not be read; the state must not be used any further then.
    pub(crate) fn step<T>(
        &self,
        id: StoredLogId,
        members: Option<StoredMembers>,
        change: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<(T, Step)> {
        let mut state = self.state.write();
        let result = change(&mut state)?;
        state.applied = Some(id);
        if let Some(members) = members {
            state.members = members;
        }
        state.seq += 1;
        let seq = state.seq;
        let rows = state.rows.end_step(seq);
        let step = Step { seq, rows, header: state.header().sealed(), applied: state.applied };
        drop(state);
        Ok((result, step))
    }

    /// Says that readers may rely on an entry of `term` having been applied.
    pub(crate) fn applied_in(&self, term: u64) {
        self.term.send_if_modified(|known| std::mem::replace(known, term) != term);
    }

    /// The term of the last entry applied by this process; 0 before the first.
    #[must_use]
    pub(crate) fn term(&self) -> watch::Receiver<u64> {
        self.term.subscribe()
    }

    /// Notes that the steps up to `seq` are on disk.
    pub(crate) fn synced(&self, seq: u64) {
        self.state.write().rows.synced(seq);
        self.synced.send_if_modified(|known| std::mem::replace(known, seq) != seq);
    }

    /// Waits until the steps up to `seq` are on disk: for ever, if the writer is gone.
    pub(crate) async fn wait_synced(&self, seq: u64) {
        // The sender lives as long as this cell, so that waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced >= seq).await;
    }

    /// The header as it stands.
    #[must_use]
    pub(crate) fn header(&self) -> StateHeader {
        self.state.read().header()
    }

    /// Reads with applying excluded.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        let state = self.state.read();
        read(&View::new(&state))
    }

    /// Reads rows with applying excluded.
    pub(crate) fn with_rows<T>(&self, read: impl FnOnce(&Rows) -> T) -> T {
        read(&self.state.read().rows)
    }

    /// Streams the state as it is now; with its header, and the step it came with.
    #[must_use]
    pub(crate) fn stream(self: &Arc<Self>) -> (StateHeader, u64, StateStream) {
        let mut state = self.state.write();
        let kept = Arc::new(Kept::default());
        state.rows.watch(&kept);
        let (header, seq) = (state.header(), state.seq);
        drop(state);
        (header.clone(), seq, StateStream::new(Arc::clone(self), header, kept))
    }

    /// Goes over to a state that was installed on disk under another epoch.
    pub(crate) fn switch(&self, header: StateHeader) {
        let mut state = self.state.write();
        state.rows.switch(header.epoch, header.digest);
        state.ledger = header.ledger;
        state.applied = header.applied;
        state.members = header.members;
        let seq = state.seq;
        drop(state);
        self.synced.send_replace(seq);
    }
}
