//! The rows of one partition's state as one ordered map: the overlay of what is not synced yet, over the disk.
//!
//! Keys are relative to the partition and its epoch. Values are sealed and cut into pieces where they are long. Promises that
//! what was set is read from then on, and that the digest is that of the rows.

use crate::{
    limits::VALUE_MAX_BYTES,
    store::{
        disk::{Bytes, Disk},
        envelope::{self, EnvelopeError, Kind},
        key,
        ledger::Digest,
        work::Change,
    },
};
use rollcall_presence::{PartitionId, codec};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    io,
    iter::Peekable,
    ops::Bound,
    sync::{Arc, Weak},
};
use thiserror::Error;

use super::stream::Kept;

/// Why a row cannot be read. Nothing was touched.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("the store cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// The envelope is not right.
    #[error("a row of partition {partition} is damaged: {why}; take this node out and let it join again as a new one")]
    Damaged {
        /// Whose row.
        partition: PartitionId,
        /// What is wrong with it.
        why: EnvelopeError,
    },
    /// The content is not right.
    #[error("a row of partition {partition} does not decode: {why}; it was written by another version of the program")]
    Undecodable {
        /// Whose row.
        partition: PartitionId,
        /// What is wrong with it.
        why: codec::CodecError,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Disk(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

#[derive(Debug, Clone)]
struct Unsynced {
    seq: u64,
    value: Option<Arc<[u8]>>,
}

/// The map.
pub(crate) struct Rows {
    partition: PartitionId,
    disk: Arc<dyn Disk>,
    epoch: u32,
    digest: Digest,
    overlay: BTreeMap<Arc<[u8]>, Unsynced>,
    /// Which keys each step put into the overlay.
    steps: VecDeque<(u64, Vec<Arc<[u8]>>)>,
    /// Streams that must still see the rows as they were.
    streams: Vec<Weak<Kept>>,
    changed: Vec<Change>,
    touched: Vec<Arc<[u8]>>,
}

impl Rows {
    /// The rows of `partition` in `epoch` on `disk`, which add up to `digest`.
    #[must_use]
    pub(crate) fn new(partition: PartitionId, disk: Arc<dyn Disk>, epoch: u32, digest: Digest) -> Self {
        Self {
            partition,
            disk,
            epoch,
            digest,
            overlay: BTreeMap::new(),
            steps: VecDeque::new(),
            streams: Vec::new(),
            changed: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// The epoch.
    #[must_use]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Over the rows.
    #[must_use]
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// How many rows are not synced.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn unsynced(&self) -> usize {
        self.overlay.len()
    }

    fn absolute(&self, relative: &[u8]) -> Vec<u8> {
        let mut key = key::state_prefix(self.partition, self.epoch);
        key.extend_from_slice(relative);
        key
    }

    /// The row at `key`, sealed, or a piece of it.
    fn raw(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self.overlay.get(key) {
            Some(unsynced) => Ok(unsynced.value.as_deref().map(<[u8]>::to_vec)),
            None => Ok(self.disk.get(&self.absolute(key))?.map(|v| v.to_vec())),
        }
    }

    fn damaged(&self, why: EnvelopeError) -> ReadError {
        ReadError::Damaged { partition: self.partition, why }
    }

    /// Opens and decodes a sealed row.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn decode<T: bincode::Decode<()>>(&self, sealed: &[u8]) -> Result<T, ReadError> {
        let payload = envelope::open(Kind::StateRow, sealed).map_err(|why| self.damaged(why))?;
        codec::decode(payload).map_err(|why| ReadError::Undecodable { partition: self.partition, why })
    }

    /// The value at `key`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn get<T: bincode::Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        self.raw(key)?.map(|sealed| self.decode(&sealed)).transpose()
    }

    /// The value in pieces under `key`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn get_long<T: bincode::Decode<()>>(&self, key: &[u8]) -> Result<Option<T>, ReadError> {
        let Some(mut sealed) = self.raw(&piece_key(key, 0))? else { return Ok(None) };
        let pieces = pieces_of(&sealed).map_err(|why| self.damaged(why))?;
        for piece in 1..pieces {
            let more = self.raw(&piece_key(key, piece))?.ok_or_else(|| self.damaged(EnvelopeError::Malformed))?;
            sealed.extend_from_slice(&more);
        }
        self.decode(&sealed).map(Some)
    }

    /// The sealed rows of `from..to`, pieces as they are.
    pub(crate) fn scan(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = Row> {
        let disk = self.disk.scan(&self.absolute(from), &self.absolute(to)).map(relative);
        Merged { disk: disk.peekable(), overlay: self.overlay_of(from, to).peekable(), backwards: false }
    }

    /// The same from the end.
    pub(crate) fn scan_back(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = Row> {
        let disk = self.disk.scan(&self.absolute(from), &self.absolute(to)).rev().map(relative);
        Merged { disk: disk.peekable(), overlay: self.overlay_of(from, to).rev().peekable(), backwards: true }
    }

    fn overlay_of(&self, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = (&Arc<[u8]>, &Unsynced)> {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        // An upside-down range is an empty one here, and a panic in a BTreeMap.
        (from < to).then(|| self.overlay.range::<[u8], _>(bounds)).into_iter().flatten()
    }

    /// Sets the row at `key`.
    ///
    /// # Errors
    /// When what was there cannot be read. Nothing was touched.
    pub(crate) fn set<T: bincode::Encode>(&mut self, key: &[u8], value: &T) -> Result<(), ReadError> {
        let sealed = envelope::seal(Kind::StateRow, &codec::encode(value));
        Ok(self.put(key, Some(&sealed))?)
    }

    /// Removes the row at `key`.
    ///
    /// # Errors
    /// When what was there cannot be read. Nothing was touched.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), ReadError> {
        Ok(self.put(key, None)?)
    }

    /// Sets, or removes, the value in pieces under `key`.
    ///
    /// # Errors
    /// When what was there cannot be read.
    pub(crate) fn set_long<T: bincode::Encode>(&mut self, key: &[u8], value: Option<&T>) -> Result<(), ReadError> {
        let old = match self.raw(&piece_key(key, 0))? {
            Some(first) => pieces_of(&first).map_err(|why| self.damaged(why))?,
            None => 0,
        };
        let sealed = value.map(|v| envelope::seal(Kind::StateRow, &codec::encode(v))).unwrap_or_default();
        let mut new = 0;
        for piece in sealed.chunks(VALUE_MAX_BYTES) {
            self.put(&piece_key(key, new), Some(piece))?;
            new += 1;
        }
        for piece in new..old {
            self.put(&piece_key(key, piece), None)?;
        }
        Ok(())
    }

    /// Removes every row that begins with `prefix`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn remove_all(&mut self, prefix: &[u8]) -> Result<(), ReadError> {
        let keys: io::Result<Vec<Vec<u8>>> =
            self.scan(prefix, &key::after(prefix)).map(|row| row.map(|(key, _)| key)).collect();
        for key in keys? {
            self.put(&key, None)?;
        }
        Ok(())
    }

    /// Changes one stored row, and keeps digest, overlay and streams in step with it.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let old = self.raw(key)?;
        if old.as_deref() == value {
            return Ok(());
        }
        if let Some(old) = &old {
            self.digest.take(key, old);
        }
        if let Some(new) = value {
            self.digest.add(key, new);
        }
        self.streams.retain(|stream| match stream.upgrade() {
            Some(kept) => {
                kept.keep(key, old.as_deref());
                true
            }
            None => false,
        });
        let shared: Arc<[u8]> = Arc::from(key);
        self.touched.push(Arc::clone(&shared));
        self.overlay.insert(shared, Unsynced { seq: u64::MAX, value: value.map(Arc::from) });
        self.changed.push((self.absolute(key), value.map(<[u8]>::to_vec)));
        Ok(())
    }

    /// Ends a step: hands out what it changed, and remembers it as `seq` until that is synced.
    pub(crate) fn end_step(&mut self, seq: u64) -> Vec<Change> {
        for key in &self.touched {
            if let Some(unsynced) = self.overlay.get_mut(key) {
                unsynced.seq = seq;
            }
        }
        let touched = std::mem::take(&mut self.touched);
        if !touched.is_empty() {
            self.steps.push_back((seq, touched));
        }
        std::mem::take(&mut self.changed)
    }

    /// Drops from the overlay what the steps up to `seq` put there: the disk has it.
    pub(crate) fn synced(&mut self, seq: u64) {
        while self.steps.front().is_some_and(|(step, _)| *step <= seq)
            && let Some((step, keys)) = self.steps.pop_front()
        {
            for key in keys {
                if self.overlay.get(&key).is_some_and(|unsynced| unsynced.seq == step) {
                    self.overlay.remove(&key);
                }
            }
        }
    }

    /// Lets a stream see the rows as they are now.
    pub(crate) fn watch(&mut self, kept: &Arc<Kept>) {
        self.streams.push(Arc::downgrade(kept));
    }

    /// Goes over to the rows of another epoch, all of which are on disk.
    pub(crate) fn switch(&mut self, epoch: u32, digest: Digest) {
        for kept in self.streams.drain(..).filter_map(|s| s.upgrade()) {
            kept.break_off();
        }
        self.epoch = epoch;
        self.digest = digest;
        self.overlay.clear();
        self.steps.clear();
    }
}

fn piece_key(key: &[u8], piece: u8) -> Vec<u8> {
    let mut piece_key = Vec::with_capacity(key.len() + 1);
    piece_key.extend_from_slice(key);
    piece_key.push(piece);
    piece_key
}

/// In how many pieces a value is kept, judged by its first.
fn pieces_of(first: &[u8]) -> Result<u8, EnvelopeError> {
    let len = envelope::sealed_len(first)?;
    u8::try_from(len.div_ceil(VALUE_MAX_BYTES)).map_err(|_| EnvelopeError::Malformed)
}

/// A row of a scan: its key, and its sealed value or a piece of it.
pub(crate) type Row = io::Result<(Vec<u8>, Vec<u8>)>;

fn relative(row: io::Result<(Bytes, Bytes)>) -> Row {
    row.map(|(key, value)| (key[key::STATE_PREFIX_BYTES..].to_vec(), value.to_vec()))
}

/// Two ordered sources as one, in either direction; the overlay has the last word, and may say that a row is gone.
struct Merged<D: Iterator, O: Iterator> {
    disk: Peekable<D>,
    overlay: Peekable<O>,
    backwards: bool,
}

impl<'a, D, O> Iterator for Merged<D, O>
where
    D: Iterator<Item = Row>,
    O: Iterator<Item = (&'a Arc<[u8]>, &'a Unsynced)>,
{
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let order = match (self.disk.peek(), self.overlay.peek()) {
                (Some(Err(_)), _) | (_, None) => Ordering::Less,
                (None, _) => Ordering::Greater,
                (Some(Ok((disk, _))), Some((overlay, _))) => {
                    let order = disk.as_slice().cmp(overlay);
                    if self.backwards { order.reverse() } else { order }
                }
            };
            if order == Ordering::Less {
                return self.disk.next();
            }
            if order == Ordering::Equal {
                self.disk.next();
            }
            let (key, unsynced) = self.overlay.next()?;
            if let Some(value) = &unsynced.value {
                return Some(Ok((key.to_vec(), value.to_vec())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{Batch, SledDisk};

    fn rows(dir: &tempfile::TempDir) -> (Arc<dyn Disk>, Rows) {
        let disk: Arc<dyn Disk> = Arc::new(SledDisk::open(dir.path(), 1 << 20).unwrap());
        (Arc::clone(&disk), Rows::new(PartitionId(1), disk, 0, Digest::default()))
    }

    fn sync(disk: &Arc<dyn Disk>, rows: &mut Rows, seq: u64) {
        let mut batch = Batch::default();
        for (key, value) in rows.end_step(seq) {
            batch.set(key, value);
        }
        disk.apply(batch).unwrap();
    }

    fn keys(scan: impl Iterator<Item = Row>) -> Vec<u8> {
        scan.map(|row| row.unwrap().0[0]).collect()
    }

    #[test]
    fn a_scan_sees_disk_and_overlay_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut rows) = rows(&dir);
        for key in [b"a", b"c", b"e"] {
            rows.set(key, &1u64).unwrap();
        }
        sync(&disk, &mut rows, 1);
        rows.synced(1);
        assert_eq!(rows.unsynced(), 0);
        rows.set(b"b", &2u64).unwrap();
        rows.set(b"c", &2u64).unwrap();
        rows.remove(b"e").unwrap();
        assert_eq!(keys(rows.scan(b"a", b"z")), b"abc");
        assert_eq!(keys(rows.scan_back(b"a", b"z")), b"cba");
        assert_eq!(keys(rows.scan(b"b", b"c")), b"b");
        assert_eq!(keys(rows.scan(b"z", b"a")), b"");
        assert_eq!(rows.get::<u64>(b"c").unwrap(), Some(2));
        assert_eq!(rows.get::<u64>(b"e").unwrap(), None);
    }

    #[test]
    fn what_changed_again_before_its_sync_stays_in_the_overlay() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut rows) = rows(&dir);
        rows.set(b"a", &1u64).unwrap();
        sync(&disk, &mut rows, 1);
        rows.set(b"a", &2u64).unwrap();
        rows.synced(1);
        assert_eq!(rows.get::<u64>(b"a").unwrap(), Some(2));
        sync(&disk, &mut rows, 2);
        rows.synced(2);
        assert_eq!((rows.unsynced(), rows.get::<u64>(b"a").unwrap()), (0, Some(2)));
    }

    #[test]
    fn long_values_are_cut_and_leave_nothing_behind_when_they_shrink() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut rows) = rows(&dir);
        let long = vec![7u8; 3 * VALUE_MAX_BYTES];
        rows.set_long(b"k", Some(&long)).unwrap();
        sync(&disk, &mut rows, 1);
        rows.synced(1);
        assert_eq!(rows.scan(b"", b"z").count(), 4);
        assert!(rows.scan(b"", b"z").all(|row| row.unwrap().1.len() <= VALUE_MAX_BYTES));
        assert_eq!(rows.get_long::<Vec<u8>>(b"k").unwrap(), Some(long));
        rows.set_long(b"k", Some(&vec![1u8])).unwrap();
        assert_eq!(rows.scan(b"", b"z").count(), 1);
        rows.set_long::<Vec<u8>>(b"k", None).unwrap();
        assert_eq!((rows.scan(b"", b"z").count(), rows.digest()), (0, Digest::default()));
    }
}
