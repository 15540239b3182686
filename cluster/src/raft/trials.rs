//! State machine, log and snapshots together, without a group around them.

use super::{
    log::{LogCell, LogStore},
    machine::{Audience, Machine},
    tether::tie,
    types::{LogId, Proposal, RaftEntry, TypeConfig},
    wire::StoredLogId,
};
use crate::{
    observer::Observer,
    state::{
        cell::StateCell,
        stream::{Chunk, ChunkSource},
    },
    store::{
        checks,
        disk::{Disk, SledDisk},
        opening::{self, Expected, Opened},
        work::{BulkWork, LogWork},
        writer::Writer,
    },
};
use futures::stream;
use openraft::{
    EntryPayload, RaftLogReader, RaftSnapshotBuilder,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt, RaftStateMachine},
};
use rollcall_presence::{
    Command, Entry, Intent, ListChanges, ListKind, ManualStatus, Meta, NodeName, Outcome, PartitionId, Policy,
    RULES_VERSION, RequestKey, UserId,
};
use std::{path::Path, sync::Arc};

const PARTITION: PartitionId = PartitionId(0);

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

/// One partition on a store of its own.
struct Trial {
    disk: Arc<dyn Disk>,
    writer: Arc<Writer>,
    state: Arc<StateCell>,
    log: LogStore,
    machine: Machine,
    _lock: crate::store::lock::DirectoryLock,
}

fn opened(path: &Path) -> Opened {
    let expected = Expected { node: NodeName::new("n1").unwrap(), partitions: 1 };
    let sled = |path: &Path| SledDisk::open(path, 1 << 22).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
    opening::open(path, Box::new(sled), Some(&expected)).unwrap()
}

impl Trial {
    async fn open(path: &Path) -> Self {
        let Opened { lock, disk, watermark, position, identity, log_extents, states, .. } = opened(path);
        let ledger = position.logs.get(&PARTITION).cloned().unwrap_or_default();
        let on_fatal = Arc::new(|reason: &str| panic!("{reason}"));
        let writer = Writer::start(Arc::clone(&disk), watermark, position, on_fatal).unwrap();
        if identity.is_none() {
            let identity = crate::store::ledger::StoredIdentity {
                cluster_id: "c".into(),
                node: NodeName::new("n1").unwrap(),
                raft_id: 1,
                generation: 1,
                partitions: 1,
                founder: true,
            };
            let sealed = crate::store::ledger::Described::sealed(&identity);
            let (done, wait) = crate::store::work::promise();
            writer.queue().log(LogWork::Describe(crate::store::key::IDENTITY.to_vec(), sealed, done));
            wait.await.unwrap();
        }
        let log = LogCell::new(
            PARTITION,
            Arc::clone(&disk),
            &ledger,
            log_extents.get(&PARTITION).copied().unwrap_or_default(),
        );
        let state = StateCell::new(PARTITION, Arc::clone(&disk), states.get(&PARTITION).cloned().unwrap_or_default());
        let (tether, _) = tie();
        let audience = Audience::Observer(Arc::new(Nobody));
        let machine =
            Machine::new(Arc::clone(&state), Arc::clone(&log), Arc::clone(&writer), audience, tether.clone()).unwrap();
        let log = LogStore::new(log, Arc::clone(&writer), tether);
        Self { disk, writer, state, log, machine, _lock: lock }
    }

    async fn append(&mut self, entries: Vec<RaftEntry>) {
        self.log.blocking_append(entries).await.unwrap();
    }

    async fn apply(&mut self, entries: Vec<RaftEntry>) {
        let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        self.machine.apply(entries).await.unwrap();
    }

    async fn both(&mut self, entries: Vec<RaftEntry>) {
        self.append(entries.clone()).await;
        self.apply(entries).await;
    }

    fn close(&self) {
        self.writer.stop();
        self.disk.close();
    }
}

fn id(index: u64) -> LogId {
    StoredLogId { term: 1, index }.into()
}

/// What user 6 asks for has keys.
fn entry(index: u64, user: u64, intent: Intent) -> RaftEntry {
    let key = (user == 6).then(|| RequestKey { key: format!("{index}").into(), digest: [6; 32] });
    let user = UserId::new(&format!("user{user}")).unwrap();
    let commands = vec![Command { user, term: 1, at: index, key, intent }];
    let entry = Entry { rules: RULES_VERSION, policy: Policy::default(), commands };
    RaftEntry::new(id(index), EntryPayload::Normal(Proposal::Presence(Arc::new(entry))))
}

fn status(index: u64, user: u64) -> RaftEntry {
    let text = Some(format!("at {index}").into());
    let intent = Intent::PutStatus { status: ManualStatus::Away, text, meta: Meta::empty(), expires_in_s: None };
    entry(index, user, intent)
}

fn contacts(index: u64, user: u64) -> RaftEntry {
    let add = (0..200).map(|n| UserId::new(&format!("friend{n}-of-{user}")).unwrap()).collect();
    entry(index, user, Intent::ChangeList(ListChanges { list: ListKind::Contacts, add, remove: Vec::new() }))
}

/// A little of everything: lists, settings, keys, a user deleted again.
fn history() -> Vec<RaftEntry> {
    let mut entries = vec![RaftEntry::new_blank(id(0))];
    for index in 1..60 {
        entries.push(if index % 3 == 0 { contacts(index, index % 20) } else { status(index, index % 20) });
    }
    entries.push(entry(60, 6, Intent::DeleteUser));
    entries
}

#[tokio::test]
async fn replaying_the_log_gives_the_same_state() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Trial::open(dir.path()).await;
    first.both(history()).await;
    let wanted = first.state.header();
    first.close();
    drop(first);

    let mut recovered = Trial::open(dir.path()).await;
    assert_eq!(recovered.state.header(), wanted);
    let log = recovered.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert_eq!(log, history());
    let mut replayed = Trial::open(other.path()).await;
    replayed.apply(log).await;
    assert_eq!(replayed.state.header(), wanted);
    recovered.close();
    replayed.close();
}

#[tokio::test]
async fn a_snapshot_is_of_one_moment_and_installs_elsewhere() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut source = Trial::open(dir.path()).await;
    source.both(history()).await;
    let mut snapshot = source.machine.build_snapshot().await.unwrap();
    let moment = source.state.header();
    let first = snapshot.snapshot.next().await.unwrap().unwrap();
    assert!(matches!(Chunk::opened(&first).unwrap(), Chunk::Header(header) if header == moment));
    // What comes after the moment must not be seen: rows changed, added, removed.
    source.both(vec![status(61, 1), contacts(62, 500), entry(63, 2, Intent::DeleteUser)]).await;
    assert_ne!(source.state.header().digest, moment.digest);

    let mut target = Trial::open(other.path()).await;
    target.both(vec![RaftEntry::new_blank(id(0)), status(1, 9), contacts(2, 9)]).await;
    let rest = Rejoined { first: Some(first), rest: snapshot.snapshot };
    target.machine.install_snapshot(&snapshot.meta, Box::new(rest)).await.unwrap();
    let installed = target.state.header();
    assert_eq!((installed.digest, installed.ledger), (moment.digest, moment.ledger));
    assert_eq!(target.machine.applied_state().await.unwrap().0, Some(id(60)));
    target.log.purge(id(60)).await.unwrap();
    target.append(vec![status(61, 1)]).await;
    target.apply(vec![status(61, 1)]).await;
    let wanted = target.state.header();
    target.close();
    drop(target);
    let target = Trial::open(other.path()).await;
    assert_eq!(target.state.header(), wanted);
    source.close();
    target.close();
}

/// A snapshot whose first chunk was looked at already.
struct Rejoined {
    first: Option<Vec<u8>>,
    rest: crate::state::stream::SnapshotStream,
}

impl ChunkSource for Rejoined {
    fn next(&mut self) -> futures::future::BoxFuture<'_, std::io::Result<Option<Vec<u8>>>> {
        match self.first.take() {
            Some(first) => Box::pin(std::future::ready(Ok(Some(first)))),
            None => self.rest.next(),
        }
    }
}

#[tokio::test]
async fn an_install_that_breaks_off_leaves_the_state_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.both(history()).await;
    let before = trial.state.header();
    let mut snapshot = trial.machine.build_snapshot().await.unwrap();
    let header = snapshot.snapshot.next().await.unwrap();
    let half = Rejoined { first: header, rest: Box::new(Nothing) };
    assert!(trial.machine.install_snapshot(&snapshot.meta, Box::new(half)).await.is_err());
    assert_eq!(trial.state.header(), before);
    trial.close();
    drop(trial);
    let trial = Trial::open(dir.path()).await;
    assert_eq!(trial.state.header(), before);
    trial.close();
}

struct Nothing;

impl ChunkSource for Nothing {
    fn next(&mut self) -> futures::future::BoxFuture<'_, std::io::Result<Option<Vec<u8>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[tokio::test]
async fn a_log_is_not_given_up_before_its_state_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.append(history()).await;
    // Nothing was applied: whatever openraft asks for, the rows stay.
    trial.log.purge(id(30)).await.unwrap();
    trial.append(vec![status(61, 1)]).await;
    trial.close();
    drop(trial);
    let mut trial = Trial::open(dir.path()).await;
    let log = trial.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert_eq!(log.len(), 62);
    trial.apply(history()).await;
    trial.machine.build_snapshot().await.unwrap();
    trial.log.purge(id(30)).await.unwrap();
    trial.append(vec![status(62, 1)]).await;
    trial.close();
    drop(trial);
    let mut trial = Trial::open(dir.path()).await;
    let state = trial.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(30)), Some(id(62))));
    trial.close();
}

#[tokio::test]
async fn a_gap_in_a_log_and_an_old_vote_are_refused() {
    let refused = |path: &Path| {
        let expected = Expected { node: NodeName::new("n1").unwrap(), partitions: 1 };
        let sled = |path: &Path| SledDisk::open(path, 1 << 22).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        opening::open(path, Box::new(sled), Some(&expected)).err().unwrap().to_string()
    };
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.append(vec![RaftEntry::new_blank(id(0)), RaftEntry::new_blank(id(2))]).await;
    trial.close();
    drop(trial);
    assert!(refused(dir.path()).contains("entry 1 is missing"), "{}", refused(dir.path()));

    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.log.save_vote(&super::types::Vote::new(0, 1)).await.unwrap();
    trial.append(vec![RaftEntry::new_blank(id(0))]).await;
    trial.close();
    drop(trial);
    assert!(refused(dir.path()).contains("its vote is of term 0, its last entry of term 1"));
}

#[tokio::test]
async fn a_truncated_tail_is_gone_and_can_be_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.append(history()).await;
    let flushed = IOFlushed::<TypeConfig>::noop();
    // Appended and truncated before it is on disk.
    trial.log.append(vec![status(61, 1), status(62, 1)], flushed).await.unwrap();
    trial.log.truncate_after(Some(id(40))).await.unwrap();
    trial.append(vec![status(41, 7)]).await;
    let read = trial.log.get_log_reader().await.try_get_log_entries(40..).await.unwrap();
    assert_eq!(read, [history()[40].clone(), status(41, 7)]);
    trial.close();
    drop(trial);
    let mut trial = Trial::open(dir.path()).await;
    let read = trial.log.get_log_reader().await.try_get_log_entries(40..).await.unwrap();
    assert_eq!(read, [history()[40].clone(), status(41, 7)]);
    trial.close();
}

#[tokio::test]
async fn what_replaces_a_truncated_tail_is_not_durable_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.append(history()).await;
    trial.log.append(vec![status(61, 1), status(62, 1)], IOFlushed::<TypeConfig>::noop()).await.unwrap();
    trial.log.truncate_after(Some(id(40))).await.unwrap();
    assert_eq!(trial.log.durable(), 40, "entries after it would leave memory before they can be read from disk");
    trial.close();
}

/// A crash at this point must find a log that explains its gap.
#[tokio::test]
async fn an_entry_behind_an_installed_snapshot_is_never_on_disk_without_the_purge() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut source = Trial::open(dir.path()).await;
    source.both(history()).await;
    let snapshot = source.machine.build_snapshot().await.unwrap();
    let mut target = Trial::open(other.path()).await;
    target.both(vec![RaftEntry::new_blank(id(0)), status(1, 9)]).await;
    target.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    // Other groups install too: bulk work waits, a round for each.
    for n in 0..200u8 {
        let elsewhere = crate::store::key::state_prefix(PartitionId(9), u32::from(n));
        target.writer.queue().bulk(BulkWork::Rows(vec![(elsewhere, Some(vec![n]))], Box::new(|| {})));
    }
    target.log.purge(id(60)).await.unwrap();
    target.append(vec![status(61, 1)]).await;
    let rows = checks::read_described(&*target.disk).unwrap();
    let log = checks::read_groups(&*target.disk, &rows, 1).unwrap().logs.remove(&PARTITION).unwrap();
    assert_eq!((log.purged, log.last), (Some(id(60).into()), Some(id(61).into())));
    source.close();
    target.close();
}

#[tokio::test]
async fn a_writer_that_panics_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { disk, watermark, position, .. } = opened(dir.path());
    let (fatal, reason) = std::sync::mpsc::channel();
    let on_fatal = Arc::new(move |reason: &str| fatal.send(reason.to_owned()).unwrap());
    let writer = Writer::start(Arc::clone(&disk), watermark, position, on_fatal).unwrap();
    let answered_badly = Box::new(|| panic!("whoever waited cannot be told"));
    writer.queue().log(LogWork::Describe(crate::store::key::IDENTITY.to_vec(), Vec::new(), answered_badly));
    let reason = reason.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert!(reason.contains("panicked"), "{reason}");
    writer.stop();
    disk.close();
}

#[tokio::test]
async fn a_snapshot_that_a_dead_writer_would_have_to_make_durable_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    let answered_badly = Box::new(|| panic!("whoever waited cannot be told"));
    trial.writer.queue().log(LogWork::Describe(crate::store::key::IDENTITY.to_vec(), Vec::new(), answered_badly));
    trial.writer.queue().died().await;
    trial.apply(vec![status(0, 1)]).await;
    let built = tokio::time::timeout(std::time::Duration::from_secs(30), trial.machine.build_snapshot()).await;
    assert!(built.expect("it ends").is_err());
    trial.close();
}

#[tokio::test]
async fn a_log_knows_after_a_restart_how_much_was_appended_since_the_last_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = Trial::open(dir.path()).await;
    trial.both(history()).await;
    trial.log.purge(id(40)).await.unwrap();
    trial.both(vec![status(61, 1)]).await;
    let grown = trial.log.cell.growth();
    trial.close();
    drop(trial);
    let again = Trial::open(dir.path()).await;
    let (bytes, entries) = again.log.cell.growth();
    assert_eq!(entries, 21, "those behind the purge");
    assert!(bytes > 0 && bytes < grown.0, "{bytes} of {grown:?}");
    again.close();
}

#[test]
fn nothing_is_found_in_a_new_directory() {
    let dir = tempfile::tempdir().unwrap();
    let opened = opened(dir.path());
    assert!(opened.states.is_empty() && opened.identity.is_none());
    assert!(opened.leftovers.is_empty() && opened.dropped.is_empty());
    opened.disk.close();
}
