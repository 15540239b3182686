//! A pause of the process is no silence of its clients, and no reason for a status to outlive its time.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use ractor::Actor;
use rollcall_cluster::{Cluster, Options};
use rollcall_node::{
    clock::Clock,
    home::{
        fanout::Fanout,
        partition::{HomePartition, HomeRules, Nodes},
        partition_actor::PartitionActor,
        request::{HomeReply, HomeRequest},
        tenure::Tenure,
    },
    peers::message::Parcel,
};
use rollcall_presence::{
    Activity, Device, Holder, Intent, ManualStatus, Meta, NodeName, PartitionId, SessionId, SessionKind, Status,
    UnixMs, UserId, Visibility,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE_MS: u64 = 60_000;

/// A clock that stands still until it is moved.
#[derive(Default)]
struct Hands(AtomicU64);

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

async fn write(home: &Arc<HomePartition>, user: &UserId, intent: Intent) {
    let write = async {
        while home.serve(HomeRequest::Write { user: user.clone(), intent: intent.clone(), key: None }).await.is_err() {
            tokio::task::yield_now().await; // it has no home yet
        }
    };
    tokio::time::timeout(DEADLINE, write).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_expires_at_its_time_although_the_process_stood_still_and_no_session_does() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { partitions: 1, ..Options::new(folder.path().join("data"), NodeName::new("n1").unwrap()) };
    let cluster = Cluster::start(options, Arc::new(Fanout::default())).await.unwrap();
    let hands = Arc::new(Hands::default());
    let rules = HomeRules {
        visibility: Visibility::Everyone,
        session_ttl_ms: PAUSE_MS / 2,
        grace_ms: 1_000,
        history_age_ms: u64::MAX,
    };
    let group = cluster.partition(PartitionId(0)).clone();
    let nobody = Arc::new(Nobody(Holder { node: NodeName::new("n1").unwrap(), generation: 1 }));
    let home = HomePartition::new(group, rules, hands.clone(), nobody);
    let (actor, _) = PartitionActor::spawn(None, PartitionActor, home.clone()).await.unwrap();

    let alice = UserId::new("alice").unwrap();
    let open = Intent::OpenSession {
        session: SessionId::new("a-session").unwrap(),
        device: Device::new("web").unwrap(),
        activity: Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    };
    write(&home, &alice, open).await;
    let (status, expires_in_s) = (ManualStatus::Dnd, Some(PAUSE_MS / 2_000));
    write(&home, &alice, Intent::PutStatus { status, text: None, meta: Meta::empty(), expires_in_s }).await;

    hands.0.fetch_add(PAUSE_MS, Ordering::Relaxed);
    let expired = async {
        loop {
            home.tick();
            let HomeReply::Status { presence, .. } = home.serve(HomeRequest::Status(alice.clone())).await.unwrap()
            else {
                unreachable!("a status was asked for")
            };
            assert_ne!(presence.status, Status::Offline, "the pause was taken for silence");
            if presence.status == Status::Online {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, expired).await.unwrap();
    actor.stop(None);
    cluster.stop().await;
}
