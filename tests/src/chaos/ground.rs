//! What a run stands on: networks, disks and clocks as far as the chosen faults need them and this machine has them.

use super::{
    Kind,
    kind::Need,
    network::Network,
    system::{is_left_over, run},
    volume::Volumes,
};
use crate::place::Place;
use std::{collections::BTreeSet, env, fs, path::PathBuf, process};

/// Where Debian keeps the library, below the folder of the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// Begins the names of the folders with clocks.
const PREFIX: &str = "rollcall-clocks-";

/// Files that say how far the clocks of nodes are off.
#[derive(Debug)]
pub(super) struct Clocks {
    preloaded: PathBuf,
    root: PathBuf,
}

impl Clocks {
    fn new(nodes: usize) -> Result<Self, String> {
        for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
            if is_left_over(&entry.file_name().to_string_lossy(), PREFIX) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let kinds = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let preloaded = kinds.map(|kind| kind.path().join(LIBRARY)).find(|path| path.exists());
        let preloaded = preloaded.ok_or("no libfaketime (package libfaketime)")?;
        let clocks = Self { preloaded, root: env::temp_dir().join(format!("{PREFIX}{}", process::id())) };
        fs::create_dir_all(&clocks.root).map_err(|e| e.to_string())?;
        (0..nodes).try_for_each(|at| clocks.set(at, 0))?;
        Ok(clocks)
    }

    fn file(&self, at: usize) -> PathBuf {
        self.root.join(format!("n{}", at + 1))
    }

    /// The clock of the node at `at` is this many seconds off from now on. The monotonic one never is.
    pub(super) fn set(&self, at: usize, seconds: i64) -> Result<(), String> {
        // Renamed, so that no reader finds it half written.
        let new = self.root.join("new");
        fs::write(&new, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&new, self.file(at)))
            .map_err(|e| e.to_string())
    }

    fn env(&self, at: usize) -> Vec<(String, String)> {
        let file = self.file(at).to_string_lossy().into_owned();
        let preloaded = self.preloaded.to_string_lossy().into_owned();
        let pair = |name: &str, value: String| (name.to_owned(), value);
        vec![
            pair("LD_PRELOAD", preloaded),
            pair("FAKETIME_TIMESTAMP_FILE", file),
            pair("FAKETIME_NO_CACHE", "1".into()),
            pair("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            pair("DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).ok();
    }
}

/// What there is; what no fault needs is not made.
#[derive(Debug, Default)]
pub(super) struct Ground {
    pub(super) network: Option<Network>,
    pub(super) volumes: Option<Volumes>,
    pub(super) clocks: Option<Clocks>,
    nodes: usize,
}

/// A kind that is not run, and why.
pub type NotRun = (Kind, String);

impl Ground {
    /// Makes what `kinds` need for `nodes` nodes; the kinds that can be run, and those that cannot.
    pub(super) fn make(kinds: &[Kind], nodes: usize) -> (Self, Vec<Kind>, Vec<NotRun>) {
        let mut ground = Self { nodes, ..Self::default() };
        let needs: BTreeSet<Need> = kinds.iter().filter_map(|kind| kind.need()).collect();
        let mut missing: Vec<(Need, String)> = Vec::new();
        for need in needs {
            let made = match need {
                Need::Network => Network::new(nodes).map(|network| ground.network = Some(network)),
                Need::Volume => Volumes::new(nodes).map(|volumes| ground.volumes = Some(volumes)),
                Need::Clock => Clocks::new(nodes).map(|clocks| ground.clocks = Some(clocks)),
            };
            if let Err(why) = made {
                missing.push((need, why));
            }
        }
        let why = |kind: &Kind| missing.iter().find(|(need, _)| kind.need() == Some(*need)).map(|(_, why)| why.clone());
        let not_run = kinds.iter().filter_map(|kind| Some((*kind, why(kind)?))).collect();
        let run = kinds.iter().filter(|kind| why(kind).is_none()).copied().collect();
        (ground, run, not_run)
    }

    /// How many places there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Where the nodes are.
    pub(super) fn places(&self) -> Vec<Place> {
        (0..self.nodes).map(|at| self.place(at)).collect()
    }

    fn place(&self, at: usize) -> Place {
        let mut place = Place::here();
        if let Some(network) = &self.network {
            (place.http, place.peer, place.within) = (network.http(at), network.peer(at), network.within(at));
        }
        place.data = self.volumes.as_ref().map(|volumes| volumes.data(at));
        place.env = self.clocks.as_ref().map(|clocks| clocks.env(at)).unwrap_or_default();
        place
    }
}

/// Sends a signal to a process of this run.
pub(super) fn signal(name: &str, process: u32) -> Result<(), String> {
    run("sh", &["-c", "kill -s \"$1\" \"$2\"", "signal", name, &process.to_string()]).map(drop)
}
