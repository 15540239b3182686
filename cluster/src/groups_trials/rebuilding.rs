//! Replicas that are dropped, rebuilt from nothing, or were too far behind for the log.

use super::*;
use crate::state::stream::ChunkSource;

/// Drops the replica on `n` as the control does: out of the group first.
async fn take_out(three: &Three, n: u64, rest: &[u64]) {
    three.nodes[&1].voters(P, rest).await;
    let group = three.nodes[&1].group();
    until("nobody sends to it", || metrics(&group).replication.is_some_and(|known| !known.contains_key(&n))).await;
    three.nodes[&n].hosting.drop_replica(P).await.unwrap();
}

/// How many rows there are of the partition on a node's disk.
fn rows(node: &Node) -> usize {
    [key::log_range(P), key::state_range(P)].iter().map(|(from, to)| node.disk.scan(from, to).count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_replica_leaves_nothing_and_is_rebuilt_from_nothing() {
    let mut three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    for user in 0..10 {
        three.nodes[&1].put(user, "one").await.unwrap();
    }
    three.all_read(&[3], 9, "one").await;
    let role = three.nodes[&3].partition().role();
    take_out(&three, 3, &[1, 2]).await;
    assert_eq!(rows(&three.nodes[&3]), 0);
    assert!(!three.nodes[&3].partition().held() && three.nodes[&3].hosting.held().is_empty());
    three.nodes[&3].hosting.drop_replica(P).await.unwrap();
    // Nothing is found of it at the next start either.
    three.end(3).await;
    three.begin(3).await;
    assert!(three.nodes[&3].hosting.held().is_empty());
    drop(role);

    let role = three.nodes[&3].partition().role();
    three.nodes[&3].hosting.open(P).await.unwrap();
    three.nodes[&1].put(1, "two").await.unwrap();
    three.nodes[&1].learner(P, 3).await;
    let group = three.nodes[&1].group();
    until("rebuilt", || is_caught_up(&group, 3)).await;
    three.nodes[&1].voters(P, &[1, 2, 3]).await;
    three.all_read(&[3], 1, "two").await;
    three.all_read(&[3], 9, "one").await;
    assert_eq!(*role.borrow(), Role::Follower { leader: Some(name(1)) }, "the receiver outlives the replica");
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_dropped_and_opened_in_one_process_goes_on() {
    let three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    for round in 0..3 {
        let text = format!("round {round}");
        three.nodes[&1].put(1, &text).await.unwrap();
        take_out(&three, 2, &[1, 3]).await;
        three.nodes[&2].hosting.open(P).await.unwrap();
        three.nodes[&1].learner(P, 2).await;
        let group = three.nodes[&1].group();
        until("rebuilt", || is_caught_up(&group, 2)).await;
        three.nodes[&1].voters(P, &[1, 2, 3]).await;
        three.all_read(&[1, 2, 3], 1, &text).await;
    }
    three.stop().await;
}

/// Without the purge a follower would be sent the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_replica_and_one_that_fell_behind_the_log_get_a_snapshot() {
    let mut three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    three.end(3).await;
    for user in 0..200 {
        three.nodes[&1].put(user, "long ago").await.unwrap();
    }
    let group = three.nodes[&1].group();
    group.trigger().snapshot().await.unwrap();
    until("a snapshot", || metrics(&group).snapshot.is_some_and(|id| id.index > 150)).await;
    until("the log was cut", || metrics(&group).purged.is_some_and(|id| id.index > 100)).await;

    three.begin(3).await;
    until("the one that fell behind", || is_caught_up(&group, 3)).await;
    three.all_read(&[3], 0, "long ago").await;
    three.all_read(&[3], 199, "long ago").await;
    assert!(metrics(&three.nodes[&3].group()).snapshot.is_some(), "a snapshot was installed");

    take_out(&three, 3, &[1, 2]).await;
    three.nodes[&3].hosting.open(P).await.unwrap();
    three.nodes[&1].learner(P, 3).await;
    until("the empty one", || is_caught_up(&group, 3)).await;
    three.all_read(&[3], 0, "long ago").await;
    three.nodes[&1].put(0, "now").await.unwrap();
    three.all_read(&[3], 0, "now").await;
    // And it is there after a restart.
    three.end(3).await;
    three.begin(3).await;
    three.all_read(&[3], 199, "long ago").await;
    three.stop().await;
}

/// Gives the first chunk of another's snapshot, and then loses the link.
struct Torn(Option<crate::state::stream::SnapshotStream>);

impl ChunkSource for Torn {
    fn next(&mut self) -> BoxFuture<'_, std::io::Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            match self.0.take() {
                Some(mut whole) => whole.next().await,
                None => Err(std::io::Error::other("the link is lost")),
            }
        })
    }
}

/// openraft takes an install that breaks off for a broken store, and ends the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_breaks_off_fells_nobody_and_the_next_one_lands() {
    let three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    three.nodes[&1].put(1, "kept").await.unwrap();
    three.all_read(&[3], 1, "kept").await;
    let group = three.nodes[&1].group();
    three.board.isolate(&name(3));
    for user in 2..20 {
        three.nodes[&1].put(user, "more").await.unwrap();
    }
    let leader = Peer { name: name(1), raft_id: 1, generation: 1 };
    let vote = metrics(&group).vote;
    let mut torn = group.get_snapshot().await.unwrap().unwrap();
    torn.snapshot = Box::new(Torn(Some(torn.snapshot)));
    assert!(three.nodes[&3].hosting.snapshot(&leader, P, vote, torn).await.is_none());
    let whole = group.get_snapshot().await.unwrap().unwrap();
    assert!(three.nodes[&3].hosting.snapshot(&leader, P, vote, whole).await.is_some());
    three.all_read(&[3], 19, "more").await;
    three.board.heal_all();
    three.nodes[&1].put(1, "goes on").await.unwrap();
    three.all_read(&[1, 2, 3], 1, "goes on").await;
    three.stop().await;
}

/// The step that counts is on disk, the rows are still there: the power went in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_that_was_interrupted_is_finished_by_the_next_start() {
    let mut three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    for user in 0..10 {
        three.nodes[&1].put(user, "one").await.unwrap();
    }
    three.all_read(&[3], 9, "one").await;
    three.nodes[&1].voters(P, &[1, 2]).await;
    let node = three.nodes.remove(&3).unwrap();
    node.link.stop().await;
    node.hosting.stop().await;
    let (done, forgotten) = promise();
    node.writer.queue().forget(P, done);
    forgotten.await.unwrap();
    assert!(rows(&node) > 0, "the rows are left");
    node.stop().await;

    three.begin(3).await;
    assert!(three.nodes[&3].hosting.held().is_empty());
    assert_eq!(rows(&three.nodes[&3]), 0);
    three.nodes[&3].hosting.open(P).await.unwrap();
    three.nodes[&1].learner(P, 3).await;
    let group = three.nodes[&1].group();
    until("rebuilt", || is_caught_up(&group, 3)).await;
    three.all_read(&[3], 9, "one").await;
    three.end(3).await;
    three.begin(3).await;
    three.all_read(&[3], 9, "one").await;
    three.stop().await;
}

/// Whoever decides has to take a replica out first. Should a learner be opened afresh all the same, nobody falls by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_whose_log_went_back_does_not_fell_its_leader() {
    let three = Three::start().await;
    three.nodes[&1].hosting.found(P).await.unwrap();
    home(&three.nodes[&1]).await;
    three.nodes[&2].hosting.open(P).await.unwrap();
    three.nodes[&1].learner(P, 2).await;
    let group = three.nodes[&1].group();
    for user in 0..10 {
        three.nodes[&1].put(user, "one").await.unwrap();
    }
    until("caught up", || is_caught_up(&group, 2)).await;
    three.nodes[&2].hosting.drop_replica(P).await.unwrap();
    three.nodes[&2].hosting.open(P).await.unwrap();
    three.nodes[&1].put(1, "two").await.unwrap();
    three.all_read(&[2], 1, "two").await;
    three.all_read(&[2], 9, "one").await;
    assert!(metrics(&group).running_state.is_ok());
    three.stop().await;
}
