//! Nodes die, are cut off and come back; the others go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::several::{Several, node};
use std::time::Instant;

async fn three(partitions: u16) -> Several {
    let several = Several::new(partitions);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    several
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_declared_dead_its_partitions_are_led_on_and_it_takes_its_share_again() {
    let several = three(8).await;
    for user in 0..20 {
        several.write(user).await;
    }
    let leader = several.get(1).placement_leader().unwrap();
    let victim = (1..=3).find(|n| node(*n) == leader).unwrap();
    several.kill(victim).await;
    let begun = Instant::now();
    several.all_led().await;
    println!("all led again after {:?}", begun.elapsed());
    for user in 20..40 {
        several.write(user).await;
    }
    let down = || several.placement().members[&leader].is_down();
    bench::until("it is declared dead", down).await;
    println!("declared dead after {:?}", begun.elapsed());
    several.start(victim).await;
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(40), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_restarts_with_all_it_had() {
    let several = three(8).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several.stop_all().await;
    // One after the other: nobody waits for the others.
    for n in [3, 1, 2] {
        several.start(n).await;
    }
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_says_that_it_is_and_is_back_after_the_cut() {
    let several = three(4).await;
    let standing = several.get(3).standing();
    bench::until("it is confirmed", || standing.borrow().confirmed).await;
    several.board.isolate(&node(3));
    bench::until("it is not confirmed any more", || !standing.borrow().confirmed).await;
    let others = [several.get(1), several.get(2)];
    bench::until("the others hold it for dead", || {
        others.iter().all(|other| other.placement().borrow().members[&node(3)].is_down())
    })
    .await;
    assert!(others.iter().any(|other| other.standing().borrow().confirmed));
    several.board.heal_all();
    bench::until("it is confirmed again", || standing.borrow().confirmed).await;
    several.settled(3, 3, 0).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_link_makes_nobody_dead() {
    let several = three(4).await;
    let leader = several.get(1).placement_leader().unwrap();
    let others: Vec<_> = (1..=3).map(node).filter(|name| *name != leader).collect();
    several.board.cut(&others[0], &others[1]);
    several.board.cut(&others[1], &others[0]);
    // Longer than a lease, in which somebody would be declared dead.
    let until = Instant::now() + std::time::Duration::from_secs(7);
    while Instant::now() < until {
        assert!(several.placement().members.values().all(|member| !member.is_down()));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    several.board.heal_all();
    several.settled(3, 3, 0).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_moves_no_replica() {
    let several = three(8).await;
    for user in 0..20 {
        several.write(user).await;
    }
    for n in 1..=3 {
        assert!(several.get(n).leave(bench::DEADLINE).await, "n{n} could not leave");
        assert_eq!(several.led()[&node(n)], 0);
        several.stop(n).await;
        several.start(n).await;
        several.settled(3, 3, 0).await;
        several.write(100 + n).await;
    }
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_for_too_long_is_replaced_by_a_fourth() {
    let mut several = Several::new(4);
    several.replace_after_ms = 1_000;
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several.start(4).await;
    several.settled(4, 3, 0).await;
    several.kill(2).await;
    bench::until("nothing waits for it any more", || {
        several.placement().assignments().all(|(_, at)| !at.is_hosted_by(&node(2)))
    })
    .await;
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.start(2).await;
    several.settled(4, 3, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}
