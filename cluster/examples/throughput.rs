//! How many durable status changes a second the partitions take, and how long one takes.
//!
//! `cargo run --release -p rollcall-cluster --example throughput -- 32 512 10`: 32 groups, 512 clients, 10 seconds.
#![allow(clippy::print_stdout, reason = "its figures are its purpose")]

use futures::future::join_all;
use rollcall_cluster::{Cluster, Observer, Options, Role};
use rollcall_presence::{Command, Intent, ManualStatus, Meta, NodeName, Outcome, PartitionId, UserId, partition_of};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

/// One client after the other changes its status until time is up; returns how long each change took.
async fn client(cluster: Arc<Cluster>, n: u64, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    let Ok(user) = UserId::new(&format!("user{n}")) else { return took };
    let partition = cluster.partition(partition_of(&user, cluster.partitions()));
    let Role::Home { term } = *partition.role().borrow() else { return took };
    let mut at = 1;
    while Instant::now() < until {
        let text = Some(format!("change {at}").into());
        let intent = Intent::PutStatus { status: ManualStatus::Dnd, text, meta: Meta::empty(), expires_in_s: None };
        let began = Instant::now();
        let command = Command { user: user.clone(), term, at, key: None, intent };
        if partition.propose(command).await.is_ok() {
            took.push(began.elapsed());
        }
        at += 1;
    }
    took
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let partitions: u16 = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let clients: u64 = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let directory = tempfile::tempdir_in(".")?;
    let mut options = Options::new(directory.path().join("data"), NodeName::new("busy")?);
    options.partitions = partitions;
    let cluster = Cluster::start(options.clone(), Arc::new(Nobody)).await?;
    for id in (0..partitions).map(PartitionId) {
        cluster.partition(id).role().wait_for(|role| matches!(role, Role::Home { .. })).await?;
    }
    let rounds = cluster.rounds();
    let until = Instant::now() + Duration::from_secs(seconds);
    let tasks = (0..clients).map(|n| tokio::spawn(client(Arc::clone(&cluster), n, until)));
    let mut took: Vec<Duration> = join_all(tasks).await.into_iter().flatten().flatten().collect();
    took.sort_unstable();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{clients} clients on {partitions} groups: {} durable changes/s, p50 {:.2?}, p99 {:.2?}, {} rounds/s",
        took.len() as u64 / seconds,
        at(0.5),
        at(0.99),
        (cluster.rounds() - rounds) / seconds
    );
    let began = Instant::now();
    const READS: u32 = 20_000;
    for _ in 0..READS {
        cluster.partition(PartitionId(0)).confirm().await?;
    }
    println!("confirm: {:.2?}", began.elapsed() / READS);
    let users: u64 =
        (0..partitions).map(|id| cluster.partition(PartitionId(id)).status().map_or(0, |report| report.users)).sum();
    cluster.stop().await;
    let bytes = std::fs::metadata(directory.path().join("data/store/db"))?.len();
    let began = Instant::now();
    Cluster::start(options, Arc::new(Nobody)).await?.stop().await;
    println!("{users} users in {} MiB: opened, checked and closed in {:.2?}", bytes >> 20, began.elapsed());
    Ok(())
}
