//! A deleted user's words are in no row and in no log once the time to erase has passed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, open_session, put_status, several::Several, until, user};
use rollcall_cluster::{
    Cluster,
    disk::{Disk as _, SledDisk},
};
use rollcall_presence::{Intent, ManualStatus, Meta, PartitionId, Profile, UserId};
use std::path::Path;

/// What only the deleted user ever said.
const MARKER: &[u8] = b"what-only-alice-said";
/// Longer than any test: nothing is erased by its age.
const NEVER_S: u64 = 86_400;

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

/// A profile name, a status text, and with it a history text.
fn words() -> [Intent; 3] {
    let text = |of: &str| Some(format!("{} {of}", str::from_utf8(MARKER).unwrap()).into());
    let meta = Meta::from_compact_json(format!(r#"{{"note":"{}"}}"#, str::from_utf8(MARKER).unwrap()), 512).unwrap();
    [
        open_session(1),
        Intent::PutStatus { status: ManualStatus::Dnd, text: text("status"), meta: meta.clone(), expires_in_s: None },
        Intent::PutProfile(Profile { name: text("name"), meta }),
    ]
}

async fn speak_and_go(bench: &Bench, cluster: &Cluster) {
    for intent in words() {
        bench.propose(cluster, &alice(), intent).await.unwrap();
    }
    bench.propose(cluster, &alice(), Intent::DeleteUser).await.unwrap();
}

fn holds_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER)
}

/// The keys of the rows of a stopped node, logs and states, that hold the marker.
fn rows_with_marker(data_dir: &Path) -> Vec<String> {
    let disk = SledDisk::open(&data_dir.join("store"), 1 << 24).unwrap();
    let rows: Vec<_> = disk.scan(&[], &[u8::MAX]).collect::<Result<_, _>>().unwrap();
    assert!(!rows.is_empty());
    let found = rows.iter().filter(|(key, value)| holds_marker(key) || holds_marker(value));
    let found = found.map(|(key, _)| format!("{key:?}")).collect();
    disk.close();
    found
}

/// Whether everything that was applied of a partition is out of its log.
fn is_erased(cluster: &Cluster, id: PartitionId, upto: u64) -> bool {
    cluster.partition(id).status().is_some_and(|status| status.purged >= Some(upto))
}

fn applied(cluster: &Cluster, id: PartitionId) -> u64 {
    cluster.partition(id).status().unwrap().applied.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_users_words_leave_the_log_of_a_group_in_which_nothing_else_happens() {
    let bench = Bench::new(1);
    let mut options = bench.options();
    options.erase_within_s = 1;
    let data_dir = options.data_dir.clone();
    let cluster = bench.try_start(options).await.unwrap();
    bench.all_home(&cluster).await;
    speak_and_go(&bench, &cluster).await;
    let deleted = applied(&cluster, PartitionId(0));
    until("erased", || is_erased(&cluster, PartitionId(0), deleted)).await;
    // What goes on afterwards goes on as ever.
    bench.propose(&cluster, &user(1), put_status(1)).await.unwrap();
    let before = bench.everything(&cluster, 2);
    cluster.stop().await;
    assert_eq!(rows_with_marker(&data_dir), Vec::<String>::new());
    let cluster = bench.start().await;
    assert_eq!(bench.everything(&cluster, 2), before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_forget_that_something_is_to_be_erased() {
    let bench = Bench::new(2);
    let mut options = bench.options();
    options.erase_within_s = NEVER_S;
    let data_dir = options.data_dir.clone();
    let cluster = bench.try_start(options.clone()).await.unwrap();
    bench.all_home(&cluster).await;
    let id = bench.partition_of(&alice());
    speak_and_go(&bench, &cluster).await;
    let deleted = applied(&cluster, id);
    cluster.stop().await;
    let left = rows_with_marker(&data_dir);
    assert!(left.len() >= 2, "the log has them until it is given up: {left:?}");
    let cluster = bench.try_start(options).await.unwrap();
    until("erased", || is_erased(&cluster, id, deleted)).await;
    cluster.stop().await;
    assert_eq!(rows_with_marker(&data_dir), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_gives_up_its_own_log() {
    let mut several = Several::new(1);
    several.erase_within_s = 1;
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for intent in words() {
        several.propose(&alice(), intent).await;
    }
    several.propose(&alice(), Intent::DeleteUser).await;
    let deleted = several.running().iter().map(|cluster| applied(cluster, PartitionId(0))).max().unwrap();
    until("erased everywhere", || several.running().iter().all(|c| is_erased(c, PartitionId(0), deleted))).await;
    several.stop_all().await;
    for n in 1..=3 {
        assert_eq!(rows_with_marker(&several.dir.path().join(format!("n{n}"))), Vec::<String>::new());
    }
}
