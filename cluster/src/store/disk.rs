//! What the store writes to and reads from: one ordered map, batches that are there whole or not at all, and a sync.
//!
//! [`SledDisk`] is sled with the two things it lacks: a sync that survives a power cut (`sync_data` on an own handle), and
//! panics turned into errors. Another [`Disk`] may stand in where power is cut on purpose.

use crate::limits::ROUND_BULK_MAX_BYTES;
use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// A key or a value, shared.
pub type Bytes = sled::IVec;

/// Rows in byte order of their keys.
pub type Scan = Box<dyn DoubleEndedIterator<Item = io::Result<(Bytes, Bytes)>> + Send>;

/// Changes that take effect together.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets the row at `key`, or removes it; the last word on a key holds.
    pub fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.rows.push((key, value));
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The changes, in the order they were made.
    #[must_use]
    pub fn into_rows(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.rows
    }
}

/// One ordered map that survives the process, and after [`sync`](Disk::sync) a power cut.
pub trait Disk: Send + Sync + 'static {
    /// The row at `key`.
    ///
    /// # Errors
    /// When the disk fails, or was closed.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// The rows of `from..to`.
    fn scan(&self, from: &[u8], to: &[u8]) -> Scan;

    /// Applies a batch: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// When the disk fails; what is on it is unknown then.
    fn apply(&self, batch: Batch) -> io::Result<()>;

    /// Hands everything applied so far to the operating system: it survives the process.
    ///
    /// # Errors
    /// When the disk fails; what is on it is unknown then.
    fn flush(&self) -> io::Result<()>;

    /// Makes everything flushed so far survive a power cut.
    ///
    /// # Errors
    /// When the disk fails; it must not be tried again.
    fn sync(&self) -> io::Result<()>;

    /// Lets go of the disk. What comes after fails.
    fn close(&self);
}

/// Opens the disk at a path.
pub type OpenDisk = Box<dyn FnOnce(&Path) -> io::Result<Arc<dyn Disk>> + Send>;

/// How long a database that is still open elsewhere is waited for: sled's own threads hold it for a moment after its last
/// handle is gone, so that a node that stops and starts within one process would now and then find it held by itself.
const HELD_WAIT: Duration = Duration::from_secs(1);
/// How long to wait before it is tried again.
const HELD_PAUSE: Duration = Duration::from_millis(10);

/// sled 0.34 under `<path>`.
pub struct SledDisk {
    open: parking_lot::RwLock<Option<Open>>,
}

struct Open {
    db: sled::Db,
    file: File,
}

/// Runs `work`, and turns a panic of sled's into an error.
fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a text");
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("the database panicked: {text}")))
    })
}

fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// What to tell of a failed round, and what to do. sled hands an error on as its debug form, which is not for people.
pub(crate) fn failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full: make room, then start this node again".into(),
        _ => format!("the disk failed: {error}"),
    }
}

/// Like any other, but for a database that another process has open: sled says that in words only.
fn open_error(error: sled::Error) -> io::Error {
    let error = io_error(error);
    let held = error.to_string().starts_with("could not acquire lock");
    if held { io::ErrorKind::WouldBlock.into() } else { error }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the store is closed")
}

impl SledDisk {
    /// Opens the database under `path`, or makes one; `cache_bytes` bounds what it keeps in memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it open; others when it cannot be read. sled cuts a torn tail off without a word: whoever opens must compare what is there with
    /// what was promised.
    pub fn open(path: &Path, cache_bytes: u64) -> io::Result<Self> {
        let path: PathBuf = path.to_owned();
        guarded(move || {
            let config = sled::Config::new().path(&path).cache_capacity(cache_bytes).flush_every_ms(None);
            let deadline = Instant::now() + HELD_WAIT;
            let db = loop {
                match config.open().map_err(open_error) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                        std::thread::sleep(HELD_PAUSE);
                    }
                    opened => break opened?,
                }
            };
            // Small pages live in this one file; large ones would go to `blobs/`, and none of ours is large.
            let file = File::options().read(true).write(true).open(path.join("db"))?;
            Ok(Self { open: parking_lot::RwLock::new(Some(Open { db, file })) })
        })
    }

    /// The files that sled never syncs; there must be none.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn blobs(path: &Path) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_dir(path.join("blobs")) {
            Ok(entries) => entries.map(|entry| entry.map(|e| e.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> io::Result<T>) -> io::Result<T> {
        let open = self.open.read();
        guarded(|| work(open.as_ref().ok_or_else(closed)?))
    }
}

impl Disk for SledDisk {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.with(|open| open.db.get(key).map_err(io_error))
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> Scan {
        let open = self.open.read();
        match open.as_ref() {
            Some(open) => Box::new(GuardedScan { rows: Some(open.db.range(from.to_vec()..to.to_vec())) }),
            None => Box::new(std::iter::once(Err(closed()))),
        }
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.with(|open| {
            let mut changes = sled::Batch::default();
            for (key, value) in batch.into_rows() {
                match value {
                    Some(value) => changes.insert(key, value),
                    None => changes.remove(key),
                }
            }
            open.db.apply_batch(changes).map_err(io_error)
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|open| open.db.flush().map(drop).map_err(io_error))
    }

    /// Flushing alone does not survive a power cut: sled uses `sync_file_range`, which leaves metadata and the drive's
    /// cache alone.
    fn sync(&self) -> io::Result<()> {
        self.with(|open| open.file.sync_data())
    }

    fn close(&self) {
        let open = self.open.write().take();
        // Dropping flushes once more, which may panic on a broken disk; there is nothing left to lose.
        let _ = guarded(|| {
            drop(open);
            Ok(())
        });
    }
}

/// Ends after the first error or panic: what follows it cannot be trusted.
struct GuardedScan {
    rows: Option<sled::Iter>,
}

impl GuardedScan {
    fn step(
        &mut self,
        step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(Bytes, Bytes)>>,
    ) -> Option<io::Result<(Bytes, Bytes)>> {
        let rows = self.rows.as_mut()?;
        match guarded(|| step(rows).transpose().map_err(io_error)) {
            Ok(row) => row.map(Ok),
            Err(error) => {
                self.rows = None;
                Some(Err(error))
            }
        }
    }
}

impl Iterator for GuardedScan {
    type Item = io::Result<(Bytes, Bytes)>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for GuardedScan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}
/// Removes rows of `from..to` up to a round's bulk; returns the first that is left.
///
/// # Errors
/// When the disk fails.
pub(crate) fn remove(
    disk: &dyn Disk,
    batch: &mut Batch,
    from: &[u8],
    to: &[u8],
    mut removed: impl FnMut(&[u8], &[u8]),
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = 0;
    for row in disk.scan(from, to) {
        let (key, value) = row?;
        if bytes >= ROUND_BULK_MAX_BYTES {
            return Ok(Some(key.to_vec()));
        }
        bytes += key.len() + value.len();
        removed(&key, &value);
        batch.set(key.to_vec(), None);
    }
    Ok(None)
}
