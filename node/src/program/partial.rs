//! A file that appears under its name only once all of it is on disk.
//!
//! Written beside the name, readable by its owner alone. Promises that whatever was under the name stays as it is until the new
//! file is whole, and that nothing is left beside it when it is given up.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Partial {
    name: PathBuf,
    beside: PathBuf,
    file: File,
    overwrite: bool,
}

impl Partial {
    /// Begins a file that is to be called `name`.
    ///
    /// # Errors
    /// When it cannot be made, or `name` is there and is not to be replaced.
    pub(crate) fn begin(name: &Path, overwrite: bool) -> io::Result<Self> {
        if !overwrite && name.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let last = name.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut beside = OsString::from(".");
        beside.push(last);
        beside.push(format!(".{}.partial", std::process::id()));
        let beside = folder(name).join(beside);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        Ok(Self { name: name.to_owned(), beside, file, overwrite })
    }

    /// Adds to it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name, once it is on disk.
    ///
    /// # Errors
    /// When the disk does not take it, or something has come under its name meanwhile.
    pub(crate) fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.overwrite {
            fs::rename(&self.beside, &self.name)?;
        } else {
            // Unlike a rename, a link never replaces what is there.
            fs::hard_link(&self.beside, &self.name)?;
        }
        File::open(folder(&self.name))?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        let _ = fs::remove_file(&self.beside);
    }
}

fn folder(name: &Path) -> &Path {
    name.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("b");
        let mut partial = Partial::begin(&name, false).unwrap();
        partial.write(b"abc").unwrap();
        assert!(!name.exists());
        partial.keep().unwrap();
        assert_eq!(names(dir.path()), ["b"]);
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&name).unwrap(), b"abc");
    }

    #[test]
    fn what_is_there_is_replaced_only_when_asked_and_only_by_a_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("b");
        fs::write(&name, b"old").unwrap();
        assert_eq!(Partial::begin(&name, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut given_up = Partial::begin(&name, true).unwrap();
        given_up.write(b"half").unwrap();
        drop(given_up);
        assert_eq!((names(dir.path()), fs::read(&name).unwrap()), (vec!["b".to_owned()], b"old".to_vec()));
        let mut partial = Partial::begin(&name, true).unwrap();
        partial.write(b"new").unwrap();
        partial.keep().unwrap();
        assert_eq!((names(dir.path()), fs::read(&name).unwrap()), (vec!["b".to_owned()], b"new".to_vec()));
        let late = dir.path().join("late");
        let partial = Partial::begin(&late, false).unwrap();
        fs::write(&late, b"other").unwrap();
        assert!(partial.keep().is_err());
        assert_eq!(fs::read(&late).unwrap(), b"other");
    }
}
