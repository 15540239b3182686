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
    collections::{BTreeMap, VecDeque},
    io,
    ops::Bound,
    sync::{Arc, Weak},
};

use super::{
    merge::Merged,
    pieces::{Pieces, piece_key, pieces_of},
    read_error::ReadError,
    stream::Kept,
};

/// A row that is not on disk yet, or is gone and still there.
#[derive(Debug, Clone)]
pub(super) struct Unsynced {
    /// The step that changed it; [`THIS_STEP`] until that ends.
    seq: u64,
    /// The row.
    pub(super) value: Option<Arc<[u8]>>,
}

const THIS_STEP: u64 = u64::MAX;

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
    /// Keys changed by the step in hand, each once.
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
        Ok(self.load_long(key)?.0)
    }

    /// The same, with its pieces for [`store_long`](Self::store_long).
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn load_long<T: bincode::Decode<()>>(&self, key: &[u8]) -> Result<(Option<T>, Pieces), ReadError> {
        let pieces = self.pieces(key)?;
        let value = match pieces.0.as_slice() {
            [] => None,
            [whole] => Some(self.decode(whole)?),
            several => Some(self.decode(&several.concat())?),
        };
        Ok((value, pieces))
    }

    fn pieces(&self, key: &[u8]) -> Result<Pieces, ReadError> {
        let Some(first) = self.raw(&piece_key(key, 0))? else { return Ok(Pieces::default()) };
        let count = pieces_of(&first).map_err(|why| self.damaged(why))?;
        let mut pieces = vec![first];
        for piece in 1..count {
            let more = self.raw(&piece_key(key, piece))?;
            pieces.push(more.ok_or_else(|| self.damaged(EnvelopeError::Malformed))?);
        }
        Ok(Pieces(pieces))
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

    /// Sets a row that was never there: nothing is read.
    pub(crate) fn set_new<T: bincode::Encode>(&mut self, key: &[u8], value: &T) {
        let sealed = envelope::seal(Kind::StateRow, &codec::encode(value));
        self.replace(key, None, Some(&sealed));
    }

    /// Sets, or removes, the value in pieces under `key`.
    ///
    /// # Errors
    /// When what was there cannot be read. Nothing was touched.
    pub(crate) fn set_long<T: bincode::Encode>(&mut self, key: &[u8], value: Option<&T>) -> Result<(), ReadError> {
        let old = self.pieces(key)?;
        self.store_long(key, &old, value);
        Ok(())
    }

    /// The same, with what is there now; `old` was loaded in this step and not changed since.
    pub(crate) fn store_long<T: bincode::Encode>(&mut self, key: &[u8], old: &Pieces, value: Option<&T>) {
        let sealed = value.map(|v| envelope::seal(Kind::StateRow, &codec::encode(v))).unwrap_or_default();
        let new: Vec<&[u8]> = sealed.chunks(VALUE_MAX_BYTES).collect();
        for (piece, index) in (0..=u8::MAX).zip(0..new.len().max(old.0.len())) {
            self.replace(&piece_key(key, piece), old.0.get(index).map(Vec::as_slice), new.get(index).copied());
        }
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

    /// Changes one stored row.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let old = self.raw(key)?;
        self.replace(key, old.as_deref(), value);
        Ok(())
    }

    /// Changes one stored row from `old`, and keeps digest, overlay and streams in step with it.
    fn replace(&mut self, key: &[u8], old: Option<&[u8]>, value: Option<&[u8]>) {
        if old == value {
            return;
        }
        if let Some(old) = old {
            self.digest.take(key, old);
        }
        if let Some(new) = value {
            self.digest.add(key, new);
        }
        self.streams.retain(|stream| match stream.upgrade() {
            Some(kept) => {
                kept.keep(key, old);
                true
            }
            None => false,
        });
        let shared: Arc<[u8]> = Arc::from(key);
        let unsynced = Unsynced { seq: THIS_STEP, value: value.map(Arc::from) };
        let before = self.overlay.insert(Arc::clone(&shared), unsynced);
        if before.is_none_or(|unsynced| unsynced.seq != THIS_STEP) {
            self.touched.push(shared);
        }
    }

    /// Ends a step: hands out what it changed, each row once, and remembers it as `seq` until that is synced.
    pub(crate) fn end_step(&mut self, seq: u64) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched);
        let mut changed = Vec::with_capacity(touched.len());
        for key in &touched {
            if let Some(unsynced) = self.overlay.get_mut(key) {
                unsynced.seq = seq;
                let value = unsynced.value.as_deref().map(<[u8]>::to_vec);
                changed.push((self.absolute(key), value));
            }
        }
        if !touched.is_empty() {
            self.steps.push_back((seq, touched));
        }
        changed
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

/// A row of a scan: its key, and its sealed value or a piece of it.
pub(crate) type Row = io::Result<(Vec<u8>, Vec<u8>)>;

fn relative(row: io::Result<(Bytes, Bytes)>) -> Row {
    row.map(|(key, value)| (key[key::STATE_PREFIX_BYTES..].to_vec(), value.to_vec()))
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
