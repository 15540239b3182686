//! How long three nodes take from empty to everything in three copies, and what they cost when nothing happens.
//!
//! `cargo run --release -p rollcall-cluster --example groups_forming -- 32 30`: 32 partitions, three nodes in one process, linked
//! over sockets of this machine, at default timers; then 30 seconds of nothing.
#![allow(clippy::print_stdout, reason = "its figures are its purpose")]

use rollcall_cluster::{Cluster, Observer, Options, Role};
use rollcall_presence::{NodeName, Outcome, PartitionId};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

/// Elections and hand-overs are over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(120);
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

/// Partitions led by each node, once all have three voters and the leader that they should have.
fn spread(nodes: &[Arc<Cluster>]) -> Option<Vec<usize>> {
    let placement = nodes[0].placement().borrow().clone();
    let leads = |node: &Arc<Cluster>, id: PartitionId| matches!(*node.partition(id).role().borrow(), Role::Home { .. });
    let mut led = vec![0; nodes.len()];
    for (id, at) in placement.assignments() {
        let home = nodes.iter().position(|node| leads(node, id))?;
        let is_whole = at.target.is_none() && at.voters.len() == nodes.len();
        if !is_whole || at.leader.as_ref() != Some(&nodes[home].identity().node) {
            return None;
        }
        led[home] += 1;
    }
    let even = led.iter().max()? - led.iter().min()? <= 1;
    even.then_some(led)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let partitions: u16 = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let begun = Instant::now();
    let mut nodes: Vec<Arc<Cluster>> = Vec::new();
    for n in 1..=3 {
        let mut options = Options::new(directory.path().join(format!("n{n}")), NodeName::new(&format!("n{n}"))?);
        options.partitions = partitions;
        options.join = nodes.first().map(|first| first.peer_addr().to_string()).into_iter().collect();
        nodes.push(Cluster::start(options, Arc::new(Nobody)).await?);
    }
    let led = loop {
        if let Some(led) = spread(&nodes) {
            break led;
        }
        if begun.elapsed() > PATIENCE {
            return Err("they did not form in time".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("{partitions} partitions on three nodes, led {led:?}: after {:.1?}", begun.elapsed());
    tokio::time::sleep(SETTLE).await;
    let before = cpu_seconds()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let percent = (cpu_seconds()? - before) / seconds as f64 * 100.0;
    println!("idle for {seconds} s: {:.2} % of a core a node", percent / 3.0);
    for node in nodes {
        node.stop().await;
    }
    Ok(())
}
