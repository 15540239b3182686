//! A snapshot on its way in: written under a fresh prefix, where nothing reads it yet, and added up.
//!
//! Done before openraft hears of the snapshot: for openraft an install that breaks off is a broken store, and the end of the
//! group. Promises that what has landed is whole and durable, so that installing it is a switch.

use super::wire::StoredMembers;
use crate::{
    state::{
        cell::StateCell,
        stream::{Chunk, ChunkSource, Received, SnapshotStream},
    },
    store::{
        key,
        ledger::StateHeader,
        work::{BulkWork, Change, promise},
        writer::Writer,
    },
};
use futures::future::BoxFuture;
use std::io;

/// A snapshot of which all rows are on this disk.
struct Landed(StateHeader);

impl ChunkSource for Landed {
    /// There is nothing left to come.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn landed(&self) -> Option<&StateHeader> {
        Some(&self.0)
    }
}

/// Takes in what `stream` brings for the state of `cell`. One at a time: all that land write to the same place.
///
/// # Errors
/// When the stream breaks off or is damaged, or the writer has ended. The state is as it was; rows that came are removed by the next
/// landing, or the next start.
pub(crate) async fn land(cell: &StateCell, writer: &Writer, mut stream: SnapshotStream) -> io::Result<SnapshotStream> {
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let epoch = cell.header().epoch.wrapping_add(1);
    let prefix = key::state_prefix(cell.partition(), epoch);
    // Rows of a landing that broke off are in the way of this one's digest at the next start.
    sweep(writer, prefix.clone(), key::after(&prefix)).await?;
    let first = stream.next().await?.ok_or_else(|| damaged("the snapshot is empty"))?;
    let Chunk::Header(header) = Chunk::opened(&first)? else {
        return Err(damaged("the snapshot does not begin with a header"));
    };
    let mut received = Received::default();
    while let Some(chunk) = stream.next().await? {
        let Chunk::Rows(rows) = Chunk::opened(&chunk)? else {
            return Err(damaged("the snapshot has two headers"));
        };
        received.add(&rows);
        let absolute = |(key, value): (Vec<u8>, Vec<u8>)| ([prefix.as_slice(), &key].concat(), Some(value));
        write(writer, rows.into_iter().map(absolute).collect()).await?;
    }
    if received.digest != header.digest {
        return Err(damaged("the snapshot's rows do not add up to what its header says"));
    }
    // Which entry and members it is of, openraft says.
    Ok(Box::new(Landed(StateHeader { epoch, applied: None, members: StoredMembers::default(), ..header })))
}

/// Waits until `rows` are durable.
async fn write(writer: &Writer, rows: Vec<Change>) -> io::Result<()> {
    let (done, wait) = promise();
    writer.queue().bulk(BulkWork::Rows(rows, done));
    wait.await.map_err(|_| writer_ended())
}

/// Removes a range, and waits until it is gone.
///
/// # Errors
/// When the writer has ended.
pub(crate) async fn sweep(writer: &Writer, from: Vec<u8>, to: Vec<u8>) -> io::Result<()> {
    let (done, swept) = promise();
    writer.queue().bulk(BulkWork::Sweep(from, to, done));
    swept.await.map_err(|_| writer_ended())
}

/// What waits for a writer that is gone is told.
pub(super) fn writer_ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the writer has ended")
}
