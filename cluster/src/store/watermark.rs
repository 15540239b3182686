//! The number of the last durable round, kept beside the database.
//!
//! sled drops a torn or flipped tail without a word. A round is synced first, and only then is its number written here: so
//! the number never claims more than is durable, and a database that holds less than it says has lost something that was
//! acknowledged. The number is synced beside the next round, since a second sync before each answer would double what a
//! write waits for: it is at most one round behind what was answered, and catches up at once when nothing follows.

use super::envelope::{self, Kind};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc, thread::JoinHandle};
use thiserror::Error;

/// Slots are a sector apart, so that a torn write harms one of them only.
const SLOT_BYTES: usize = 512;
const SLOTS: u64 = 2;

/// Why the watermark cannot be had. Nothing was touched.
#[derive(Debug, Error)]
pub(crate) enum WatermarkError {
    /// The file is there, but neither slot can be read.
    #[error("neither slot of the watermark can be read")]
    Unreadable,
    /// The file cannot be opened, read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Two alternating slots in one file of fixed size.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
}

impl Watermark {
    /// Makes the file with the number 0: nothing was promised yet. It gets its name once it is whole and durable: a start
    /// that breaks off, or finds the disk full, must not leave one behind that cannot be read.
    ///
    /// # Errors
    /// When it cannot be written. There is no file of this name then.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let unfinished = path.with_extension("new");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let watermark = Self { file };
        watermark.file.write_all_at(&[0; SLOT_BYTES * SLOTS as usize], 0)?;
        watermark.raise(0)?;
        watermark.file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        // A store that is found again after a power cut must find its watermark.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(watermark)
    }

    /// Opens the file and reads the higher number; `None` when there is no file.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Option<(Self, u64)>, WatermarkError> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let highest = (0..SLOTS).filter_map(|slot| read_slot(&file, slot)).max();
        highest.map(|number| Some((Self { file }, number))).ok_or(WatermarkError::Unreadable)
    }

    /// Writes and syncs `number`.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn raise(&self, number: u64) -> io::Result<()> {
        let sealed = envelope::seal(Kind::Watermark, &number.to_be_bytes());
        self.file.write_all_at(&sealed, number % SLOTS * SLOT_BYTES as u64)?;
        self.file.sync_data()
    }
}

#[derive(Debug, Default)]
struct Numbers {
    wanted: u64,
    written: u64,
    failed: Option<String>,
    closing: bool,
}

/// Keeps the watermark up with the rounds, on a thread of its own, or, where nothing blocks, at once.
pub(crate) struct Marker {
    here: Option<Watermark>,
    shared: Arc<(Mutex<Numbers>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Marker {
    /// Starts the thread; the watermark stands at `number`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(watermark: Watermark, number: u64) -> io::Result<Self> {
        let numbers = Numbers { wanted: number, written: number, ..Numbers::default() };
        let shared = Arc::new((Mutex::new(numbers), Condvar::new()));
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("rollcall-watermark".into()).spawn(move || {
            let (numbers, changed) = &*own;
            let mut known = numbers.lock();
            while known.failed.is_none() && (!known.closing || known.written < known.wanted) {
                if known.written == known.wanted {
                    changed.wait(&mut known);
                    continue;
                }
                let number = known.wanted;
                let raised = MutexGuard::unlocked(&mut known, || watermark.raise(number));
                match raised {
                    Ok(()) => known.written = number,
                    Err(error) => known.failed = Some(error.to_string()),
                }
                changed.notify_all();
            }
        })?;
        Ok(Self { here: None, shared, thread: Some(thread) })
    }

    /// Without a thread: a number is written when it is wanted.
    #[must_use]
    pub(crate) fn here(watermark: Watermark) -> Self {
        Self { here: Some(watermark), shared: Arc::default(), thread: None }
    }

    /// Has `number` written, once the one before it is: the watermark is never further behind.
    ///
    /// # Errors
    /// When the disk failed.
    pub(crate) fn raise(&self, number: u64) -> io::Result<()> {
        if let Some(watermark) = &self.here {
            return watermark.raise(number);
        }
        let (numbers, changed) = &*self.shared;
        let mut known = numbers.lock();
        while known.failed.is_none() && known.written < known.wanted {
            changed.wait(&mut known);
        }
        if let Some(failed) = &known.failed {
            return Err(io::Error::other(failed.clone()));
        }
        known.wanted = number;
        changed.notify_all();
        Ok(())
    }
}

impl Drop for Marker {
    /// Writes what is wanted, and ends the thread.
    fn drop(&mut self) {
        self.shared.0.lock().closing = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic; and if it did, the number stays where it was.
            let _ = thread.join();
        }
    }
}

fn read_slot(file: &File, slot: u64) -> Option<u64> {
    let mut sealed = [0; envelope::HEADER_BYTES + 8];
    file.read_exact_at(&mut sealed, slot * SLOT_BYTES as u64).ok()?;
    let payload = envelope::open(Kind::Watermark, &sealed).ok()?;
    payload.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        assert!(Watermark::open(&path).unwrap().is_none());
        let watermark = Watermark::create(&path).unwrap();
        for number in 1..=5 {
            watermark.raise(number).unwrap();
        }
        assert_eq!(Watermark::open(&path).unwrap().unwrap().1, 5);
    }

    #[test]
    fn a_watermark_that_could_not_be_made_whole_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        std::os::unix::fs::symlink("/dev/full", dir.path().join("watermark.new")).unwrap();
        assert_eq!(Watermark::create(&path).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(Watermark::open(&path).unwrap().is_none(), "the next start begins afresh");
        std::fs::remove_file(dir.path().join("watermark.new")).unwrap();
        std::fs::write(dir.path().join("watermark.new"), [0; 7]).unwrap();
        Watermark::create(&path).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().unwrap().1, 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-made is left");
    }

    #[test]
    fn the_marker_writes_the_last_number_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let marker = Marker::start(Watermark::create(&path).unwrap(), 0).unwrap();
        for number in 1..=50 {
            marker.raise(number).unwrap();
            assert!(Watermark::open(&path).unwrap().unwrap().1 >= number - 1, "at most one behind");
        }
        drop(marker);
        assert_eq!(Watermark::open(&path).unwrap().unwrap().1, 50);
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let watermark = Watermark::create(&path).unwrap();
        watermark.raise(6).unwrap();
        watermark.raise(7).unwrap();
        watermark.file.write_all_at(&[9; 4], SLOT_BYTES as u64 + 14).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().unwrap().1, 6);
        watermark.file.write_all_at(&[9; 4], 14).unwrap();
        assert!(matches!(Watermark::open(&path), Err(WatermarkError::Unreadable)));
    }
}
