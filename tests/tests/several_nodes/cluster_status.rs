//! Every node answers for the whole cluster; a node without a quorum says what it cannot confirm.

use rollcall_tests::{Cluster, ClusterStatus, Piped};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_the_whole_cluster() {
    let cluster = Cluster::of(3).await;
    let people: Vec<_> = (0..3).map(|at| cluster.person(at, "counted")).collect();
    let mut sockets = Vec::new();
    for person in &people {
        sockets.push(person.connect("watch=none").await);
    }
    for at in 0..3 {
        let status = cluster
            .until_status(at, "all sessions are counted", |s| {
                s.nodes().iter().filter_map(|n| n["sessions"].as_u64()).sum::<u64>() == 3
            })
            .await;
        assert_eq!(status.nodes().len(), 3);
        for row in status.nodes() {
            let place = cluster.place(row["name"].as_str().expect("a name"));
            assert_eq!(row["http"], cluster.node(place).address.as_str());
            assert_eq!(row["peer"], cluster.peer(place));
            assert_eq!(row["connections"], 1, "{row}");
            assert_eq!(row["partitions_held"], 8, "{row}");
            assert_eq!(row["version"], env!("CARGO_PKG_VERSION"));
            assert!(row["rss_bytes"].as_u64() > Some(1_000_000) && row["uptime_s"].is_u64(), "{row}");
            assert_eq!(row["partitions_led"].as_u64(), led(&status, row).try_into().ok(), "{row}");
        }
        for (id, partition) in status.partitions().iter().enumerate() {
            assert_eq!(partition["id"], id);
            assert_eq!(partition["applied"].as_object().map(serde_json::Map::len), Some(3), "{partition}");
        }
        let users: u64 = status.partitions().iter().filter_map(|p| p["online"].as_u64()).sum();
        assert_eq!(users, 3);
        for person in &people {
            let located = cluster.admin(at).get(&format!("/v1/cluster/locate/{}", person.id)).await.must(200);
            let row =
                &status.partitions()[usize::try_from(located["partition"].as_u64().expect("an id")).expect("small")];
            let names = |of: &Value| of["replicas"].as_array().expect("names").iter().map(Value::to_string).collect();
            let [there, here]: [std::collections::BTreeSet<String>; 2] = [names(&located), names(row)];
            assert_eq!((&located["leader"], there), (&row["leader"], here));
        }
    }
}

fn led(status: &ClusterStatus, row: &Value) -> usize {
    status.led().get(row["name"].as_str().unwrap_or_default()).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_unreachable_and_a_lone_survivor_says_what_it_cannot_confirm() {
    let mut cluster = Cluster::of(3).await;
    cluster.kill9(2);
    for at in 0..2 {
        let status = cluster
            .until_status(at, "n3 is unreachable, all is led", |s| {
                s.state("n3") == "unreachable" && s.led().values().sum::<usize>() == 8 && !s.led().contains_key("n3")
            })
            .await;
        assert_eq!(status.node("n3")["sessions"], Value::Null, "{}", status.node("n3"));
        assert_eq!(status.0["nodes_up"], 2);
        assert_eq!(status.0["nodes_total"], 3);
    }
    cluster.kill9(1);
    let alone = cluster.until_status(0, "a node alone is not healthy", |s| !s.healthy()).await;
    assert_eq!(alone.nodes().len(), 3, "{}", alone.0);
    for name in ["n2", "n3"] {
        assert_eq!(alone.node(name)["sessions"], Value::Null, "{}", alone.node(name));
        assert_ne!(alone.state(name), "up");
    }
    cluster.until_status(0, "no leader is claimed", |s| s.led().is_empty() && s.0["nodes_up"].is_null()).await;
    let table = table(&cluster, 0);
    assert!(table.contains("not healthy") && table.contains('?'), "{table}");
}

/// What `rollcall status` prints of the node at `at`.
fn table(cluster: &Cluster, at: usize) -> String {
    let url = format!("http://{}", cluster.node(at).address);
    let key = cluster.keys.join("auth.key").display().to_string();
    let mut status = Piped::start(&cluster.keys, &["status", "--url", &url, "--auth-key", &key], &[]);
    assert_eq!(status.end().code(), Some(0), "{}", status.output);
    status.output.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_the_cluster_as_a_table() {
    let cluster = Cluster::of(3).await;
    let table = table(&cluster, 1);
    assert!(table.contains("healthy, 3 of 3 nodes up, 8 partitions, replication 3"), "{table}");
    for at in 0..3 {
        let row = table.lines().find(|l| l.starts_with(cluster.name(at))).expect("a row");
        assert!(row.contains("up") && row.contains(&cluster.node(at).address), "{row}");
    }
}
