//! A node of a few partitions in a directory of its own, and commands to give it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use rollcall_cluster::{Cluster, Observer, Options, ProposeError, Role, StartError};
use rollcall_presence::{
    Activity, Command, Device, Intent, Ledger, ListChanges, ListKind, ManualStatus, Meta, NodeName, Outcome,
    PartitionId, SessionId, SessionKind, UserId, partition_of,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Longer than any wait should take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn user(n: u64) -> UserId {
    UserId::new(&format!("user{n}")).unwrap()
}

pub(crate) fn open_session(n: u64) -> Intent {
    Intent::OpenSession {
        session: SessionId::new(&format!("session{n}")).unwrap(),
        device: Device::new("web").unwrap(),
        activity: Activity::Active,
        kind: SessionKind::Http,
        holder: None,
        resume_hash: None,
    }
}

pub(crate) fn put_status(n: u64) -> Intent {
    Intent::PutStatus {
        status: ManualStatus::Dnd,
        text: Some(format!("status {n}").into()),
        meta: Meta::empty(),
        expires_in_s: None,
    }
}

pub(crate) fn add_contacts(count: u64) -> Intent {
    Intent::ChangeList(ListChanges {
        list: ListKind::Contacts,
        add: (0..count).map(|n| UserId::new(&format!("friend-with-a-longer-name-{n}")).unwrap()).collect(),
        remove: Vec::new(),
    })
}

/// Remembers the revisions that were published, by partition.
#[derive(Default)]
pub(crate) struct Witness(pub Mutex<Vec<(PartitionId, u64, usize)>>);

impl Observer for Witness {
    fn applied(&self, partition: PartitionId, term: u64, outcomes: &[Arc<Outcome>]) {
        self.0.lock().unwrap().push((partition, term, outcomes.len()));
    }
}

pub(crate) struct Bench {
    pub dir: tempfile::TempDir,
    pub partitions: u16,
    pub witness: Arc<Witness>,
    clock: AtomicU64,
}

impl Bench {
    pub(crate) fn new(partitions: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, partitions, witness: Arc::default(), clock: AtomicU64::new(1_700_000_000_000) }
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(self.dir.path().join("data"), NodeName::new("n1").unwrap());
        options.partitions = self.partitions;
        // Elections of a single voter need not be waited for.
        options.heartbeat_ms = 50;
        options.election_ms = 150;
        options
    }

    pub(crate) async fn try_start(&self, options: Options) -> Result<Arc<Cluster>, StartError> {
        let observer: Arc<dyn Observer> = self.witness.clone();
        Cluster::start(options, observer).await
    }

    /// Starts, and waits until every partition is at home.
    pub(crate) async fn start(&self) -> Arc<Cluster> {
        let cluster = self.try_start(self.options()).await.unwrap();
        for id in (0..self.partitions).map(PartitionId) {
            self.home(&cluster, id).await;
        }
        cluster
    }

    /// Waits until the partition is at home, and returns its term.
    pub(crate) async fn home(&self, cluster: &Cluster, id: PartitionId) -> u64 {
        let mut role = cluster.partition(id).role();
        let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
        let role = tokio::time::timeout(DEADLINE, home).await.expect("a home in time").unwrap().clone();
        match role {
            Role::Home { term } => term,
            Role::Follower { .. } => unreachable!(),
        }
    }

    pub(crate) fn partition_of(&self, user: &UserId) -> PartitionId {
        partition_of(user, self.partitions)
    }

    /// A command whose term is still to be set.
    pub(crate) fn command(&self, user: &UserId, intent: Intent) -> Command {
        let at = self.clock.fetch_add(1, Ordering::Relaxed);
        Command { user: user.clone(), term: 0, at, key: None, intent }
    }

    pub(crate) async fn propose(
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

    /// All counts, and all users with timers.
    pub(crate) fn everything(&self, cluster: &Cluster) -> Vec<(Ledger, Vec<UserId>)> {
        let read = |id| cluster.partition(id).read(|view| (view.ledger(), view.live_users(None, 10_000).unwrap()));
        (0..self.partitions).map(PartitionId).map(read).collect()
    }
}
