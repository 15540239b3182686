//! Groups over several nodes in one process: what replicas do as they are let in, cut off, dropped and opened again.

use crate::{
    hosting::{self, Found, Ground, Hosting},
    observer::Observer,
    options::Options,
    partition::Partition,
    peers::{NoPresence, Peer, PeerAt, PeerLink, PeerSide, PresenceLane},
    placement_group::{PLACEMENT, PlacementGroup},
    proposer::{Group, ProposeError},
    raft::{
        landing::sweep,
        link::{Ask, Told},
        types::Member,
    },
    role::Role,
    store::{
        disk::{Disk, SledDisk},
        key,
        ledger::{Described, StoredIdentity},
        lock::DirectoryLock,
        opening::{self, Expected, Opened},
        work::{LogWork, promise},
        writer::Writer,
    },
    switchboard::Switchboard,
    transfer::{TransferError, transfer},
};
use futures::future::BoxFuture;
use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver, metrics::RaftMetrics};
use rollcall_presence::{
    Command, Intent, ManualStatus, Meta, Newcomer, NodeName, Outcome, PartitionId, PlacementCommand, RULES_VERSION,
    UserId,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

mod rebuilding;
mod returning;
mod spreading;
mod the_placement;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
const P: PartitionId = PartitionId(0);

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

fn name(n: u64) -> NodeName {
    NodeName::new(&format!("n{n}")).unwrap()
}

/// What a node answers: whoever knows it is let in.
struct Open {
    hosting: Arc<Hosting>,
    lane: Arc<dyn PresenceLane>,
}

impl PeerSide for std::sync::OnceLock<Open> {
    fn admits(&self, _: &Peer) -> bool {
        self.get().is_some()
    }

    fn raft<'a>(&'a self, from: &'a Peer, partition: PartitionId, ask: Ask) -> BoxFuture<'a, Option<Told>> {
        Box::pin(async move { self.get()?.hosting.raft(from, partition, ask).await })
    }

    fn snapshot<'a>(
        &'a self,
        from: &'a Peer,
        partition: PartitionId,
        vote: crate::peers::LeaderVote,
        snapshot: crate::peers::GroupSnapshot,
    ) -> BoxFuture<'a, Option<crate::peers::SnapshotAnswer>> {
        Box::pin(async move { self.get()?.hosting.snapshot(from, partition, vote, snapshot).await })
    }

    fn control<'a>(&'a self, _: &'a Peer, _: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn join(&self, _: Vec<u8>) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn presence(&self) -> &Arc<dyn PresenceLane> {
        &self.get().unwrap().lane
    }
}

/// A node: its store and its groups, without anything that controls them.
struct Node {
    hosting: Arc<Hosting>,
    link: Arc<dyn PeerLink>,
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    _healthy: watch::Sender<bool>,
    _lock: DirectoryLock,
}

impl Node {
    /// Starts node `n` with what `path` holds.
    async fn start(board: &Arc<Switchboard>, path: &Path, n: u64, partitions: u16) -> Self {
        let expected = Expected { node: name(n), partitions };
        let sled = |path: &Path| SledDisk::open(path, 1 << 22).map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        let opened = opening::open(path, Box::new(sled), Some(&expected)).unwrap();
        let Opened { lock, disk, watermark, position, identity, log_extents, states, dropped, .. } = opened;
        let found = Found { states, logs: position.logs.clone(), log_extents };
        let on_fatal = Arc::new(|reason: &str| panic!("{reason}"));
        let writer = Writer::start(Arc::clone(&disk), watermark, position, on_fatal).unwrap();
        let generation = identity.map_or(1, |identity| identity.generation + 1);
        let identity = StoredIdentity {
            cluster_id: "c".into(),
            node: name(n),
            raft_id: n,
            generation,
            partitions,
            founder: false,
        };
        let (done, wait) = promise();
        writer.queue().log(LogWork::Describe(key::IDENTITY.to_vec(), identity.sealed(), done));
        wait.await.unwrap();
        for (from, to) in dropped {
            sweep(&writer, from, to).await.unwrap();
        }
        let side: Arc<std::sync::OnceLock<Open>> = Arc::default();
        let peer = Peer { name: name(n), raft_id: n, generation };
        let link = board.plug(peer, &format!("n{n}:1"), b"key", Arc::clone(&side) as Arc<dyn PeerSide>);
        let mut options = Options::new(path.to_owned(), name(n));
        (options.heartbeat_ms, options.election_ms) = (50, 200);
        let healthy = watch::Sender::new(true);
        let ground = Ground {
            node: name(n),
            raft_id: n,
            disk: Arc::clone(&disk),
            writer: Arc::clone(&writer),
            link: Arc::clone(&link),
            observer: Arc::new(Nobody),
            config: hosting::config(&options).unwrap(),
            policy: options.policy,
            writes_in_flight: 64,
            health: healthy.subscribe(),
        };
        let hosting = Hosting::new(ground, partitions, found);
        let _ = side.set(Open { hosting: Arc::clone(&hosting), lane: Arc::new(NoPresence) });
        link.know("c", (1..=9).map(|n| PeerAt { name: name(n), address: format!("n{n}:1") }).collect());
        hosting.open_held().await.unwrap();
        Self { hosting, link, writer, disk, _healthy: healthy, _lock: lock }
    }

    async fn stop(self) {
        self.link.stop().await;
        self.hosting.stop().await;
        self.writer.stop();
        self.disk.close();
    }

    fn partition(&self) -> &Arc<Partition> {
        &self.hosting.partitions()[usize::from(P.0)]
    }

    fn group(&self) -> Group {
        self.hosting.group(P).unwrap()
    }

    fn placement(&self) -> PlacementGroup {
        self.hosting.placement_group().unwrap()
    }

    /// Proposes as often as it takes, while it is the home.
    async fn put(&self, user: u64, text: &str) -> Result<Arc<Outcome>, ProposeError> {
        let intent = Intent::PutStatus {
            status: ManualStatus::Away,
            text: Some(text.into()),
            meta: Meta::empty(),
            expires_in_s: None,
        };
        let term = match &*self.partition().role().borrow() {
            Role::Home { term } => *term,
            Role::Follower { leader } => return Err(ProposeError::NotHome { leader: leader.clone() }),
        };
        self.partition().propose(Command { user: who(user), term, at: 1, key: None, intent }).await
    }

    /// What is read here of a user's status.
    fn text(&self, user: u64) -> Option<String> {
        let record = self.partition().read(|view| view.record(&who(user)).unwrap()).ok()??;
        record.setting.text.map(|text| text.to_string())
    }

    /// Lets `n` in as a learner of `id`.
    async fn learner(&self, id: PartitionId, n: u64) {
        let group = self.hosting.group(id).unwrap();
        group.add_learner(n, Member { name: name(n) }, false).await.unwrap();
    }

    /// Takes the learner `n` out of `id`.
    async fn remove(&self, id: PartitionId, n: u64) {
        let group = self.hosting.group(id).unwrap();
        group.change_membership(ChangeMembers::RemoveNodes([n].into()), false).await.unwrap();
    }

    /// Makes these the voters of `id`; who is none any more is out.
    async fn voters(&self, id: PartitionId, voters: &[u64]) {
        let voters = ChangeMembers::ReplaceAllVoters(voters.iter().copied().collect());
        self.hosting.group(id).unwrap().change_membership(voters, false).await.unwrap();
    }
}

fn who(user: u64) -> UserId {
    UserId::new(&format!("user{user}")).unwrap()
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn metrics(group: &Group) -> RaftMetrics<crate::raft::types::TypeConfig> {
    group.metrics().borrow_watched().clone()
}

/// Whether the leader knows that member `n` has on disk whatever is committed.
fn is_caught_up(group: &Group, n: u64) -> bool {
    let metrics = metrics(group);
    let matched = metrics.replication.as_ref().and_then(|known| known.get(&n).copied().flatten());
    matched.map(|id| id.index) >= metrics.last_log_index
}

async fn home(node: &Node) {
    let mut role = node.partition().role();
    let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
    tokio::time::timeout(DEADLINE, home).await.expect("a home in time").unwrap();
}

/// Three nodes, of which the first is the home of the one partition, with voters on all three.
struct Three {
    board: Arc<Switchboard>,
    dirs: Vec<tempfile::TempDir>,
    nodes: BTreeMap<u64, Node>,
}

impl Three {
    async fn start() -> Self {
        let board = Switchboard::new();
        let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut three = Self { board, dirs, nodes: BTreeMap::new() };
        for n in 1..=3 {
            three.begin(n).await;
        }
        three
    }

    async fn spread(id: PartitionId) -> Self {
        let three = Self::start().await;
        three.nodes[&1].hosting.found(id).await.unwrap();
        for n in [2, 3] {
            three.nodes[&n].hosting.open(id).await.unwrap();
        }
        let group = three.nodes[&1].hosting.group(id).unwrap();
        until("the founder leads", || metrics(&group).last_applied.is_some_and(|id| id.index > 0)).await;
        for n in [2, 3] {
            three.nodes[&1].learner(id, n).await;
            until("a learner catches up", || is_caught_up(&group, n)).await;
        }
        three.nodes[&1].voters(id, &[1, 2, 3]).await;
        three
    }

    async fn begin(&mut self, n: u64) {
        let path = self.dirs[n as usize - 1].path().join("data");
        self.nodes.insert(n, Node::start(&self.board, &path, n, 2).await);
    }

    async fn end(&mut self, n: u64) {
        self.nodes.remove(&n).unwrap().stop().await;
    }

    async fn stop(mut self) {
        for n in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.end(n).await;
        }
    }

    /// Waits until one of these is the home.
    async fn home_among(&self, among: &[u64]) -> u64 {
        let found =
            || among.iter().copied().find(|n| matches!(&*self.nodes[n].partition().role().borrow(), Role::Home { .. }));
        until("a home", || found().is_some()).await;
        found().unwrap()
    }

    /// Waits until user `user` reads alike on all of these.
    async fn all_read(&self, among: &[u64], user: u64, text: &str) {
        let wanted = Some(text.to_owned());
        until("read everywhere", || among.iter().all(|n| self.nodes[n].text(user) == wanted)).await;
    }
}
