//! A node of a few partitions in a directory of its own, and commands to give it.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod several;
pub mod switchboard;

use rollcall_cluster::{Cluster, NoPresence, Observer, Options, ProposeError, Role, StartError, Surroundings};
use rollcall_presence::{
    Activity, Command, Device, Intent, ListChanges, ListKind, ManualStatus, Meta, NodeName, Outcome, PartitionId,
    SessionId, SessionKind, UserId, partition_of,
};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Longer than any wait should take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn user(n: u64) -> UserId {
    UserId::new(&format!("user{n}")).unwrap()
}

pub fn open_session(n: u64) -> Intent {
    Intent::OpenSession {
        session: SessionId::new(&format!("session{n}")).unwrap(),
        device: Device::new("web").unwrap(),
        activity: Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    }
}

pub fn put_status(n: u64) -> Intent {
    Intent::PutStatus {
        status: ManualStatus::Dnd,
        text: Some(format!("status {n}").into()),
        meta: Meta::empty(),
        expires_in_s: None,
    }
}

pub fn add_contacts(count: u64) -> Intent {
    Intent::ChangeList(ListChanges {
        list: ListKind::Contacts,
        add: (0..count).map(|n| UserId::new(&format!("friend-with-a-longer-name-{n}")).unwrap()).collect(),
        remove: Vec::new(),
    })
}

/// Remembers the revisions that were published, by partition.
#[derive(Default)]
pub struct Witness(pub Mutex<Vec<(PartitionId, u64, usize)>>);

impl Observer for Witness {
    fn applied(&self, partition: PartitionId, term: u64, outcomes: &[Arc<Outcome>]) {
        self.0.lock().unwrap().push((partition, term, outcomes.len()));
    }
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub partitions: u16,
    pub witness: Arc<Witness>,
    clock: AtomicU64,
}

impl Bench {
    pub fn new(partitions: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, partitions, witness: Arc::default(), clock: AtomicU64::new(1_700_000_000_000) }
    }

    pub fn options(&self) -> Options {
        let mut options = Options::new(self.dir.path().join("data"), NodeName::new("n1").unwrap());
        options.partitions = self.partitions;
        // Elections of a single voter need not be waited for.
        options.heartbeat_ms = 50;
        options.election_ms = 150;
        options
    }

    pub async fn try_start(&self, options: Options) -> Result<Arc<Cluster>, StartError> {
        self.start_within(options, Surroundings::default()).await
    }

    pub async fn start_within(&self, options: Options, surroundings: Surroundings) -> Result<Arc<Cluster>, StartError> {
        let observer: Arc<dyn Observer> = self.witness.clone();
        Cluster::start_within(options, observer, Arc::new(NoPresence), surroundings).await
    }

    /// Starts, and waits until every partition is at home.
    pub async fn start(&self) -> Arc<Cluster> {
        let cluster = self.try_start(self.options()).await.unwrap();
        self.all_home(&cluster).await;
        cluster
    }

    pub async fn all_home(&self, cluster: &Cluster) {
        for id in (0..self.partitions).map(PartitionId) {
            self.home(cluster, id).await;
        }
    }

    /// Waits until the partition is at home, and returns its term.
    pub async fn home(&self, cluster: &Cluster, id: PartitionId) -> u64 {
        let mut role = cluster.partition(id).role();
        let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
        let role = tokio::time::timeout(DEADLINE, home).await.expect("a home in time").unwrap().clone();
        match role {
            Role::Home { term } => term,
            Role::Follower { .. } => unreachable!(),
        }
    }

    pub fn partition_of(&self, user: &UserId) -> PartitionId {
        partition_of(user, self.partitions)
    }

    /// A command whose term is still to be set.
    pub fn command(&self, user: &UserId, intent: Intent) -> Command {
        let at = self.clock.fetch_add(1, Ordering::Relaxed);
        Command { user: user.clone(), term: 0, at, key: None, intent }
    }

    pub async fn propose(
        &self,
        cluster: &Cluster,
        user: &UserId,
        intent: Intent,
    ) -> Result<Arc<Outcome>, ProposeError> {
        let partition = cluster.partition(self.partition_of(user));
        let mut command = self.command(user, intent);
        command.term = match &*partition.role().borrow() {
            Role::Home { term } => *term,
            Role::Follower { .. } => 0,
        };
        partition.propose(command).await
    }

    /// All that can be read of these users, and all counts.
    pub fn everything(&self, cluster: &Cluster, users: u64) -> Vec<String> {
        let mut all = Vec::new();
        for id in (0..self.partitions).map(PartitionId) {
            let (ledger, live) =
                cluster.partition(id).read(|view| (view.ledger(), view.live_users(None, 10_000).unwrap())).unwrap();
            all.push(format!("{id}: {ledger:?} {live:?}"));
        }
        for name in (0..users).map(user) {
            all.push(
                cluster
                    .partition(self.partition_of(&name))
                    .read(|view| {
                        let record = view.record(&name).unwrap();
                        let contacts = view.list(&name, ListKind::Contacts, None, 10_000).unwrap();
                        let history = view.history(&name, 0, u64::MAX, None, 10_000).unwrap();
                        format!("{name}: {record:?} {contacts:?} {history:?} {:?}", view.profile(&name).unwrap())
                    })
                    .unwrap(),
            );
        }
        all
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
