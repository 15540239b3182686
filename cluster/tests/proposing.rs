//! What proposers may rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, add_contacts, open_session, put_status, user};
use futures::future::join_all;
use rollcall_cluster::{ProposeError, Role};
use rollcall_presence::{Intent, ListKind, PartitionId, RequestKey, limits::ENTRY_MAX_COMMANDS};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_an_entry_holds_many_commands_and_each_has_its_own_outcome() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    let proposals = (0..1_000).map(|n| {
        let (bench, cluster, name) = (&bench, &cluster, user(n));
        async move { (name.clone(), bench.propose(cluster, &name, open_session(n)).await.unwrap()) }
    });
    let outcomes = join_all(proposals).await;
    assert!(outcomes.iter().all(|(name, outcome)| outcome.user == *name && outcome.answer.is_ok()));
    let revisions: BTreeSet<u64> = outcomes.iter().map(|(_, outcome)| outcome.revision).collect();
    assert_eq!(revisions.len(), 1_000, "one revision each");
    let witnessed = bench.witness.0.lock().unwrap().clone();
    let largest = witnessed.iter().map(|(_, _, commands)| *commands).max().unwrap();
    assert!(largest > 8 && largest <= ENTRY_MAX_COMMANDS, "{largest} commands in the largest entry");
    assert_eq!(witnessed.iter().map(|(_, _, commands)| *commands).sum::<usize>(), 1_000);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_keep_the_order_they_were_proposed_in() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    let name = user(1);
    bench.propose(&cluster, &name, open_session(1)).await.unwrap();
    // Polled in turn for the first time, none waits for another.
    let outcomes = join_all((0..500).map(|n| bench.propose(&cluster, &name, put_status(n)))).await;
    let revisions: Vec<u64> = outcomes.into_iter().map(|outcome| outcome.unwrap().revision).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    let history =
        cluster.partition(PartitionId(0)).read(|view| view.history(&name, 0, u64::MAX, None, 1)).unwrap().unwrap();
    assert_eq!(history[0].text.as_deref(), Some("status 499"));
    cluster.stop().await;
}

// On one thread: all fifty are proposed before the first can be answered and make room.
#[tokio::test]
async fn more_writes_than_allowed_are_refused_at_once() {
    let bench = Bench::new(1);
    let mut options = bench.options();
    options.writes_in_flight = 10;
    let cluster = bench.try_start(options).await.unwrap();
    bench.all_home(&cluster).await;
    let outcomes = join_all((0..50).map(|n| {
        let (bench, cluster, name) = (&bench, &cluster, user(n));
        async move { bench.propose(cluster, &name, put_status(n)).await }
    }))
    .await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let busy = outcomes.iter().filter(|outcome| matches!(outcome, Err(ProposeError::Busy))).count();
    assert_eq!((taken, busy), (10, 40));
    assert_eq!(cluster.partition(PartitionId(0)).status().unwrap().users, 10, "nothing happened to the others");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_an_answer_sees_the_write() {
    let bench = Bench::new(2);
    let cluster = bench.start().await;
    for n in 0..50 {
        let outcome = bench.propose(&cluster, &user(n), put_status(n)).await.unwrap();
        let partition = cluster.partition(bench.partition_of(&user(n)));
        let Role::Home { term } = *partition.role().borrow() else { panic!("at home") };
        assert_eq!(partition.confirm().await.unwrap(), term);
        let (ledger, record) = partition.read(|view| (view.ledger(), view.record(&user(n)).unwrap().unwrap())).unwrap();
        assert_eq!((ledger.revision, record.history_next), (outcome.revision, 1));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_key_has_one_effect_also_after_a_restart() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    let keyed = |term| {
        let mut command = bench.command(&user(1), put_status(1));
        command.key = Some(RequestKey { key: "k1".into(), digest: [7; 32] });
        command.term = term;
        command
    };
    let term = bench.home(&cluster, PartitionId(0)).await;
    let first = cluster.partition(PartitionId(0)).propose(keyed(term)).await.unwrap();
    cluster.stop().await;
    let cluster = bench.start().await;
    let term = bench.home(&cluster, PartitionId(0)).await;
    let again = cluster.partition(PartitionId(0)).propose(keyed(term)).await.unwrap();
    assert_eq!((&again.answer, again.revision), (&first.answer, first.revision));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_user_leaves_no_row_and_returns_at_a_higher_version() {
    let bench = Bench::new(1);
    let cluster = bench.start().await;
    let name = user(1);
    bench.propose(&cluster, &name, add_contacts(1_000)).await.unwrap();
    bench.propose(&cluster, &name, open_session(1)).await.unwrap();
    let before = bench.propose(&cluster, &name, put_status(1)).await.unwrap();
    let other = bench.propose(&cluster, &user(11), open_session(11)).await.unwrap();
    bench.propose(&cluster, &name, Intent::DeleteUser).await.unwrap();
    let partition = cluster.partition(PartitionId(0));
    partition
        .read(|view| {
            assert_eq!(view.record(&name).unwrap(), None);
            assert_eq!(view.list(&name, ListKind::Contacts, None, 10).unwrap(), []);
            assert_eq!(view.history(&name, 0, u64::MAX, None, 10).unwrap(), []);
            assert_eq!(view.live_users(None, 10).unwrap(), [user(11)], "whose name begins with the same letters");
            assert_eq!((view.ledger().users, view.ledger().online), (1, 1));
        })
        .unwrap();
    let after = bench.propose(&cluster, &name, open_session(2)).await.unwrap();
    assert!(after.presence.as_ref().unwrap().version > before.presence.as_ref().unwrap().version);
    assert!(other.answer.is_ok());
    cluster.stop().await;
    bench.start().await.stop().await;
}
