//! The nodes of a run: started, killed at any moment, started again with what their disks hold.

use super::{
    chance::Chance,
    disk::{Platter, SimDisk},
    held,
    judge::{Seen, Witness},
    net::Net,
};
use rollcall_cluster::{Cluster, NoPresence, Options, RoundPart, StartError, Surroundings};
use rollcall_presence::NodeName;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The clocks' first moment, ms since the epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// By how many entries a log grows until a snapshot is taken: few, so that a run sees snapshots, purges and installs.
const SNAPSHOT_ENTRIES: std::ops::Range<u64> = 20..400;
/// What a part of a round takes, µs.
const PART_US: std::ops::Range<u64> = 20..2_500;

/// Where a node is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before this part of a round of its writer.
    Round(RoundPart),
    /// When it publishes what it has just applied, before anybody hears of it.
    Publish,
}

/// One start of a node, until its end.
pub struct Life {
    pub number: u64,
    alive: AtomicBool,
    disk: Arc<SimDisk>,
    dir: PathBuf,
    /// After how many of these moments it dies, and whether its power is cut by that.
    doom: Mutex<Option<(Moment, u64, bool)>>,
    /// Until when its disk stands still, µs.
    stalled_until: AtomicU64,
}

impl Life {
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    pub fn doom(&self, moment: Moment, after: u64, power: bool) {
        *held(&self.doom) = Some((moment, after, power));
    }

    pub fn stall(&self, until: u64) {
        self.stalled_until.store(until, Ordering::SeqCst);
    }

    /// Whether this is the moment, and if so how.
    fn is_doomed(&self, at: Moment) -> Option<bool> {
        let mut doom = held(&self.doom);
        let (moment, left, power) = doom.as_mut()?;
        if *moment != at {
            return None;
        }
        *left = left.saturating_sub(1);
        (*left == 0).then_some(*power)
    }
}

/// A node, alive or not.
struct Host {
    life: Option<Arc<Life>>,
    cluster: Option<Arc<Cluster>>,
    platter: Platter,
    lives: u64,
    skew_ms: i64,
}

/// All nodes of a run, and what is passed in to them.
pub struct World {
    pub chance: Arc<Chance>,
    pub net: Arc<Net>,
    pub seen: Arc<Mutex<Seen>>,
    pub partitions: u16,
    pub nodes_at_first: u64,
    snapshot_entries: u64,
    began: Instant,
    root: PathBuf,
    hosts: Mutex<BTreeMap<u64, Host>>,
    /// Nodes that are being removed.
    leaving: Mutex<BTreeSet<u64>>,
    /// The number of the next node that joins.
    next: AtomicU64,
}

/// A cluster has so many nodes at most.
const NODES_MAX: usize = 5;

pub fn name(n: u64) -> NodeName {
    // A letter and digits are a name.
    #[allow(clippy::expect_used, reason = "the text is made here")]
    NodeName::new(&format!("n{n}")).expect("a name")
}

fn address(n: u64) -> String {
    format!("n{n}:7701")
}

impl World {
    pub fn new(seed: u64, root: &Path, seen: Seen) -> Arc<Self> {
        let chance = Arc::new(Chance::new(seed));
        let nodes_at_first = if chance.percent(20) { 4 } else { 3 };
        let partitions = u16::try_from(chance.within(1..5)).unwrap_or(1);
        let snapshot_entries = chance.within(SNAPSHOT_ENTRIES);
        Arc::new(Self {
            net: Net::new(Arc::clone(&chance)),
            chance,
            seen: Arc::new(Mutex::new(seen)),
            partitions,
            nodes_at_first,
            snapshot_entries,
            began: Instant::now(),
            root: root.to_owned(),
            hosts: Mutex::default(),
            leaving: Mutex::default(),
            next: AtomicU64::new(nodes_at_first + 1),
        })
    }

    /// Since the start, µs.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        held(&self.seen).note(self.now(), what);
    }

    pub fn blame(&self, check: &'static str, why: String) {
        // Where the files are is no part of the run.
        let why = why.replace(&self.root.display().to_string(), "");
        held(&self.seen).blame(self.now(), check, why);
    }

    /// Nodes that run, with the life each has.
    pub fn running(&self) -> Vec<(u64, Arc<Life>, Arc<Cluster>)> {
        let hosts = held(&self.hosts);
        let running = hosts.iter().filter_map(|(n, host)| Some((*n, host.life.clone()?, host.cluster.clone()?)));
        running.collect()
    }

    /// All nodes there ever were and that were not removed.
    pub fn all(&self) -> Vec<u64> {
        held(&self.hosts).keys().copied().collect()
    }

    pub fn life(&self, n: u64) -> Option<Arc<Life>> {
        held(&self.hosts).get(&n)?.life.clone()
    }

    /// A clock of node `n`, wrong by what its host was given, ms.
    pub fn clock(&self, n: u64) -> u64 {
        let skew_ms = held(&self.hosts).get(&n).map_or(0, |host| host.skew_ms);
        (EPOCH_MS + self.now() / 1_000).saturating_add_signed(skew_ms)
    }

    pub fn skew(&self, n: u64, skew_ms: i64) {
        if let Some(host) = held(&self.hosts).get_mut(&n) {
            host.skew_ms = skew_ms;
        }
    }

    /// Has one more node join, if there is room.
    pub fn join(self: &Arc<Self>) {
        if self.all().len() < NODES_MAX {
            self.start(self.next.fetch_add(1, Ordering::SeqCst));
        }
    }

    /// Node `n` is to be gone for good, once it has handed everything over.
    pub fn leaving(&self, n: u64) {
        held(&self.leaving).insert(n);
    }

    /// Forgets whoever was to be gone and is.
    pub fn see_off(&self, members: &BTreeSet<NodeName>) {
        let gone: Vec<u64> = held(&self.leaving).iter().copied().filter(|n| !members.contains(&name(*n))).collect();
        for n in gone {
            self.kill(n, false);
            held(&self.leaving).remove(&n);
            held(&self.hosts).remove(&n);
            self.note(format_args!("n{n} is no member any more"));
        }
    }

    /// Starts node `n` with what its disk holds, again and again until it runs; returns at once.
    pub fn start(self: &Arc<Self>, n: u64) {
        let Some(life) = self.begin_life(n) else { return };
        let world = Arc::clone(self);
        tokio::spawn(async move {
            world.note(format_args!("n{n} starts"));
            let options = world.options(n, &life.dir);
            let witness = world.witness(&life);
            let started =
                Cluster::start_within(options, witness, Arc::new(NoPresence), world.surroundings(&life)).await;
            match started {
                Ok(cluster) if life.is_alive() => {
                    world.note(format_args!("n{n} runs"));
                    if let Some(host) = held(&world.hosts).get_mut(&n) {
                        host.cluster = Some(cluster);
                    }
                }
                Ok(cluster) => cluster.stop().await,
                Err(_) if !life.is_alive() => {}
                Err(error) => {
                    let is_expected = matches!(error, StartError::NeverJoined { .. });
                    // Whoever is being removed may be told so at its start.
                    if !is_expected && !held(&world.leaving).contains(&n) {
                        world.blame("starts-again", format!("n{n} does not start: {error}"));
                    }
                    world.end(n, &life, None);
                    sleep(Duration::from_secs(1)).await;
                    if is_expected {
                        world.start(n);
                    }
                }
            }
        });
    }

    fn begin_life(&self, n: u64) -> Option<Arc<Life>> {
        let mut hosts = held(&self.hosts);
        let fresh = || Host { life: None, cluster: None, platter: Platter::default(), lives: 0, skew_ms: 0 };
        let host = hosts.entry(n).or_insert_with(fresh);
        if host.life.is_some() {
            return None;
        }
        let dir = self.dir(n, host.lives);
        let disk = SimDisk::new(host.platter.clone());
        let life = Arc::new(Life {
            number: n,
            alive: AtomicBool::new(true),
            disk,
            dir,
            doom: Mutex::default(),
            stalled_until: AtomicU64::new(0),
        });
        host.life = Some(Arc::clone(&life));
        Some(life)
    }

    fn dir(&self, n: u64, lives: u64) -> PathBuf {
        self.root.join(format!("n{n}")).join(lives.to_string())
    }

    fn options(&self, n: u64, dir: &Path) -> Options {
        let mut options = Options::new(dir.to_owned(), name(n));
        options.partitions = self.partitions;
        options.join = if n == 1 { Vec::new() } else { vec![address(1), address(2)] };
        options.peer_advertise = Some(address(n));
        options
    }

    fn witness(self: &Arc<Self>, life: &Arc<Life>) -> Arc<Witness> {
        let (world, seen, node) = (Arc::clone(self), Arc::clone(&self.seen), life.number);
        let now = Arc::new(move || world.now());
        let (world, own) = (Arc::clone(self), Arc::clone(life));
        let alive = Arc::new(move || world.passes(&own, Moment::Publish));
        Arc::new(Witness { node, seen, now, alive, versions: Mutex::default() })
    }

    /// Whether `life` survives this moment.
    fn passes(&self, life: &Arc<Life>, moment: Moment) -> bool {
        if let Some(power) = life.is_doomed(moment).filter(|_| life.is_alive()) {
            self.note(format_args!("n{} dies at {moment:?}", life.number));
            self.end(life.number, life, Some(power));
        }
        life.is_alive()
    }

    fn surroundings(self: &Arc<Self>, life: &Arc<Life>) -> Surroundings {
        let n = life.number;
        let net = Arc::clone(&self.net);
        let disk = Arc::clone(&life.disk);
        let (world, own) = (Arc::clone(self), Arc::clone(life));
        let pace = move |part| {
            if !world.passes(&own, Moment::Round(part)) {
                return Err(io::Error::other("the simulated node is dead"));
            }
            let stall = own.stalled_until.load(Ordering::SeqCst).saturating_sub(world.now());
            Ok(Duration::from_micros(stall.max(world.chance.within(PART_US))))
        };
        let (clock, dying) = (Arc::clone(self), Arc::clone(self));
        let own = Arc::clone(life);
        let on_fatal = move |reason: &str| {
            if own.is_alive() {
                dying.blame("runs-on", format!("n{n} ends itself: {reason}"));
                dying.end(n, &own, Some(false));
            }
        };
        Surroundings {
            link: Some(Box::new(move |peer, side| net.plug(peer, address(n), side))),
            disk: Some(Box::new(move |path| {
                if !path.join("db").exists() {
                    // New, or removed by this start, since nothing was promised of it yet.
                    std::fs::create_dir_all(path)?;
                    std::fs::write(path.join("db"), [])?;
                    disk.wipe();
                }
                Ok(disk as Arc<dyn rollcall_cluster::disk::Disk>)
            })),
            pace: Some(Arc::new(pace)),
            wall_clock: Some(Arc::new(move || clock.clock(n))),
            snapshot_entries: Some(self.snapshot_entries),
            on_fatal: Some(Arc::new(on_fatal)),
            ..Surroundings::default()
        }
    }

    /// Ends node `n` now; nothing that it does from here on is seen. With `power` it loses what its disk had not synced,
    /// or a part of it.
    pub fn kill(&self, n: u64, power: bool) {
        if let Some(life) = self.life(n) {
            self.end(n, &life, Some(power));
        }
    }

    /// `None`: it has ended by itself.
    fn end(&self, n: u64, life: &Arc<Life>, power: Option<bool>) {
        if !life.alive.swap(false, Ordering::SeqCst) {
            return;
        }
        self.net.unplug(&name(n));
        let unsynced = life.disk.unsynced();
        let kept = self.chance.within(0..unsynced as u64 + 1);
        let platter = match power {
            Some(true) => life.disk.cut_power(usize::try_from(kept).unwrap_or(0)),
            Some(false) | None => life.disk.kill(),
        };
        self.note(format_args!(
            "n{n} is dead, power cut: {power:?}, {unsynced} unsynced batches, {kept} kept by a cut"
        ));
        let gone = {
            let mut hosts = held(&self.hosts);
            let Some(host) = hosts.get_mut(&n) else { return };
            host.lives += 1;
            (host.platter, host.life) = (platter, None);
            let next = self.dir(n, host.lives);
            let copied = std::fs::create_dir_all(next.join("store"))
                .and_then(|()| std::fs::write(next.join("store").join("db"), []))
                .and_then(|()| std::fs::copy(life.dir.join("watermark"), next.join("watermark")));
            match copied {
                Ok(_) => {}
                // It died before it had made one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(std::fs::remove_dir_all(&next)),
                Err(error) => panic!("the watermark cannot be kept: {error}"),
            }
            host.cluster.take()
        };
        if let Some(gone) = gone {
            // What is left of it in this process ends some time; it reaches nobody and nothing.
            tokio::spawn(async move { gone.stop().await });
        }
    }
}
