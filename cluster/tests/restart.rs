//! What a node keeps over a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, open_session, put_status, user};
use rollcall_cluster::{ProposeError, Role, StartError};
use rollcall_presence::{Answer, ListKind, NodeName, PartitionId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_is_there_after_a_restart() {
    let bench = Bench::new(4);
    let cluster = bench.start().await;
    assert_eq!(cluster.identity().generation, 1);
    let mut wanted = Vec::new();
    for n in 0..200 {
        let name = user(n);
        bench.propose(&cluster, &name, open_session(n)).await.unwrap();
        let outcome = bench.propose(&cluster, &name, put_status(n)).await.unwrap();
        bench.propose(&cluster, &name, bench::add_contacts(50)).await.unwrap();
        wanted.push((name, outcome.presence.clone().unwrap()));
    }
    let before = bench.everything(&cluster, 200);
    cluster.stop().await;

    let cluster = bench.start().await;
    assert_eq!(cluster.identity().generation, 2);
    assert_eq!(bench.everything(&cluster, 200), before);
    for (name, presence) in wanted {
        cluster
            .partition(bench.partition_of(&name))
            .read(|view| {
                let record = view.record(&name).unwrap().unwrap();
                assert_eq!(record.shown.version, presence.version);
                assert_eq!(view.list(&name, ListKind::Contacts, None, 100).unwrap().len(), 50);
                assert_eq!(view.history(&name, 0, u64::MAX, None, 10).unwrap().len(), 2);
            })
            .unwrap();
    }
    let outcome = bench.propose(&cluster, &user(0), put_status(7)).await.unwrap();
    assert!(matches!(outcome.answer, Ok(Answer::Status { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_a_new_term() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    let first = bench.home(&cluster, PartitionId(0)).await;
    let mut stale = bench.command(&user(1), put_status(1));
    stale.term = first;
    cluster.stop().await;
    let cluster = bench.start().await;
    let second = bench.home(&cluster, PartitionId(0)).await;
    assert!(second > first, "{second} after {first}");
    let outcome = cluster.partition(PartitionId(0)).propose(stale).await.unwrap();
    assert!(outcome.answer.is_err(), "a command of an older term has no effect: {:?}", outcome.answer);
    assert_eq!(cluster.partition(PartitionId(0)).confirm().await.unwrap(), second);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_proposes_nothing() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    bench.home(&cluster, PartitionId(0)).await;
    cluster.stop().await;
    let mut role = cluster.partition(PartitionId(0)).role();
    role.wait_for(|role| matches!(role, Role::Follower { .. })).await.unwrap();
    let refused = cluster.partition(PartitionId(0)).propose(bench.command(&user(1), put_status(1))).await;
    assert!(matches!(refused, Err(ProposeError::NotHome { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_started_from_only_as_it_was_made() {
    let bench = Bench::new(2);
    let cluster = bench.start().await;
    assert!(matches!(bench.try_start(bench.options()).await, Err(StartError::Held(_))));
    // Somebody tidied up: the database itself is still held.
    std::fs::remove_file(bench.options().data_dir.join("lock")).unwrap();
    assert!(matches!(bench.try_start(bench.options()).await, Err(StartError::Held(_))));
    cluster.stop().await;
    let mut options = bench.options();
    options.partitions = 3;
    let refused = bench.try_start(options).await.err();
    assert!(matches!(refused, Some(StartError::Partitions { founded: 2, asked: 3 })), "{refused:?}");
    let mut options = bench.options();
    options.node = NodeName::new("n2").unwrap();
    let refused = bench.try_start(options).await.err();
    assert!(matches!(refused, Some(StartError::Name { .. })), "{refused:?}");
    bench.start().await.stop().await;
}
