//! What links cost that carry heartbeats only. Measures; run it by name, in a release build, on a quiet machine.

use super::bench::{Node, With, acquaint, heartbeat, linked};
use futures::future::join_all;
use rollcall_presence::PartitionId;
use std::time::{Duration, Instant};

/// Groups of which each node leads a third.
const GROUPS: u16 = 32;
const SECONDS: u32 = 10;

fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn what_idle_links_of_three_nodes_cost() {
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(name, With::default()));
    let (a, b, c) = tokio::join!(a, b, c);
    let nodes = [&a, &b, &c];
    acquaint(&nodes);
    for (one, other) in [(&a, &b), (&b, &c), (&a, &c)] {
        linked(one, other).await;
    }
    for beating in [false, true] {
        let (before, began) = (cpu_ms(), Instant::now());
        let beats = (0..GROUPS).flat_map(|group| {
            let leader = nodes[usize::from(group) % 3];
            let followers = nodes.into_iter().filter(move |node| node.name != leader.name);
            followers.map(move |follower| (leader, follower, PartitionId(group)))
        });
        let beat = |(leader, follower, group): (_, _, PartitionId)| {
            let (leader, follower): (&Node, &Node) = (leader, follower);
            let link = std::sync::Arc::clone(&leader.link);
            let follower = follower.name.clone();
            // A task of its own for each, as groups have it.
            tokio::spawn(async move {
                // Groups beat at multiples of 20 ms, none with another in the worst case.
                let offset = Duration::from_millis(20 * u64::from(group.0 / 3 % 10));
                let mut ticks =
                    tokio::time::interval_at(tokio::time::Instant::now() + offset, Duration::from_millis(200));
                for _ in 0..SECONDS * 5 {
                    ticks.tick().await;
                    if beating {
                        link.ask(&follower, group, heartbeat()).await.unwrap();
                    }
                }
            })
        };
        join_all(beats.map(beat)).await;
        let cost = (cpu_ms() - before) as f64 / began.elapsed().as_millis() as f64 / 3.0 * 100.0;
        println!("heartbeats: {beating}: {cost:.2} % of a core a node");
    }
}
