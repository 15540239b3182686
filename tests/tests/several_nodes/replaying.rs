//! `rollcall replay` against three nodes, with people spread over all of them.

use rollcall_tests::{Cluster, FORMING_MAX, Piped, eventually};

fn replay(cluster: &Cluster, args: &[&str]) -> Piped {
    let urls: Vec<String> = cluster.addresses().iter().map(|a| format!("http://{a}")).collect();
    let key = cluster.keys.join("auth.key").display().to_string();
    let mut all = vec!["replay"];
    all.extend(args);
    let urls = urls.join(",");
    all.extend(["--nodes", &urls, "--auth-key", &key]);
    Piped::start(&cluster.keys, &all, &[])
}

fn sessions(status: &rollcall_tests::ClusterStatus) -> u64 {
    status.nodes().iter().filter_map(|n| n["sessions"].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_three_nodes_are_told_of_everything_once_and_in_order() {
    let cluster = Cluster::of(3).await;
    for pace in ["--lockstep", "--fast"] {
        let mut replay = replay(&cluster, &["--synthetic", "60", pace]);
        assert_eq!(replay.end().code(), Some(0), "{pace}:\n{}", replay.output);
        assert!(replay.output.to_string().contains("no difference"), "{}", replay.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_through_the_kills_of_two_of_three_nodes_ends_without_a_difference() {
    let mut cluster = Cluster::plan(3).set("presence.grace_ms", 5_000).start().await;
    let mut replay = replay(&cluster, &["--synthetic", "150", "--fast", "--through-faults"]);
    for (victim, enough) in [(2, 30), (1, 80)] {
        eventually("the play is under way", async || {
            assert!(!replay.output.is_closed(), "the play is over already:\n{}", replay.output);
            cluster.status(0).await.filter(|s| sessions(s) >= enough)
        })
        .await;
        cluster.kill9(victim);
        cluster.restart(victim);
        cluster.await_formed(FORMING_MAX).await;
    }
    assert_eq!(replay.end().code(), Some(0), "{}", replay.output);
    assert!(replay.output.to_string().contains("no difference"), "{}", replay.output);
}
