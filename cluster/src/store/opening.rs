//! A data directory opened, or made: locked, recovered, checked.
//!
//! sled recovers what it can and says nothing of the rest. Here every row is read once and added up, and compared with what
//! the rows that describe them say, these with the last round, and that with the watermark. Promises that what starts has
//! lost nothing that was acknowledged; what does not add up is refused with the reason and the way out.

use super::{
    checks,
    disk::{Disk, OpenDisk, SledDisk},
    key,
    ledger::{Described, RoundRow, StateHeader, StoredIdentity, described_digest},
    lock::DirectoryLock,
    watermark::{Watermark, WatermarkError},
    writer::Position,
};
use crate::peers::PeersError;
use rollcall_presence::{NodeName, PartitionId};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// What to do about a directory that cannot be believed.
const WAY_OUT: &str = "restore this directory from a backup, or move it away and start the node as a new one, \
                       which joins and gets everything from its peers";

/// Why a data directory is not started from. Unless it says otherwise, nothing of ours was changed in it.
#[derive(Debug, Error)]
pub enum StartError {
    /// Peers cannot reach this node.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// Another process uses the directory.
    #[error("{} is used by another process; stop that one, or give this one another --data-dir", .0.display())]
    Held(PathBuf),
    /// The directory cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database, or its watermark, is missing, damaged, or older than what was acknowledged.
    #[error("the store in {} is not what was acknowledged: {why}. Nothing was started. To go on, {WAY_OUT}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Written by a newer program.
    #[error("the store in {} was written by a newer version of this program ({why}); start that version", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The cluster was made with another number of partitions.
    #[error(
        "cluster.partitions is {asked}, but the cluster was made with {founded}; it cannot be changed, set {founded}"
    )]
    Partitions {
        /// The number found.
        founded: u16,
        /// The number asked for.
        asked: u16,
    },
    /// The directory belongs to a node of another name.
    #[error("node.name is {asked}, but this directory belongs to {founded}; use that name, or another --data-dir")]
    Name {
        /// The name found.
        founded: NodeName,
        /// The name asked for.
        asked: NodeName,
    },
    /// The cluster key of the node that was asked is another one.
    #[error("the node at {address} has another cluster key; give this one the same (cluster.key_file)")]
    WrongKey {
        /// Who was asked.
        address: String,
    },
    /// The node that was asked belongs to another cluster.
    #[error(
        "this node belongs to the cluster {ours}, but {address} to {theirs}; set cluster.join to nodes of its own cluster, or \
         give it another --data-dir"
    )]
    WrongCluster {
        /// Who was asked.
        address: String,
        /// Its cluster.
        theirs: String,
        /// This node's.
        ours: String,
    },
    /// Another node has the name, or had it until its data was wiped.
    #[error(
        "the name {name} belongs to another node of the cluster at {address}, also if this is the same machine with its data \
         wiped; remove the old member first (DELETE /v1/cluster/nodes/{name}), or choose another name (node.name)"
    )]
    NameInUse {
        /// Who was asked.
        address: String,
        /// The name.
        name: NodeName,
    },
    /// The program is too old or too new for the cluster.
    #[error(
        "this program does not run beside the cluster at {address}: {why}; use the version that the other nodes run"
    )]
    Incompatible {
        /// Who was asked.
        address: String,
        /// What does not fit.
        why: String,
    },
    /// The cluster does not let this node in for another reason.
    #[error("the cluster at {address} does not let this node in: {why}")]
    Refused {
        /// Who was asked.
        address: String,
        /// Why.
        why: String,
    },
    /// Nobody let this node in, in time.
    #[error(
        "no cluster was joined in {} s ({said}); check the addresses in cluster.join and that a node there runs and has a \
         leader",
        patience.as_secs()
    )]
    NeverJoined {
        /// How long it was tried.
        patience: std::time::Duration,
        /// What each address said last.
        said: String,
    },
    /// No peers can be served.
    #[error("{0}; see peer.listen and peer.tls")]
    Links(String),
    /// A setting is out of range.
    #[error("{0}")]
    Setting(String),
    /// A group did not start.
    #[error("{group} did not start: {why}")]
    Group {
        /// Which: a partition, or the placement.
        group: String,
        /// Why.
        why: String,
    },
}

/// Who is to be found in the directory, or put there; without it, whoever is there.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// The node's name.
    pub node: NodeName,
    /// The number of partitions.
    pub partitions: u16,
}

/// A directory that may be started from.
pub(crate) struct Opened {
    /// Held as long as the store is.
    pub lock: DirectoryLock,
    /// The database.
    pub disk: Arc<dyn Disk>,
    /// Beside it.
    pub watermark: Watermark,
    /// Where the writer goes on.
    pub position: Position,
    /// Who this node is; `None` when nobody was yet.
    pub identity: Option<StoredIdentity>,
    /// What was seen of the logs.
    pub log_extents: BTreeMap<PartitionId, checks::Extent>,
    /// The states, by partition.
    pub states: BTreeMap<PartitionId, StateHeader>,
    /// Rows of no state, left by an install that broke off.
    pub leftovers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of replicas that were being dropped. They must be gone before these partitions are kept again.
    pub dropped: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Opens `path`, or makes it. Blocks, and reads everything that is there.
///
/// # Errors
/// [`StartError`], saying what to do.
pub(crate) fn open(path: &Path, open_disk: OpenDisk, expected: Option<&Expected>) -> Result<Opened, StartError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { path, source }
    };
    let damaged = |why: String| StartError::Damaged { path: path.to_owned(), why };
    std::fs::create_dir_all(path).map_err(io(path))?;
    let lock_path = path.join("lock");
    let lock = DirectoryLock::take(&lock_path).map_err(io(&lock_path))?;
    let lock = lock.ok_or_else(|| StartError::Held(path.to_owned()))?;
    let (mark_path, store_path) = (path.join("watermark"), path.join("store"));
    let found = Watermark::open(&mark_path).map_err(|error| match error {
        WatermarkError::Unreadable => damaged("the file `watermark` cannot be read".into()),
        WatermarkError::Io(source) => StartError::Io { path: mark_path.clone(), source },
    })?;
    let (watermark, promised) = match found {
        Some(found) => found,
        None if store_path.exists() => return Err(damaged("the file `watermark` is missing".into())),
        None => (Watermark::create(&mark_path).map_err(io(&mark_path))?, 0),
    };
    if promised == 0 {
        // Nothing was acknowledged yet: what an interrupted first start left behind means nothing.
        match std::fs::remove_dir_all(&store_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&store_path)(error)),
            _ => {}
        }
    } else if !store_path.join("db").exists() {
        return Err(damaged("the database is missing".into()));
    }
    let disk = open_disk(&store_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StartError::Held(path.to_owned()),
        kind if is_of_surroundings(kind) => io(&store_path)(error),
        _ => damaged(format!("it cannot be opened: {error}{}", index_hint(&store_path))),
    })?;
    if SledDisk::blobs(&store_path).is_ok_and(|files| !files.is_empty()) {
        // What is read below is checked all the same; but no value of ours is long enough to get there.
        tracing::error!(path = %store_path.display(), "the database put pages into files that it never syncs");
    }
    if promised == 0 {
        sync_directories(path, &store_path).map_err(io(path))?;
    }
    let recovered = recover(&*disk, promised, expected).map_err(|refusal| match refusal {
        checks::Refusal::Damaged(why) => damaged(why),
        checks::Refusal::Newer(why) => StartError::Newer { path: path.to_owned(), why },
        checks::Refusal::Other(error) => error,
    });
    let (position, identity, groups) = match recovered {
        Ok(recovered) => recovered,
        Err(error) => {
            disk.close();
            return Err(error);
        }
    };
    let checks::Groups { log_extents, states, leftovers, dropped, .. } = groups;
    Ok(Opened { lock, disk, watermark, position, identity, log_extents, states, leftovers, dropped })
}

/// Whether an error says nothing of the database, but of what it lies on: nobody should move it away for that.
fn is_of_surroundings(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem | OutOfMemory)
}

/// New files must be found again after a power cut.
fn sync_directories(path: &Path, store: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    for folder in [store, path].into_iter().chain(parent) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// What else may be tried, where sled's index of its pages is there: without it sled reads everything, and all is checked.
fn index_hint(store_path: &Path) -> String {
    let files = std::fs::read_dir(store_path).into_iter().flatten().flatten();
    let indexes: Vec<String> =
        files.map(|file| file.path()).filter(|path| is_index(path)).map(|path| path.display().to_string()).collect();
    match indexes.is_empty() {
        true => String::new(),
        false => format!(" (the index alone may be torn: move {} away, and start again)", indexes.join(", ")),
    }
}

fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
}

type Recovered = (Position, Option<StoredIdentity>, checks::Groups);

fn recover(disk: &dyn Disk, promised: u64, expected: Option<&Expected>) -> Result<Recovered, checks::Refusal> {
    let round = match disk.get(key::ROUND).map_err(|e| checks::unreadable(&e))? {
        Some(sealed) => RoundRow::opened(&sealed).map_err(|e| checks::described("the last round", &e))?,
        None => RoundRow::default(),
    };
    if round.number < promised {
        return Err(checks::Refusal::Damaged(format!(
            "it ends with round {}, below the watermark {promised}: what came after is lost",
            round.number
        )));
    }
    let described = checks::read_described(disk)?;
    if described_digest(&described) != round.digest {
        return Err(checks::Refusal::Damaged("the rows that describe it do not add up".into()));
    }
    let identity = described.get(key::IDENTITY).map(|sealed| StoredIdentity::opened(sealed)).transpose();
    let identity = identity.map_err(|e| checks::described("the identity", &e))?;
    match (&identity, expected) {
        (Some(identity), Some(expected)) => checks::identity(identity, expected)?,
        (Some(_), None) => {}
        (None, _) if round.number > 0 => return Err(checks::Refusal::Damaged("the node's identity is missing".into())),
        (None, Some(_)) => {}
        (None, None) => return Err(checks::Refusal::Damaged("there is nothing in it".into())),
    }
    let partitions = identity.as_ref().map(|identity| identity.partitions);
    let partitions = partitions.or(expected.map(|expected| expected.partitions)).unwrap_or(0);
    let mut groups = checks::read_groups(disk, &described, partitions)?;
    let applied = groups.states.iter().filter_map(|(p, header)| header.applied.map(|id| (*p, id))).collect();
    let position = Position { round, described, logs: std::mem::take(&mut groups.logs), applied };
    Ok((position, identity, groups))
}
