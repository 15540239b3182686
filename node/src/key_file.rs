//! Key files of a node: made on the first start, readable by their owner alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Random bytes of a generated key; written as twice as many hexadecimal characters.
const KEY_BYTES: usize = 32;
/// Only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Why there is no key. A half-written file was never given the key's name.
#[derive(Debug, thiserror::Error)]
#[error("key file {}: {source}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    source: io::Error,
}

/// The content of the key file at `path`; one is made if there is none.
///
/// # Errors
/// [`KeyFileError`] naming the file.
pub fn read_or_make(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let failed = |source| KeyFileError { path: path.to_owned(), source };
    match std::fs::read(path) {
        Ok(content) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// The content of a key file that has to be there.
///
/// # Errors
/// [`KeyFileError`] naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|source| KeyFileError { path: path.to_owned(), source })
}

fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0u8; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let mut content: Vec<u8> = key.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    content.push(b'\n');
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&unfinished)?;
    file.write_all(&content)?;
    file.sync_all()?;
    // A link refuses to replace: of two that start at once, both read the key of the first.
    let linked = std::fs::hard_link(&unfinished, path);
    std::fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let mut made = Vec::new();
    File::open(path)?.read_to_end(&mut made)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.key");
        let made = read_or_make(&path).unwrap();
        assert_eq!(made.len(), 65);
        assert!(made[..64].iter().all(u8::is_ascii_hexdigit));
        assert_eq!(read_or_make(&path).unwrap(), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-made is left");
    }
}
