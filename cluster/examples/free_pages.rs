//! How long the free pages of a store keep what was erased, for `docs/privacy.md`.
//!
//! `cargo run --release -p rollcall-cluster --example free_pages`: a user speaks and is deleted; then others write, and every
//! [`EVERY`] rounds it is counted how often the words are still in the files. Half-way the node is stopped and started again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measuring program prints, and fails by panicking"
)]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
#[path = "../tests/bench/mod.rs"]
mod bench;

use bench::{Bench, open_session, put_status, until, user};
use rollcall_cluster::Cluster;
use rollcall_presence::{Intent, ManualStatus, Meta, PartitionId, UserId};
use std::path::Path;

/// What only the deleted user ever said.
const MARKER: &[u8] = b"what-only-alice-said";
/// Rounds of eight writes.
const WRITES: u64 = 4_000;
/// Rounds between two counts.
const EVERY: u64 = 100;

async fn speak_and_go(bench: &Bench, cluster: &Cluster) {
    let alice = UserId::new("alice").unwrap();
    let text = Some(str::from_utf8(MARKER).unwrap().into());
    let said = Intent::PutStatus { status: ManualStatus::Dnd, text, meta: Meta::empty(), expires_in_s: None };
    for intent in [open_session(1), said, Intent::DeleteUser] {
        bench.propose(cluster, &alice, intent).await.unwrap();
    }
}

fn is_erased(cluster: &Cluster, id: PartitionId, upto: u64) -> bool {
    cluster.partition(id).status().is_some_and(|status| status.purged >= Some(upto))
}

/// How often the marker is in the files of a data directory, free pages included.
fn in_files(dir: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += in_files(&path);
        } else {
            found += std::fs::read(&path).unwrap().windows(MARKER.len()).filter(|window| *window == MARKER).count();
        }
    }
    found
}

fn size_of(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("store").join("db")).unwrap().len()
}

#[tokio::main]
async fn main() {
    let bench = Bench::new(1);
    let mut options = bench.options();
    options.erase_within_s = 1;
    let data_dir = options.data_dir.clone();
    let mut cluster = bench.try_start(options.clone()).await.unwrap();
    bench.all_home(&cluster).await;
    speak_and_go(&bench, &cluster).await;
    let deleted = cluster.partition(PartitionId(0)).status().unwrap().applied.unwrap();
    until("erased", || is_erased(&cluster, PartitionId(0), deleted)).await;
    println!("erased: {} copies in {} bytes", in_files(&data_dir), size_of(&data_dir));
    for n in 0..WRITES {
        if n % EVERY == 0 {
            println!("after {n} writes: {} copies in {} bytes", in_files(&data_dir), size_of(&data_dir));
        }
        let batch = (0..8).map(|lane| {
            let (bench, cluster) = (&bench, &cluster);
            async move { bench.propose(cluster, &user(lane), put_status(n * 8 + lane)).await.unwrap() }
        });
        futures::future::join_all(batch).await;
        if n == WRITES / 2 {
            cluster.stop().await;
            println!("stopped: {} copies in {} bytes", in_files(&data_dir), size_of(&data_dir));
            cluster = bench.try_start(options.clone()).await.unwrap();
            bench.all_home(&cluster).await;
        }
    }
    cluster.stop().await;
    println!("in the end: {} copies in {} bytes", in_files(&data_dir), size_of(&data_dir));
}
