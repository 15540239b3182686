//! The power goes while clients write: everything that was acknowledged is there afterwards.
//!
//! A file system in a file is mounted, a child process writes to it and says what was acknowledged, and the file system is
//! shut down without flushing anything. The same without the last sync must lose writes, or this proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, add_contacts, open_session, user};
use futures::future::join_all;
use rollcall_cluster::{
    Cluster, StartError, Surroundings,
    disk::{Batch, Bytes, Disk, Scan, SledDisk},
};
use rollcall_presence::{Intent, ListKind, ManualStatus, Meta};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

const DIRECTORY: &str = "ROLLCALL_TEST_POWER_CUT_DIRECTORY";
const SYNCED: &str = "ROLLCALL_TEST_POWER_CUT_SYNCED";
/// Users of each kind of write.
const LONE: u64 = 8;
const CROWD: u64 = 50;

/// An ext4 file system in a file, mounted until dropped.
struct Volume {
    image: PathBuf,
    point: PathBuf,
    _dir: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(|| format!("{program}: {text}"))
}

impl Volume {
    fn new() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (image, point) = (dir.path().join("image"), dir.path().join("mounted"));
        std::fs::create_dir(&point).map_err(|e| e.to_string())?;
        File::create(&image).and_then(|file| file.set_len(512 << 20)).map_err(|e| e.to_string())?;
        run("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()])?;
        let volume = Self { image, point, _dir: dir };
        volume.mount()?;
        Ok(volume)
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", &self.image.to_string_lossy(), &self.point.to_string_lossy()])
    }

    fn unmount(&self) {
        let _ = run("umount", &[&self.point.to_string_lossy()]);
    }

    /// What a power cut leaves: nothing that was not synced, not even the journal.
    #[expect(unsafe_code, reason = "the ioctl that cuts the power has no safe wrapper")]
    fn cut_power(&self) {
        const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
        let no_log_flush: u32 = 2;
        let root = File::open(&self.point).unwrap();
        // SAFETY: the descriptor is open, and the kernel reads one u32 from the pointer, which lives until the call ends.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const no_log_flush) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// sled without the sync that it lacks.
struct Unsynced(SledDisk);

impl Disk for Unsynced {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.0.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8]) -> Scan {
        self.0.scan(from, to)
    }
    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.0.apply(batch)
    }
    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn close(&self) {
        self.0.close();
    }
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // The parent ends this process whenever it likes.
    let _ = writeln!(out, "\nACK {text}").and_then(|()| out.flush());
}

fn status(n: u64) -> Intent {
    let meta = Meta::from_compact_json(format!("{{\"n\":\"{}\"}}", "x".repeat(1_500)), 2_048).unwrap();
    Intent::PutStatus { status: ManualStatus::Dnd, text: Some(n.to_string().into()), meta, expires_in_s: None }
}

/// Not a test by itself: what the child process does, once it is told where.
#[test]
fn the_child_writes_until_the_power_goes() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(write_for_ever(PathBuf::from(directory), std::env::var_os(SYNCED).is_some()));
}

async fn write_for_ever(directory: PathBuf, synced: bool) {
    let bench = Arc::new(Bench::new(4));
    let mut options = bench.options();
    options.data_dir = directory;
    let mut surroundings = Surroundings::default();
    if !synced {
        surroundings.disk =
            Some(Box::new(|path| SledDisk::open(path, 1 << 24).map(|disk| Arc::new(Unsynced(disk)) as Arc<dyn Disk>)));
    }
    let cluster = bench.start_within(options, surroundings).await.unwrap();
    bench.all_home(&cluster).await;
    let mut tasks = Vec::new();
    for lone in 0..LONE {
        let (bench, cluster) = (Arc::clone(&bench), Arc::clone(&cluster));
        tasks.push(tokio::spawn(async move {
            let name = user(lone);
            for n in 1.. {
                bench.propose(&cluster, &name, status(n)).await.unwrap();
                say(&format!("status {lone} {n}"));
            }
        }));
    }
    let (crowd_bench, crowd_cluster) = (Arc::clone(&bench), Arc::clone(&cluster));
    tasks.push(tokio::spawn(async move {
        for round in 0.. {
            let openings = (0..CROWD).map(|n| {
                let name = user(1_000 + n);
                let (bench, cluster) = (Arc::clone(&crowd_bench), Arc::clone(&crowd_cluster));
                async move { bench.propose(&cluster, &name, open_session(round % 30)).await.map(|_| n) }
            });
            for n in join_all(openings).await {
                say(&format!("session {} {}", 1_000 + n.unwrap(), round % 30));
            }
        }
    }));
    tasks.push(tokio::spawn(async move {
        for n in 2_000.. {
            bench.propose(&cluster, &user(n), add_contacts(1_000)).await.unwrap();
            say(&format!("contacts {n} 1000"));
        }
    }));
    join_all(tasks).await;
}

/// What was acknowledged: the highest number, by kind and user.
type Acknowledged = BTreeMap<(String, u64), u64>;

fn note(acknowledged: &mut Acknowledged, line: &str) -> bool {
    let Some(rest) = line.strip_prefix("ACK ") else { return false };
    let mut words = rest.split(' ');
    if let (Some(kind), Some(Ok(user)), Some(Ok(n))) =
        (words.next(), words.next().map(str::parse), words.next().map(str::parse::<u64>))
    {
        let known = acknowledged.entry((kind.to_owned(), user)).or_insert(n);
        *known = n.max(*known);
    }
    true
}

fn child(directory: &Path, synced: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_child_writes_until_the_power_goes", "--nocapture"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::null());
    if synced {
        command.env(SYNCED, "1");
    }
    command.spawn().unwrap()
}

/// Lets a child write, cuts the power after `writes` acknowledged ones, and mounts what is left.
fn write_and_cut(volume: &Volume, synced: bool, writes: usize, acknowledged: &mut Acknowledged) {
    let directory = volume.point.join("data");
    let mut child = child(&directory, synced);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen = lines.by_ref().filter(|line| note(acknowledged, line)).take(writes).count();
    assert_eq!(seen, writes, "the child ended early");
    volume.cut_power();
    let _ = child.kill();
    for line in lines {
        note(acknowledged, &line);
    }
    child.wait().unwrap();
    volume.unmount();
    volume.mount().unwrap();
}

/// How many acknowledged writes are not there; or why the store refuses.
async fn missing(volume: &Volume, acknowledged: &Acknowledged) -> Result<usize, StartError> {
    let bench = Bench::new(4);
    let mut options = bench.options();
    options.data_dir = volume.point.join("data");
    let cluster = bench.try_start(options).await?;
    bench.all_home(&cluster).await;
    let missing = acknowledged.iter().filter(|((kind, name), n)| !there(&bench, &cluster, kind, *name, **n)).count();
    cluster.stop().await;
    Ok(missing)
}

fn there(bench: &Bench, cluster: &Cluster, kind: &str, name: u64, n: u64) -> bool {
    let name = user(name);
    cluster
        .partition(bench.partition_of(&name))
        .read(|view| {
            let Some(record) = view.record(&name).unwrap() else { return false };
            match kind {
                "status" => record.setting.text.is_some_and(|text| text.parse::<u64>().unwrap() >= n),
                "session" => record.sessions.iter().any(|s| s.id.as_str() == format!("session{n}")),
                _ => view.list(&name, ListKind::Contacts, None, 5_000).unwrap().len() as u64 == n,
            }
        })
        .unwrap()
}

fn files_under(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).map(|entries| entries.map(|e| e.unwrap().path()).collect());
    entries.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_survives_a_power_cut() {
    let volume = match Volume::new() {
        Ok(volume) => volume,
        Err(why) => return eprintln!("SKIPPED: everything_acknowledged_survives_a_power_cut: no loop mount: {why}"),
    };
    let mut acknowledged = Acknowledged::new();
    for writes in [400, 1_000, 2_500] {
        // The status numbers begin again with each child; what an earlier one wrote was checked after its cut.
        acknowledged.retain(|(kind, _), _| kind != "status");
        write_and_cut(&volume, true, writes, &mut acknowledged);
        assert_eq!(missing(&volume, &acknowledged).await.unwrap(), 0, "of {}", acknowledged.len());
        assert_eq!(files_under(&volume.point.join("data/store/blobs")), Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_last_sync_a_power_cut_loses_writes_and_the_next_start_says_so() {
    let volume = match Volume::new() {
        Ok(volume) => volume,
        Err(why) => return eprintln!("SKIPPED: without_the_last_sync_a_power_cut_loses_writes: no loop mount: {why}"),
    };
    let mut acknowledged = Acknowledged::new();
    write_and_cut(&volume, false, 400, &mut acknowledged);
    match missing(&volume, &acknowledged).await {
        Err(StartError::Damaged { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(missing) => panic!("{missing} of {} writes were lost without a word", acknowledged.len()),
    }
}
