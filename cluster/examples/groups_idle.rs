//! What a node costs that does nothing: CPU and memory of N groups.
//!
//! `cargo run --release -p rollcall-cluster --example groups_idle -- 32 30` starts 32 groups, lets them settle, and measures for 30
//! seconds.
#![allow(clippy::print_stdout, reason = "its figures are its purpose")]

use rollcall_cluster::{Cluster, Observer, Options, Role};
use rollcall_presence::{NodeName, Outcome, PartitionId};
use std::{error::Error, sync::Arc, time::Duration};

/// Elections and founding are over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Clock ticks a second in `/proc/self/stat`; 100 on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name may hold spaces; it ends with the last parenthesis.
    let rest = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

fn resident_mib() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no figure after VmRSS")?.parse()?;
    Ok(kib / 1_024.0)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let partitions: u16 = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(directory.path().join("data"), NodeName::new("idle")?);
    options.partitions = partitions;
    let bare_mib = resident_mib()?;
    let began = std::time::Instant::now();
    let cluster = Cluster::start(options, Arc::new(Nobody)).await?;
    let started = began.elapsed();
    for id in (0..partitions).map(PartitionId) {
        cluster.partition(id).role().wait_for(|role| matches!(role, Role::Home { .. })).await?;
    }
    println!("{partitions} groups: started in {started:.1?}, all at home after {:.1?}", began.elapsed());
    tokio::time::sleep(SETTLE).await;
    let (before, rounds) = (cpu_seconds()?, cluster.rounds());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let percent = (cpu_seconds()? - before) / seconds as f64 * 100.0;
    println!(
        "{partitions} groups idle for {seconds} s: {percent:.2} % of a core, {:.1} MiB resident ({bare_mib:.1} before), \
         {} rounds written",
        resident_mib()?,
        cluster.rounds() - rounds
    );
    cluster.stop().await;
    Ok(())
}
