//! A cluster whose quorum is lost for good, brought back from what one node has left.
//!
//! Works on the directory of a stopped node. First every log of it gets an entry that makes this node the only voter; then the
//! groups run once, without links, and the placement is told so. Promises that looking changes nothing, and that what broke off
//! can be done again. What others acknowledged and this node never had is lost, and so are partitions that it does not hold.

use crate::{
    Observer,
    hosting::{self, Found, Ground, Hosting},
    limits::{FOUND_MS, RECOVER_CACHE_BYTES},
    options::Options,
    peers::NoPeers,
    placement_group::PLACEMENT,
    raft::{
        landing::sweep,
        types::{LogId, Member, RaftEntry},
        wire,
    },
    role::Role,
    starting::draw_cluster_id,
    state::{cell::StateCell, placed::placement},
    store::{
        disk::{Disk, SledDisk},
        envelope::{self, Kind},
        key,
        ledger::{Described, StoredIdentity},
        opening::{self, Opened, StartError},
        work::{LogWork, SealedEntry, promise},
        writer::Writer,
    },
};
use futures::future::try_join_all;
use openraft::{EntryPayload, entry::RaftEntry as _};
use rollcall_presence::{NodeName, Outcome, PartitionId, Placement, PlacementCommand};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// What a stopped node's directory holds of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// The cluster.
    pub cluster_id: String,
    /// Whose directory it is.
    pub node: NodeName,
    /// The other members, as this node knew them last.
    pub others: Vec<NodeName>,
    /// Users in all that is left.
    pub users: u64,
    /// All partitions of the cluster, in order.
    pub partitions: Vec<PartitionRemains>,
}

/// What is left of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRemains {
    /// Which.
    pub id: PartitionId,
    /// What is here of it.
    pub kept: Kept,
}

/// What is here of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The log up to this entry: later ones that others acknowledged are missing.
    Upto(u64),
    /// A replica that was still being filled, up to this entry.
    Partly(u64),
    /// Nothing.
    Nothing,
}

/// Nobody is told of what is applied meanwhile.
struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

/// Says what is left in the directory of a stopped node. Changes nothing.
///
/// # Errors
/// [`StartError`], also when there is nothing, or the node runs.
pub async fn inspect(data_dir: &Path) -> Result<Remains, StartError> {
    let opened = open(data_dir).await?;
    let remains = look(data_dir, &opened);
    opened.disk.close();
    remains
}

/// Makes the node, which is stopped, the only one of a cluster that has what is left in its directory; answers what that was.
/// Others may join it with empty directories.
///
/// # Errors
/// [`StartError`]; asking again goes on.
pub async fn force(data_dir: &Path) -> Result<Remains, StartError> {
    let opened = open(data_dir).await?;
    let remains = match look(data_dir, &opened) {
        Ok(remains) => remains,
        Err(error) => {
            opened.disk.close();
            return Err(error);
        }
    };
    seize(data_dir, opened).await?;
    settle(data_dir, open(data_dir).await?, &remains).await?;
    Ok(remains)
}

async fn open(data_dir: &Path) -> Result<Opened, StartError> {
    let path = data_dir.to_owned();
    if !path.join("watermark").exists() {
        return Err(damaged(data_dir, "no node has kept anything here"));
    }
    let sled = |path: &Path| SledDisk::open(path, RECOVER_CACHE_BYTES).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
    let opening = tokio::task::spawn_blocking(move || opening::open(&path, Box::new(sled), None));
    opening.await.unwrap_or_else(|panic| Err(damaged(data_dir, &format!("reading it panicked: {panic}"))))
}

fn damaged(data_dir: &Path, why: &str) -> StartError {
    StartError::Damaged { path: data_dir.to_owned(), why: why.to_owned() }
}

fn disk_failed(data_dir: &Path) -> StartError {
    let source = io::Error::new(io::ErrorKind::BrokenPipe, "the disk failed");
    StartError::Io { path: data_dir.to_owned(), source }
}

fn look(data_dir: &Path, opened: &Opened) -> Result<Remains, StartError> {
    let identity = opened.identity.as_ref().ok_or_else(|| damaged(data_dir, "the node's identity is missing"))?;
    let header = opened.states.get(&PLACEMENT).cloned().unwrap_or_default();
    let state = StateCell::new(PLACEMENT, Arc::clone(&opened.disk), header);
    let known: Placement = state.with_rows(placement).map_err(|error| damaged(data_dir, &error.to_string()))?;
    if !known.members.contains_key(&identity.node) {
        return Err(damaged(
            data_dir,
            "the node never heard who belongs to its cluster: another one must be recovered",
        ));
    }
    let state = |id: PartitionId| opened.states.get(&id).and_then(|state| state.applied);
    let kept = |id: PartitionId| match opened.position.logs.get(&id).and_then(|log| log.last).max(state(id)) {
        Some(last) if known.replicas_of(id).any(|name| *name == identity.node) => Kept::Upto(last.index),
        Some(last) => Kept::Partly(last.index),
        None => Kept::Nothing,
    };
    let partitions = (0..identity.partitions).map(PartitionId).map(|id| PartitionRemains { id, kept: kept(id) });
    Ok(Remains {
        cluster_id: identity.cluster_id.clone(),
        node: identity.node.clone(),
        others: known.members.keys().filter(|name| **name != identity.node).cloned().collect(),
        users: opened.states.values().map(|state| state.ledger.users).sum(),
        partitions: partitions.collect(),
    })
}

/// Makes this node the only voter of every group that it has something of. What voted and has nothing is forgotten: it is
/// founded afresh.
async fn seize(data_dir: &Path, opened: Opened) -> Result<(), StartError> {
    let Opened { lock, disk, watermark, position, identity, states, .. } = opened;
    let identity = identity.ok_or_else(|| damaged(data_dir, "the node's identity is missing"))?;
    let applied = |id: &PartitionId| states.get(id).and_then(|state| state.applied);
    let ends: Vec<_> = position.logs.iter().map(|(id, log)| (*id, log.last, applied(id))).collect();
    let writer = Writer::start(Arc::clone(&disk), watermark, position, fatal())
        .map_err(|source| StartError::Io { path: data_dir.to_owned(), source })?;
    let mut waits = Vec::new();
    for (partition, last, applied) in ends {
        let Some(end) = last.max(applied) else {
            let (done, wait) = promise();
            writer.queue().forget(partition, done);
            waits.push(wait);
            continue;
        };
        if last < Some(end) {
            // The state came with a snapshot, and the log lags behind: it goes on where the state ends, without a gap.
            writer.queue().log(LogWork::Purge(partition, end));
        }
        let nodes = BTreeMap::from([(identity.raft_id, Member { name: identity.node.clone() })]);
        let members = openraft::Membership::new(vec![BTreeSet::from([identity.raft_id])], nodes);
        let members = members.map_err(|error| damaged(data_dir, &error.to_string()))?;
        let mut next = end;
        next.index += 1;
        let entry = RaftEntry::new(LogId::from(next), EntryPayload::Membership(members));
        let sealed = envelope::seal(Kind::LogEntry, &wire::encode_entry(&entry));
        let room = writer.append_room(sealed.len()).await;
        let (done, wait) = promise();
        let entries = vec![SealedEntry { id: next, sealed }];
        writer.queue().log(LogWork::Append { partition, entries, room, done });
        waits.push(wait);
    }
    let written = try_join_all(waits).await;
    close(&writer, &disk).await;
    drop(lock);
    written.map(|_| ()).map_err(|_| disk_failed(data_dir))
}

/// Runs all groups once, founds those that are missing, and has the placement say what there is now.
async fn settle(data_dir: &Path, opened: Opened, remains: &Remains) -> Result<(), StartError> {
    let Opened { lock, disk, watermark, position, identity, log_extents, states, dropped, .. } = opened;
    let identity = identity.ok_or_else(|| damaged(data_dir, "the node's identity is missing"))?;
    let found = Found { states, logs: position.logs.clone(), log_extents };
    let writer = Writer::start(Arc::clone(&disk), watermark, position, fatal())
        .map_err(|source| StartError::Io { path: data_dir.to_owned(), source })?;
    for (from, to) in dropped {
        sweep(&writer, from, to).await.map_err(|_| disk_failed(data_dir))?;
    }
    let options = Options::new(data_dir.to_owned(), identity.node.clone());
    let (_healthy, health) = watch::channel(true);
    let ground = Ground {
        node: identity.node.clone(),
        raft_id: identity.raft_id,
        disk: Arc::clone(&disk),
        writer: Arc::clone(&writer),
        link: Arc::new(NoPeers),
        observer: Arc::new(Nobody),
        config: hosting::config(&options)?,
        policy: options.policy,
        writes_in_flight: options.writes_in_flight,
        health,
    };
    let hosting = Hosting::new(ground, identity.partitions, found);
    let done = salvage(data_dir, &hosting, &writer, identity, remains).await;
    hosting.stop().await;
    close(&writer, &disk).await;
    drop(lock);
    done
}

async fn salvage(
    data_dir: &Path,
    hosting: &Hosting,
    writer: &Writer,
    identity: StoredIdentity,
    remains: &Remains,
) -> Result<(), StartError> {
    hosting.open_held().await?;
    try_join_all(remains.partitions.iter().map(|partition| hosting.found(partition.id))).await?;
    let group = hosting.placement_group().ok_or_else(|| damaged(data_dir, "the placement is missing"))?;
    let mut role = hosting.placement_role_watch();
    let leads = role.wait_for(|role| matches!(role, Role::Home { .. }));
    let not_told = |why: String| StartError::Group { group: "the placement".into(), why };
    let led = timeout(Duration::from_millis(FOUND_MS), leads).await;
    led.map_err(|_| not_told("it has no leader in time".into()))?.map_err(|error| not_told(error.to_string()))?;
    let cluster_id = draw_cluster_id();
    let command = PlacementCommand::Salvage { cluster_id: cluster_id.clone(), name: identity.node.clone() };
    let told = group.propose(command).await.map_err(|error| not_told(error.to_string()))?;
    told.map_err(|refusal| not_told(refusal.to_string()))?;
    let (done, wait) = promise();
    let identity = StoredIdentity { cluster_id, ..identity };
    writer.queue().log(LogWork::Describe(key::IDENTITY.to_vec(), identity.sealed(), done));
    wait.await.map_err(|_| disk_failed(data_dir))
}

/// A disk that fails is said by what waits for it.
fn fatal() -> crate::OnFatal {
    Arc::new(|reason| tracing::error!(reason, "the disk failed"))
}

async fn close(writer: &Arc<Writer>, disk: &Arc<dyn Disk>) {
    let (writer, disk) = (Arc::clone(writer), Arc::clone(disk));
    let closed = tokio::task::spawn_blocking(move || {
        writer.stop();
        disk.close();
    });
    if let Err(error) = closed.await {
        tracing::error!(%error, "the store did not close cleanly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cluster, NoPresence, Surroundings, raft::wire::StoredVote};

    const VOTED: PartitionId = PartitionId(0);
    const AHEAD: PartitionId = PartitionId(1);

    async fn start(data_dir: &Path) -> Arc<Cluster> {
        let mut options = Options::new(data_dir.to_owned(), NodeName::new("n1").unwrap());
        (options.partitions, options.peer_listen) = (2, "127.0.0.1:0".parse().unwrap());
        let (nobody, surroundings) = (Arc::new(Nobody), Surroundings::default());
        let cluster = Cluster::start_within(options, nobody, Arc::new(NoPresence), surroundings).await.unwrap();
        for id in [VOTED, AHEAD] {
            let mut role = cluster.partition(id).role();
            let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
            timeout(Duration::from_secs(30), home).await.expect("a home in time").unwrap();
        }
        cluster
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_only_voted_and_what_has_more_state_than_log_lead_again() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        start(&data_dir).await.stop().await;
        let Opened { lock, disk, watermark, position, states, .. } = open(&data_dir).await.unwrap();
        let applied = states[&AHEAD].applied.unwrap();
        let writer = Writer::start(Arc::clone(&disk), watermark, position, fatal()).unwrap();
        let (done, forgotten) = promise();
        writer.queue().forget(VOTED, done);
        forgotten.await.unwrap();
        for (from, to) in [key::log_range(VOTED), key::state_range(VOTED)] {
            sweep(&writer, from, to).await.unwrap();
        }
        let (done, voted) = promise();
        writer.queue().log(LogWork::Vote(VOTED, StoredVote { term: 7, node: 9, committed: false }, done));
        let (done, truncated) = promise();
        writer.queue().log(LogWork::Truncate(AHEAD, None, done));
        try_join_all([voted, truncated]).await.unwrap();
        close(&writer, &disk).await;
        drop((lock, disk));
        let remains = force(&data_dir).await.unwrap();
        let kept: Vec<Kept> = remains.partitions.iter().map(|partition| partition.kept).collect();
        assert_eq!(kept, [Kept::Nothing, Kept::Upto(applied.index)]);
        start(&data_dir).await.stop().await;
    }
}
