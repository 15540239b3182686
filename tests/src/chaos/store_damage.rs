//! Damage to the store of a stopped node.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Bytes that are cut off a log's end.
const TORN_BYTES: u64 = 9_000;
/// Bits that are flipped.
const FLIPS: u64 = 16;

/// The store's main file, wherever below the data directory it is.
fn main_file(data: &Path) -> Result<PathBuf, String> {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "db" {
                return Ok(entry.path());
            }
        }
    }
    Err(format!("no store under {}", data.display()))
}

/// Cuts off the last bytes that are not nothing: a file of a log is longer than what was written.
pub(super) fn tear(data: &Path) -> Result<String, String> {
    let path = main_file(data)?;
    let content = fs::read(&path).map_err(|e| e.to_string())?;
    let written = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    let left = written.saturating_sub(TORN_BYTES);
    let file = OpenOptions::new().write(true).open(&path).map_err(|e| e.to_string())?;
    file.set_len(left).map_err(|e| e.to_string())?;
    Ok(format!("{} cut from {written} to {left} bytes", path.display()))
}

/// Flips bits at places of the part that was written.
pub(super) fn flip(data: &Path, draw: u64) -> Result<String, String> {
    let path = main_file(data)?;
    let content = fs::read(&path).map_err(|e| e.to_string())?;
    let written = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1);
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| e.to_string())?;
    for number in 0..FLIPS {
        let at = draw.wrapping_mul(number * 2 + 1) % written;
        let mut byte = [0];
        let flipped = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut byte))
            .and_then(|()| file.seek(SeekFrom::Start(at)))
            .and_then(|_| file.write_all(&[byte[0] ^ (1 << (number % 8))]));
        flipped.map_err(|e| e.to_string())?;
    }
    Ok(format!("{FLIPS} bits of {written} bytes of {} flipped", path.display()))
}
