//! A partition's state as a stream of chunks, all of one moment, while applying goes on.
//!
//! Copy on write: rows that change before the stream has come by are kept as they were. A stream that is slower than the
//! writes breaks off when too much is kept; whoever wanted it starts afresh.

use super::cell::StateCell;
use crate::{
    limits::{SNAPSHOT_CHUNK_BYTES, STREAM_KEPT_MAX_BYTES},
    store::{
        envelope::{self, Kind},
        ledger::{Digest, StateHeader},
    },
};
use bincode::{Decode, Encode};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rollcall_presence::codec;
use std::{collections::BTreeMap, io, sync::Arc};

/// A relative key and a sealed value, or a piece of one.
pub(crate) type SealedRow = (Vec<u8>, Vec<u8>);

/// A part of a snapshot, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Chunk {
    /// What the rows that follow add up to; the epoch means nothing to another.
    Header(StateHeader),
    /// Rows: relative key, sealed value.
    Rows(Vec<SealedRow>),
}

impl Chunk {
    /// The stored form.
    #[must_use]
    pub(crate) fn sealed(&self) -> Vec<u8> {
        envelope::seal(Kind::SnapshotChunk, &codec::encode(self))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is not one, whole and unharmed.
    pub(crate) fn opened(sealed: &[u8]) -> io::Result<Self> {
        let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let payload = envelope::open(Kind::SnapshotChunk, sealed).map_err(|e| damaged(e.to_string()))?;
        codec::decode(payload).map_err(|e| damaged(e.to_string()))
    }
}

/// Where the chunks of a snapshot come from: this node's state, or a peer.
pub trait ChunkSource: Send {
    /// The next chunk, sealed; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>>;

    /// What the rows add up to and where they are, if all of them are on this disk already and nothing is left to come.
    #[allow(private_interfaces, reason = "only what lands here has landed; nobody else implements it")]
    fn landed(&self) -> Option<&StateHeader> {
        None
    }
}

/// A snapshot on its way.
pub(crate) type SnapshotStream = Box<dyn ChunkSource>;

#[derive(Debug, Default)]
struct KeptRows {
    /// Rows before this one were streamed.
    next: Vec<u8>,
    ended: bool,
    broken: bool,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

/// Rows as they were when the stream began.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<KeptRows>);

impl Kept {
    /// Keeps what `key` was, if the stream has yet to come by and this is its first change.
    pub(crate) fn keep(&self, key: &[u8], old: Option<&[u8]>) {
        let mut kept = self.0.lock();
        if kept.ended || kept.broken || key < kept.next.as_slice() || kept.rows.contains_key(key) {
            return;
        }
        kept.bytes += key.len() + old.map_or(0, <[u8]>::len);
        kept.rows.insert(key.to_vec(), old.map(<[u8]>::to_vec));
        if kept.bytes > STREAM_KEPT_MAX_BYTES {
            kept.rows.clear();
            kept.broken = true;
        }
    }

    /// Ends the stream with an error.
    pub(crate) fn break_off(&self) {
        self.0.lock().broken = true;
    }
}

/// The stream of this node's state.
pub(crate) struct StateStream {
    cell: Arc<StateCell>,
    header: Option<StateHeader>,
    kept: Arc<Kept>,
}

impl StateStream {
    /// Streams the state of `cell` as `header` describes it; `kept` was registered at that moment.
    #[must_use]
    pub(crate) fn new(cell: Arc<StateCell>, header: StateHeader, kept: Arc<Kept>) -> Self {
        Self { cell, header: Some(header), kept }
    }

    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(Chunk::Header(header).sealed()));
        }
        Ok(self.next_rows()?.map(|rows| Chunk::Rows(rows).sealed()))
    }

    /// Whether it streams the state of `cell`.
    pub(crate) fn is_of(&self, cell: &Arc<StateCell>) -> bool {
        Arc::ptr_eq(&self.cell, cell)
    }

    /// The next rows, in order, as they were when the stream began; `None` at the end.
    ///
    /// # Errors
    /// When they cannot be read, or changed too much meanwhile.
    pub(crate) fn next_rows(&self) -> io::Result<Option<Vec<SealedRow>>> {
        // Applying waits for this one chunk: no row changes between reading it and moving on.
        self.cell.with_rows(|rows| {
            let mut kept = self.kept.0.lock();
            if kept.broken {
                return Err(io::Error::other("the state changed faster than it was streamed; start afresh"));
            }
            if kept.ended {
                return Ok(None);
            }
            let mut chunk = Vec::new();
            let mut bytes = 0;
            let mut last = None;
            let mut now = rows.scan(&kept.next, &[u8::MAX]).peekable();
            let mut then = kept.rows.iter().peekable();
            while bytes < SNAPSHOT_CHUNK_BYTES {
                // The row as it was wins over the row as it is; both sources are in order.
                let old_first = match (now.peek(), then.peek()) {
                    (Some(Ok((key, _))), Some((old, _))) => *old <= key,
                    (None, Some(_)) => true,
                    _ => false,
                };
                let (key, value) = if old_first {
                    let Some((key, value)) = then.next() else { break };
                    now.next_if(|row| row.as_ref().is_ok_and(|(k, _)| k == key));
                    (key.clone(), value.clone())
                } else {
                    let Some(row) = now.next() else { break };
                    let (key, value) = row?;
                    (key, Some(value))
                };
                bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                last = Some(key.clone());
                chunk.extend(value.map(|value| (key, value)));
            }
            drop((now, then));
            match last {
                Some(mut key) => {
                    key.push(0); // the smallest key after this one
                    kept.rows = kept.rows.split_off(&key);
                    kept.bytes = kept.rows.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum();
                    kept.next = key;
                }
                None => kept.ended = true,
            }
            Ok((!kept.ended).then_some(chunk))
        })
    }
}

impl ChunkSource for StateStream {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        let step = self.step();
        Box::pin(std::future::ready(step))
    }
}

/// Adds up rows that come in, to be compared with what their header promised.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Over the rows so far.
    pub digest: Digest,
}

impl Received {
    /// Counts rows in.
    pub(crate) fn add(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) {
        for (key, value) in rows {
            self.digest.add(key, value);
        }
    }
}
