//! Many seeds: each in a process of its own, as many at once as there are cores.
//!
//! A run ends its process with code 0 when all is well and 1 when something was wrong; its last line sums it up. One that does not end in time was
//! hung.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A run takes a second or two; one that takes so long hangs.
const RUN_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// How many seeds were run, and what came of them.
#[derive(Default)]
pub struct Batch {
    pub run: u64,
    /// Seeds that failed, with what the run said.
    pub failed: Vec<(u64, String)>,
    /// The sums of what the runs counted, by name.
    pub sums: std::collections::BTreeMap<String, u64>,
    /// The longest that a cluster took to heal, ms.
    pub worst_healed_ms: u64,
}

/// Seeds that failed once, and are run each time.
///
/// # Errors
/// When the file cannot be read, or a line of it does not begin with a number.
pub fn kept() -> io::Result<Vec<u64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation/kept_seeds.txt");
    let text = std::fs::read_to_string(&path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let number = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    lines.map(|line| number(line).ok_or_else(|| io::Error::other(format!("{line:?} begins with no seed")))).collect()
}

/// Where fresh seeds begin: taken from the clock.
pub fn seed_base() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// How one seed is run again.
pub fn usage(seed: u64, plant: Option<&str>) -> String {
    let (features, plant) = match plant {
        Some(plant) => (" --features planted-faults", format!(" --plant {plant}")),
        None => ("", String::new()),
    };
    format!("cargo run -p rollcall-tests{features} --example simulate -- --seed {seed} --verbose{plant}")
}

/// Runs every seed of `seeds` with the program at `program`, until `enough` failed.
///
/// # Errors
/// When the program cannot be run.
pub fn batch(program: &Path, seeds: &[u64], plant: Option<&str>, enough: usize) -> io::Result<Batch> {
    let (next, done) = (AtomicU64::new(0), Mutex::new(Batch::default()));
    let failure: Mutex<Option<io::Error>> = Mutex::default();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while super::held(&done).failed.len() < enough && super::held(&failure).is_none() {
                    let at = usize::try_from(next.fetch_add(1, Ordering::SeqCst)).unwrap_or(usize::MAX);
                    let Some(seed) = seeds.get(at) else { return };
                    match run_apart(program, *seed, plant) {
                        Ok((is_well, said)) => super::held(&done).add(*seed, is_well, said),
                        Err(error) => *super::held(&failure) = Some(error),
                    }
                }
            });
        }
    });
    if let Some(error) = super::held(&failure).take() {
        return Err(error);
    }
    Ok(std::mem::take(&mut *super::held(&done)))
}

impl Batch {
    fn add(&mut self, seed: u64, is_well: bool, said: String) {
        self.run += 1;
        for word in said.lines().last().unwrap_or_default().split_whitespace() {
            let Some((name, Ok(number))) = word.split_once('=').map(|(name, text)| (name, text.parse::<u64>())) else {
                continue;
            };
            if name == "healed_ms" {
                self.worst_healed_ms = self.worst_healed_ms.max(number);
            }
            *self.sums.entry(name.to_owned()).or_default() += number;
        }
        if !is_well {
            self.failed.push((seed, said));
        }
    }
}

/// Where runs keep their few files: in memory, where there is such a place.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Runs a seed in a process of its own; answers whether all was well, and what it said.
///
/// # Errors
/// When the program cannot be run.
pub fn run_apart(program: &Path, seed: u64, plant: Option<&str>) -> io::Result<(bool, String)> {
    let root = tempfile::tempdir_in(scratch())?;
    let mut command = Command::new(program);
    command.arg("--here").arg(root.path()).arg("--seed").arg(seed.to_string());
    command.args(plant.iter().flat_map(|plant| ["--plant", plant]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let reading = thread::spawn(move || {
        let mut said = String::new();
        output.read_to_string(&mut said).map(|_| said)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > RUN_MAX {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(LOOK);
    };
    let said = reading.join().map_err(|_| io::Error::other("reading panicked"))??;
    match status {
        Some(status) => Ok((status.success(), said)),
        None => Ok((false, format!("{said}\nit did not end within {} s", RUN_MAX.as_secs()))),
    }
}

/// A folder for one run in this process.
///
/// # Errors
/// When there is no room.
pub fn folder() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(scratch())
}
