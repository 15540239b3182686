//! A home on a cluster of one node, with a clock that is moved by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]

use ractor::{Actor, ActorRef};
use rollcall_cluster::{Cluster, Options};
use rollcall_node::{
    clock::Clock,
    home::{
        fanout::Fanout,
        partition::{HomePartition, HomeRules, Nodes},
        partition_actor::{PartitionActor, PartitionMsg},
        request::HomeRequest,
        tenure::Tenure,
    },
    peers::message::Parcel,
};
use rollcall_presence::{
    Activity, Device, Holder, Intent, ManualStatus, Meta, NodeName, PartitionId, SessionId, SessionKind, UnixMs, UserId,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A clock that stands still until it is moved.
#[derive(Default)]
pub struct Hands(AtomicU64);

impl Clock for Hands {
    fn unix_ms(&self) -> UnixMs {
        1_700_000_000_000 + self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// No node holds any socket.
struct Nobody(Holder);

impl Nodes for Nobody {
    fn this(&self) -> &Holder {
        &self.0
    }

    fn send(&self, _: &Holder, _: Parcel) {}

    fn is_live(&self, _: &Holder) -> bool {
        false
    }

    fn is_member(&self, _: &Holder) -> bool {
        false
    }

    fn is_of_now(&self, _: &Holder) -> bool {
        false
    }

    fn taken_up(&self, _: PartitionId, _: &Tenure) {}
}

pub async fn write(home: &Arc<HomePartition>, user: &UserId, intent: Intent) {
    let write = async {
        while home.serve(HomeRequest::Write { user: user.clone(), intent: intent.clone(), key: None }).await.is_err() {
            tokio::task::yield_now().await; // it has no home yet
        }
    };
    tokio::time::timeout(DEADLINE, write).await.unwrap();
}

/// A home, and what it stands on.
pub struct Standing {
    pub home: Arc<HomePartition>,
    pub cluster: Arc<Cluster>,
    hands: Arc<Hands>,
    actor: ActorRef<PartitionMsg>,
    _folder: tempfile::TempDir,
}

impl Standing {
    /// A home of these rules, whose entries carry the same age of history.
    pub async fn start(rules: HomeRules) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("data"), NodeName::new("n1").unwrap());
        options.partitions = 1;
        options.policy.history_age_ms = rules.history_age_ms;
        let cluster = Cluster::start(options, Arc::new(Fanout::default())).await.unwrap();
        let hands = Arc::new(Hands::default());
        let group = cluster.partition(PartitionId(0)).clone();
        let nobody = Arc::new(Nobody(Holder { node: NodeName::new("n1").unwrap(), generation: 1 }));
        let home = HomePartition::new(group, rules, hands.clone(), nobody);
        let (actor, _) = PartitionActor::spawn(None, PartitionActor, home.clone()).await.unwrap();
        Self { home, cluster, hands, actor, _folder: folder }
    }

    /// Moves the clock on.
    pub fn pass(&self, ms: u64) {
        self.hands.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub async fn stop(self) {
        self.actor.stop(None);
        self.cluster.stop().await;
    }
}

/// An HTTP session.
pub fn open() -> Intent {
    Intent::OpenSession {
        session: SessionId::new("a-session").unwrap(),
        device: Device::new("web").unwrap(),
        activity: Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    }
}

/// Another setting, which makes a history entry.
pub fn status(expires_in_s: u64) -> Intent {
    let (status, meta) = (ManualStatus::Dnd, Meta::empty());
    Intent::PutStatus { status, text: None, meta, expires_in_s: Some(expires_in_s) }
}
