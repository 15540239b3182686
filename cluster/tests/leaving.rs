//! Nodes are drained and removed, and leave.

mod bench;

use bench::several::{Several, node};
use rollcall_cluster::{AdminError, StartError};
use rollcall_presence::MemberState;

async fn several_of(nodes: u64) -> Several {
    let several = Several::new(8);
    several.start(1).await;
    for n in 2..=nodes {
        several.start(n).await;
    }
    several.settled(usize::try_from(nodes).unwrap(), 3, 0).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_nothing_and_keeps_its_replicas() {
    let several = several_of(3).await;
    several.get(3).drain(&node(1)).await.unwrap();
    bench::until("it is drained", || several.placement().members[&node(1)].state == MemberState::Drained).await;
    bench::until("it leads nothing", || several.led()[&node(1)] == 0).await;
    assert_eq!(several.get(1).held().len(), 8);
    bench::until("nor the placement", || several.get(2).placement_leader() != Some(node(1))).await;
    assert_eq!(several.get(2).drain(&node(9)).await, Err(AdminError::Unknown));
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_rebuilt_elsewhere_forgotten_and_stops_serving() {
    let several = several_of(4).await;
    several.get(4).remove(&node(1)).await.unwrap();
    let gone = several.get(1);
    bench::until("it is forgotten", || !several.get(2).placement().borrow().members.contains_key(&node(1))).await;
    bench::until("it knows", || gone.is_removed()).await;
    bench::until("it holds nothing", || gone.held().is_empty()).await;
    several.stop(1).await;
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);

    // Wiped and under its name it is welcome again.
    std::fs::remove_dir_all(several.dir.path().join("n1")).unwrap();
    several.try_start(1, several.options(1, &[2, 3]), b"key").await.unwrap();
    several.settled(4, 3, 0).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_either_can_be_removed_and_the_last_cannot() {
    let several = Several::new(4);
    several.start(1).await;
    several.start(2).await;
    several.settled(2, 1, 1).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several.get(2).remove(&node(1)).await.unwrap();
    bench::until("the founder is forgotten", || several.get(2).placement().borrow().members.len() == 1).await;
    several.stop(1).await;
    several.settled(1, 1, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    assert_eq!(several.get(2).remove(&node(2)).await, Err(AdminError::LastReplica));
    assert!(several.get(2).leave(bench::DEADLINE).await, "alone it may go at once");
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_while_it_was_away_is_told_at_its_next_start() {
    let several = several_of(4).await;
    several.kill(4).await;
    bench::until("it is held for dead", || several.placement().members[&node(4)].is_down()).await;
    several.get(1).remove(&node(4)).await.unwrap();
    bench::until("it is forgotten", || !several.placement().members.contains_key(&node(4))).await;
    several.settled(3, 3, 0).await;
    match several.try_start(4, several.options(4, &[1, 2]), b"key").await {
        Ok(back) => {
            // Its groups are ended, and its data is left alone.
            let confirmed = back.standing();
            bench::until("it serves nothing", || back.is_removed()).await;
            bench::until("nobody confirms it", || !confirmed.borrow().confirmed).await;
            several.stop(4).await;
        }
        Err(error) => assert!(matches!(error, StartError::Refused { .. }), "{error}"),
    }
    several.settled(3, 3, 0).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_can_leave_and_the_other_leads_all_it_can() {
    let several = Several::new(4);
    several.start(1).await;
    several.start(2).await;
    several.settled(2, 1, 1).await;
    for user in 0..20 {
        several.write(user).await;
    }
    assert!(several.get(2).leave(bench::DEADLINE).await);
    assert_eq!(several.led()[&node(2)], 0);
    bench::until("the other leads everything", || several.led()[&node(1)] == 4).await;
    several.stop(2).await;
    several.start(2).await;
    several.settled(2, 1, 1).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}
