//! A connection of which nobody knows whether it opened: what it may have got to hold ends after its grace, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use rollcall_api::service::{
    ConnectRequest, Connection, HistoryQuery, NewSession, PresenceService, ServiceError, Welcome,
};
use rollcall_cluster::{
    Cluster, NoPresence, Observer, Options, Role, Surroundings,
    disk::{Batch, Bytes, Disk, Scan, SledDisk},
};
use rollcall_config::Settings;
use rollcall_node::{
    admin::OnlyNode,
    assembly::{Assembled, Parts},
    clock::{Clock, SystemClock},
    home::{fanout::Fanout, group::Group},
    peers::Alone,
    service::NodeService,
    status::ClusterView,
};
use rollcall_presence::{
    Device, Holder, NodeName, Outcome, PartitionId, Reason, SessionId, UserId, Viewer, Visibility,
};
use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

const DEADLINE: Duration = Duration::from_secs(30);
/// Longer than a client's own retry takes on a busy machine.
const GRACE_MS: u64 = 3_000;

/// Whether the disk stands still.
#[derive(Default)]
struct Stall(Mutex<bool>, Condvar);

impl Stall {
    fn set(&self, stalled: bool) {
        *self.0.lock().unwrap() = stalled;
        self.1.notify_all();
    }
}

struct Stalling(SledDisk, Arc<Stall>);

impl Disk for Stalling {
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
        let mut stalled = self.1.0.lock().unwrap();
        while *stalled {
            stalled = self.1.1.wait(stalled).unwrap();
        }
        self.0.sync()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Counts the entries that were applied.
struct Counted {
    fanout: Arc<Fanout>,
    applied: watch::Sender<u64>,
}

impl Observer for Counted {
    fn applied(&self, partition: PartitionId, term: u64, outcomes: &[Arc<Outcome>]) {
        self.fanout.applied(partition, term, outcomes);
        self.applied.send_modify(|count| *count += 1);
    }
}

/// A node of one partition on a disk that can be made to stand still.
struct Stage {
    service: NodeService,
    cluster: Arc<Cluster>,
    assembled: Assembled,
    stall: Arc<Stall>,
    applied: watch::Sender<u64>,
    alice: UserId,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (folder, stall) = (tempfile::tempdir().unwrap(), Arc::new(Stall::default()));
        let name = NodeName::new("n1").unwrap();
        let options = Options { partitions: 1, ..Options::new(folder.path().join("data"), name.clone()) };
        let stalls = stall.clone();
        let open =
            move |path: &Path| SledDisk::open(path, 1 << 24).map(|d| Arc::new(Stalling(d, stalls)) as Arc<dyn Disk>);
        let surroundings = Surroundings { disk: Some(Box::new(open)), ..Surroundings::default() };
        let fanout = Arc::new(Fanout::default());
        let applied = watch::Sender::new(0);
        let counted = Arc::new(Counted { fanout: fanout.clone(), applied: applied.clone() });
        let cluster = Cluster::start_within(options, counted, Arc::new(NoPresence), surroundings).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let holder = Holder { node: name.clone(), generation: 1 };
        let mut settings = Settings::default();
        settings.presence.visibility = Visibility::Everyone;
        settings.presence.grace_ms = GRACE_MS;
        let groups = vec![cluster.partition(PartitionId(0)).clone() as Arc<dyn Group>];
        let parts = Parts {
            holder,
            groups,
            fanout,
            lane: Arc::default(),
            links: Arc::new(Alone::default()),
            clock,
            presence: settings.presence,
            limits: settings.limits,
        };
        let assembled = Assembled::new(parts).await.unwrap();
        let view = ClusterView::new(cluster.identity().cluster_id.clone(), "-".into(), "-".into());
        let service = NodeService::new(assembled.node.clone(), view, Arc::new(OnlyNode(name)));
        let alice = UserId::new("alice").unwrap();
        let stage = Self { service, cluster, assembled, stall, applied, alice, _folder: folder };
        stage.is_home().await;
        stage
    }

    async fn connect(&self, resume: Option<String>) -> Result<(Welcome, Box<dyn Connection>), ServiceError> {
        let viewer = Viewer { user: self.alice.clone(), service: false };
        let session = Some(NewSession { device: Device::new("web").unwrap(), resume });
        self.service.connect(ConnectRequest { viewer, session, watch_contacts: false }).await
    }

    /// Connects while the disk stands still, which comes to nothing that anybody knows of.
    async fn connect_into_the_unknown(&self, resume: Option<String>) {
        self.stall.set(true);
        let refused = self.connect(resume).await.map(|(welcome, _)| welcome);
        assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
        self.stall.set(false);
    }

    async fn sessions(&self) -> Vec<SessionId> {
        self.service.sessions(&self.alice).await.unwrap().into_iter().map(|s| s.session).collect()
    }

    /// Looks whenever an entry has been applied, until `condition` holds.
    async fn until_applied(&self, condition: impl AsyncFn() -> bool) {
        let mut applied = self.applied.subscribe();
        let met = async {
            while !condition().await {
                applied.changed().await.unwrap();
            }
        };
        timeout(DEADLINE, met).await.unwrap();
    }

    /// Waits until this node is the home, which it is not while its disk stands still.
    async fn is_home(&self) {
        let mut role = self.cluster.partition(PartitionId(0)).role();
        let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
        drop(timeout(DEADLINE, home).await.unwrap().unwrap());
    }

    /// Why the user's presence changed, newest first; nothing while the disk stands still.
    async fn reasons(&self) -> Vec<Reason> {
        let all = HistoryQuery { from: 0, to: u64::MAX, limit: 10, before: None };
        let history = self.service.history(&self.alice, all).await;
        history.map(|page| page.items.into_iter().map(|entry| entry.reason).collect()).unwrap_or_default()
    }

    async fn end(self) {
        self.assembled.stop();
        self.cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_opened_without_anybody_knowing_ends_after_its_grace() {
    let stage = Stage::new().await;
    stage.connect_into_the_unknown(None).await;
    // The history forgets nothing: it opened, and it ended.
    stage.until_applied(async || stage.reasons().await == [Reason::Expired, Reason::Connected]).await;
    // Its actor hears of what was applied a moment later.
    let gone = async {
        while !stage.sessions().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_that_nobody_knows_of_takes_nothing_from_the_one_that_came_after() {
    let stage = Stage::new().await;
    let (welcome, first) = stage.connect(None).await.unwrap();
    stage.connect_into_the_unknown(welcome.resume.clone()).await;
    stage.is_home().await;
    let (again, second) = stage.connect(welcome.resume.clone()).await.unwrap();
    assert!(again.resumed, "the client's own retry finds its session");
    // One entry more: the ending of what the unknown one held, which is nothing any more.
    let retried = *stage.applied.borrow();
    stage.until_applied(async || *stage.applied.borrow() > retried).await;
    assert_eq!(stage.sessions().await, [welcome.session.unwrap()]);
    drop((first, second));
    stage.end().await;
}
