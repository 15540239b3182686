//! A disk for a node that loses power, fills up or stops: an ext4 file system in a file, mounted over a loop device.
//!
//! All stand under one directory named after this process, and are unmounted and removed with this value; what killed runs
//! have left is removed before.

use super::system::{as_root, is_left_over, run};
use std::{
    env,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process,
};

const PREFIX: &str = "rollcall-chaos-";
/// Bytes of a disk: a run's store is some 20 MB. Only what is written takes room.
const DISK_BYTES: u64 = 256 << 20;
/// The file that fills a disk, beside the data directory.
const FILLER: &str = "filler";

/// The disks of a run. Nodes are counted from 0.
#[derive(Debug)]
pub(super) struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Disks for this many nodes, mounted.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub(super) fn new(nodes: usize) -> Result<Self, String> {
        as_root()?;
        sweep();
        let volumes = Self { root: env::temp_dir().join(format!("{PREFIX}{}", process::id())) };
        for at in 0..nodes {
            fs::create_dir_all(volumes.point(at)).map_err(|e| e.to_string())?;
            let image = volumes.image(at);
            File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).map_err(|e| e.to_string())?;
            // Without blocks kept for root, or root never finds it full.
            run("mkfs.ext4", &["-q", "-F", "-m", "0", &image.to_string_lossy()])?;
            volumes.mount(at)?;
        }
        Ok(volumes)
    }

    fn image(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}.ext4", at + 1))
    }

    fn point(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}", at + 1))
    }

    /// Where a node on this disk keeps its data.
    pub(super) fn data(&self, at: usize) -> PathBuf {
        self.point(at).join("data")
    }

    fn mount(&self, at: usize) -> Result<(), String> {
        run("mount", &["-o", "loop", &self.image(at).to_string_lossy(), &self.point(at).to_string_lossy()]).map(drop)
    }

    /// What a power cut leaves: nothing that was not synced, not even the journal. Every later write fails.
    ///
    /// # Errors
    /// When the kernel refuses.
    #[expect(unsafe_code, reason = "the ioctl that cuts the power has no safe wrapper")]
    pub(super) fn cut_power(&self, at: usize) -> Result<(), String> {
        const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
        let no_log_flush: u32 = 2;
        let root = File::open(self.point(at)).map_err(|e| e.to_string())?;
        // SAFETY: the descriptor is open, and the kernel reads one u32 from the pointer, which lives until the call ends.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const no_log_flush) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
    }

    /// The power is back: what the disk itself has is mounted again. No process may use it.
    ///
    /// # Errors
    /// When it cannot be unmounted or mounted.
    pub(super) fn remount(&self, at: usize) -> Result<(), String> {
        run("umount", &[&self.point(at).to_string_lossy()])?;
        self.mount(at)
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    /// When there is some left.
    pub(super) fn fill(&self, at: usize) -> Result<(), String> {
        let free = run("df", &["--output=avail", "-B1", &self.point(at).to_string_lossy()])?;
        let bytes = free.lines().last().unwrap_or_default().trim().to_owned();
        run("fallocate", &["-l", &bytes, &self.point(at).join(FILLER).to_string_lossy()]).map(drop).or_else(|_| {
            // Blocks of the file's own index need room, too: what is left then is filled by hand.
            let full = run("dd", &["if=/dev/zero", "bs=64K", &format!("of={}", self.point(at).join(FILLER).display())]);
            if full.is_err() { Ok(()) } else { Err("the disk is not full".into()) }
        })
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn free(&self, at: usize) -> Result<(), String> {
        fs::remove_file(self.point(at).join(FILLER)).map_err(|e| e.to_string())
    }

    /// No write comes to an end until it is thawed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn freeze(&self, at: usize) -> Result<(), String> {
        run("fsfreeze", &["-f", &self.point(at).to_string_lossy()]).map(drop)
    }

    /// Writes go on.
    ///
    /// # Errors
    /// When it was not frozen.
    pub(super) fn thaw(&self, at: usize) -> Result<(), String> {
        run("fsfreeze", &["-u", &self.point(at).to_string_lossy()]).map(drop)
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

fn sweep() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        if is_left_over(&entry.file_name().to_string_lossy(), PREFIX) {
            remove(&entry.path());
        }
    }
}

/// Unmounts all that is mounted below `root`, and removes it.
fn remove(root: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|p| Path::new(p).starts_with(root));
    for point in points {
        // A frozen one cannot be unmounted.
        run("fsfreeze", &["-u", point]).ok();
        if let Err(why) = run("umount", &[point]).or_else(|_| run("umount", &["-l", point])) {
            eprintln!("{why}");
        }
    }
    if let Err(why) = fs::remove_dir_all(root) {
        eprintln!("{}: {why}", root.display());
    }
}
