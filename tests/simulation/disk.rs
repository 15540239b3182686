//! A simulated disk: what was synced, and what was only written.
//!
//! A power cut keeps what was synced, and of the batches after that a prefix of any length, each whole. A kill keeps all that was written.

use super::held;
use rollcall_cluster::disk::{Batch, Bytes, Disk, Scan};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

type Rows = BTreeMap<Vec<u8>, Bytes>;

/// What lies on a disk that nobody uses.
#[derive(Clone, Default)]
pub struct Platter(Rows);

/// A batch, as it was written.
type Written = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Default)]
struct Surface {
    rows: Rows,
    synced: Rows,
    /// Batches after the last sync.
    since: Vec<Written>,
    is_off: bool,
}

/// A disk in use.
pub struct SimDisk(Mutex<Surface>);

fn write(rows: &mut Rows, batch: Written) {
    for (key, value) in batch {
        match value {
            Some(value) => rows.insert(key, value.into()),
            None => rows.remove(&key),
        };
    }
}

fn off() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the simulated disk has no power")
}

impl SimDisk {
    /// A disk with what lies on `platter`.
    pub fn new(Platter(rows): Platter) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Surface { synced: rows.clone(), rows, ..Surface::default() })))
    }

    /// Nothing lies on it any more.
    pub fn wipe(&self) {
        *held(&self.0) = Surface::default();
    }

    /// How many batches a power cut may lose.
    pub fn unsynced(&self) -> usize {
        held(&self.0).since.len()
    }

    /// The process ends: what was written stays.
    pub fn kill(&self) -> Platter {
        let mut surface = held(&self.0);
        surface.is_off = true;
        Platter(surface.rows.clone())
    }

    /// The power is cut: what was synced stays, and the first `kept` batches after that.
    pub fn cut_power(&self, kept: usize) -> Platter {
        let mut surface = held(&self.0);
        surface.is_off = true;
        let mut rows = surface.synced.clone();
        for batch in surface.since.drain(..).take(kept) {
            write(&mut rows, batch);
        }
        Platter(rows)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Surface) -> T) -> io::Result<T> {
        let mut surface = held(&self.0);
        if surface.is_off { Err(off()) } else { Ok(work(&mut surface)) }
    }
}

impl Disk for SimDisk {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.with(|surface| surface.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Scan {
        let range = from.to_vec()..to.to_vec();
        let found = self.with(|surface| {
            let rows = (from < to).then(|| surface.rows.range(range));
            rows.into_iter()
                .flatten()
                .map(|(key, value)| Ok((key.as_slice().into(), value.clone())))
                .collect::<Vec<_>>()
        });
        match found {
            Ok(rows) => Box::new(rows.into_iter()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.with(|surface| {
            let batch = batch.into_rows();
            surface.since.push(batch.clone());
            write(&mut surface.rows, batch);
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|_| ())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|surface| {
            for batch in std::mem::take(&mut surface.since) {
                write(&mut surface.synced, batch);
            }
        })
    }

    fn close(&self) {
        held(&self.0).is_off = true;
    }
}
