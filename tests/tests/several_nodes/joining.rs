//! Who may join, and who is refused, with words that say what to do.

use rollcall_tests::{Cluster, Refusal, Server};
use std::fs;

/// A refusal that ended the program, and names all of `words`.
fn names(refused: Result<impl Sized, Refusal>, words: &[&str]) {
    let Err(refusal) = refused else { panic!("it was taken in; it should have said {words:?}") };
    assert!(matches!(refusal.status.code(), Some(1 | 2)), "ended by itself: {:?}\n{}", refusal.status, refusal.printed);
    let printed = refusal.printed.to_lowercase();
    for word in words {
        assert!(printed.contains(word), "{word:?} in\n{}", refusal.printed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_belong_is_refused_and_the_cluster_stays_as_it_was() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.status(0).await.expect("a status").0["ring"]["epoch"].clone();

    let other_key = cluster.keys.join("other.key");
    fs::write(&other_key, format!("{}\n", "f".repeat(64))).expect("a key");
    names(cluster.try_join(|l| l.set("cluster.key_file", other_key.display())), &["cluster key"]);

    names(cluster.try_join(|l| l.set("node.name", "n1")), &["n1", "name"]);

    // A node with a past in another cluster, same key.
    let key = cluster.keys.join("cluster.key");
    let alone = || Server::launch().set("node.name", "x1").set("cluster.key_file", key.display());
    let mut stranger = alone().start();
    assert_eq!(stranger.terminate().code(), Some(0));
    let joins = alone().set("cluster.join", cluster.peer(0)).start_on(&stranger.data);
    names(joins, &["cluster"]);

    names(cluster.try_join(|l| l.set("cluster.partitions", 16)), &["cluster.partitions", "16", "8"]);

    let status = cluster.status(0).await.expect("a status");
    assert_eq!(status.0["ring"]["epoch"], before, "nothing was committed for any of them");
    assert_eq!(status.nodes().len(), 3, "{}", status.0);
    cluster.join_another(); // the one that was refused last left nothing behind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_is_not_taken_for_the_one_it_was() {
    let mut cluster = Cluster::of(3).await;
    cluster.wipe(2);
    names(cluster.try_restart(2), &["n3"]);
    // Under another name it is welcome, and gets everything.
    let at = cluster.join_another();
    let user = cluster.person(at, "after");
    user.open("web", "active").await;
    assert_eq!(user.sees("me").await["status"], "online");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_waits_for_somebody_to_join_and_never_founds() {
    let mut cluster = Cluster::plan(2).prepare().await;
    cluster.awake(1);
    cluster.awake(0);
    cluster.get_ready();
    cluster.await_formed(rollcall_tests::FORMING_MAX).await;
    let [first, second] = [cluster.status(0).await.expect("a status"), cluster.status(1).await.expect("a status")];
    assert_eq!(first.0["cluster_id"], second.0["cluster_id"]);
    assert_eq!(second.nodes().len(), 2, "{}", second.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_keeps_its_name_and_needs_nobody_to_vouch_for_it() {
    let mut cluster = Cluster::of(3).await;
    assert_eq!(cluster.terminate(1).code(), Some(0));
    cluster.until_status(0, "the stop is seen", |s| s.state("n2") != "up").await;
    cluster.restart(1);
    cluster.await_formed(rollcall_tests::FORMING_MAX).await;
    assert_eq!(cluster.status(1).await.expect("a status").nodes().len(), 3, "nobody new");
}
