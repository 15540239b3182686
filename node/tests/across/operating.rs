//! What operators and clients of a node see when it is cut off, emptied, or asked for the state of the cluster.

use crate::{
    client::{Client, Services},
    stage::{DEADLINE, Stage, node_name},
};
use rollcall_api::{
    service::{GoodbyeReason, PresenceService, ServiceError},
    wire::NodeState,
};
use rollcall_presence::{ListKind, MemberState, Standing};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_the_cluster_says_stale_then_isolated_and_takes_clients_again_once_it_is_back() {
    let stage = Stage::new().await;
    let (alice, bob) = (Stage::user_at(0, 0), Stage::user_at(2, 0));
    stage.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
    let online = Client::connect(&stage, 1, &alice).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.watch(&[&alice]).await;
    for other in 0..2 {
        stage.net.cut(&node_name(2), &node_name(other));
        stage.net.cut(&node_name(other), &node_name(2));
    }
    stage.nodes[2].links.confirmed.send_replace(false);
    friend.until("stale", |c| c.sees(&alice, "stale", true)).await;
    assert!(friend.sees(&alice, "status", "online"), "silence is no offline: {:?}", friend.held);
    friend.until("isolated", |c| c.goodbye == Some(GoodbyeReason::Isolated)).await;
    assert_eq!(friend.offlines(), 0);
    let refused = Client::try_connect(&stage, 2, &bob, None).await.map(|_| ());
    assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
    assert!(stage.nodes[2].service.ready().await.is_err());
    stage.net.heal();
    stage.nodes[2].links.confirmed.send_replace(true);
    let back = async {
        while Client::try_connect(&stage, 2, &bob, None).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, back).await.unwrap();
    assert!(stage.nodes[2].service.ready().await.is_ok());
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_drained_node_go_elsewhere_without_an_event() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let mut online = Client::connect(&stage, 2, &alice).await;
    stage.member(2, |member| member.state = MemberState::Draining);
    for partition in [2, 5] {
        stage.make_home(rollcall_presence::PartitionId(partition), 0);
    }
    online.until("drain", |c| c.goodbye == Some(GoodbyeReason::Drain)).await;
    let refused = Client::try_connect(&stage, 2, &alice, None).await.map(|_| ());
    assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
    let again = online.resume(&stage, 1, &alice).await;
    assert!(again.welcome.resumed);
    assert_eq!(stage.reasons(2, &alice).await.len(), 1, "it still answers, and nothing happened to alice");
    drop((online, again));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_keeps_its_doors_closed() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let mut online = Client::connect(&stage, 2, &alice).await;
    stage.net.placement.send_modify(|placement| {
        let mut changed = rollcall_presence::Placement::clone(placement);
        changed.epoch += 1;
        changed.members.remove(&node_name(2));
        *placement = std::sync::Arc::new(changed);
    });
    for partition in [2, 5] {
        stage.make_home(rollcall_presence::PartitionId(partition), 0);
    }
    online.until("drain", |c| c.goodbye == Some(GoodbyeReason::Drain)).await;
    let refused = Client::try_connect(&stage, 2, &alice, None).await.map(|_| ());
    assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
    drop(online);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_the_whole_cluster_and_null_for_what_it_cannot_confirm() {
    let stage = Stage::new().await;
    let user = Stage::user_at(0, 0);
    let online = Client::connect(&stage, 1, &user).await;
    for node in &stage.nodes {
        let status = node.service.cluster_status().await;
        assert!(status.healthy, "{status:?}");
        assert_eq!((status.nodes_up, status.nodes_total, status.ring.replication), (Some(3), 3, 3));
        assert_eq!(status.nodes.iter().map(|n| n.partitions_led.unwrap()).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(status.nodes[1].connections, Some(1));
        assert_eq!(status.partitions[1].leader, Some(node_name(1)));
        assert_eq!(status.partitions.iter().map(|p| p.online.unwrap()).sum::<u64>(), 1);
        let located = node.service.locate(&user).await;
        assert_eq!(located.leader, Some(node_name(0)));
    }
    for other in 0..2 {
        stage.net.cut(&node_name(2), &node_name(other));
        stage.net.cut(&node_name(other), &node_name(2));
    }
    stage.nodes[2].links.confirmed.send_replace(false);
    for group in &stage.nodes[2].groups {
        group.confirms.store(false, Ordering::Relaxed);
    }
    for home in 0..3 {
        assert_eq!(stage.nodes[2].service.locate(&Stage::user_at(home, 0)).await.leader, None);
    }
    let alone = stage.nodes[2].service.cluster_status().await;
    assert!(!alone.healthy && alone.nodes_up.is_none(), "{alone:?}");
    assert_eq!(alone.nodes[0].state, NodeState::Unknown);
    assert!(alone.nodes[0].sessions.is_none() && alone.partitions.iter().all(|p| p.leader.is_none()));
    stage.member(2, |member| member.state = MemberState::Down(Standing::Staying));
    let rest = stage.nodes[0].service.cluster_status().await;
    assert_eq!((rest.nodes_up, rest.nodes[2].state), (Some(2), NodeState::Unreachable));
    assert!(!rest.healthy, "the partitions that only the lost node could confirm have no leader");
    drop(online);
    stage.end().await;
}
