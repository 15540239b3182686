//! The same over real groups: nodes that die, are cut off and are emptied, with clients that watch.

use crate::{
    client::{Client, Services},
    real::Real,
    stage::{DEADLINE, node_name},
};
use rollcall_api::service::{GoodbyeReason, PresenceService};
use rollcall_presence::{ListKind, Reason};
use std::time::{Duration, Instant};

/// Writes at `at` until it is acknowledged; how long that took.
async fn put_again(real: &Real, at: usize, user: &rollcall_presence::UserId, text: &str) -> Duration {
    let began = Instant::now();
    let written = async {
        while real.write(at, user, crate::client::status(text)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, written).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_node_is_killed_its_users_are_written_again_and_only_who_does_not_come_back_is_shown_offline_once() {
    let mut real = Real::new().await;
    let (alice, dave, bob) = (real.user_at(2, 0), real.user_at(2, 1), real.user_at(0, 0));
    for user in [&alice, &dave] {
        real.list(1, user, ListKind::Contacts, &[&bob], &[]).await;
    }
    let mut friend = Client::connect(&real, 0, &bob).await;
    friend.watch(&[&alice, &dave]).await;
    let (returns, stays_away) = (Client::connect(&real, 2, &alice).await, Client::connect(&real, 2, &dave).await);
    friend.until("both online", |c| c.sees(&alice, "status", "online") && c.sees(&dave, "status", "online")).await;
    real.kill(2).await;
    let took = put_again(&real, 1, &alice, "again").await;
    println!("written again after {took:?}");
    friend.until("the text", |c| c.sees(&alice, "text", "again")).await;
    let back = returns.resume(&real, 1, &alice).await;
    assert!(back.welcome.resumed);
    std::mem::forget((returns, stays_away)); // their process is dead
    friend.until("dave offline", |c| c.sees(&dave, "status", "offline")).await;
    real.put(0, &alice, "alive").await;
    friend.until("alice alive", |c| c.sees(&alice, "text", "alive")).await;
    assert_eq!(friend.offlines(), 1, "{:?}", friend.told);
    assert_eq!(real.reasons(1, &dave).await, [Reason::Connected, Reason::NodeLost]);
    assert_eq!(real.reasons(1, &alice).await, [Reason::Connected, Reason::StatusSet, Reason::StatusSet]);
    drop((friend, back));
    real.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_acknowledges_nothing_says_stale_and_holds_what_the_homes_hold_once_it_is_back() {
    let real = Real::with_grace(15_000).await;
    let (alice, bob) = (real.user_at(2, 0), real.user_at(0, 0));
    real.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
    let online = Client::connect(&real, 0, &alice).await;
    let (mut inside, mut outside) = (Client::connect(&real, 2, &bob).await, Client::connect(&real, 1, &bob).await);
    inside.watch(&[&alice]).await;
    outside.watch(&[&alice]).await;
    assert!(inside.sees(&alice, "status", "online") && outside.sees(&alice, "status", "online"));
    real.board.isolate(&node_name(2));
    inside.until("stale", |c| c.sees(&alice, "stale", true)).await;
    assert!(real.write(2, &alice, crate::client::status("never")).await.is_err(), "no majority, no acknowledgement");
    let viewer = rollcall_presence::Viewer { user: bob.clone(), service: false };
    let seen = real.service(2).presences(&viewer, std::slice::from_ref(&alice)).await.unwrap();
    assert!(seen[0].stale, "{seen:?}");
    put_again(&real, 1, &alice, "meanwhile").await;
    outside.until("the text", |c| c.sees(&alice, "text", "meanwhile")).await;
    real.board.heal_all();
    let healed = Instant::now();
    inside.until("the text", |c| c.sees(&alice, "text", "meanwhile") && c.sees(&alice, "stale", false)).await;
    assert!(healed.elapsed() < Duration::from_secs(10), "{:?}", healed.elapsed());
    assert_eq!(inside.offlines() + outside.offlines(), 0);
    drop((online, inside, outside));
    real.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_under_writes_and_nobody_sees_anything_but_the_goodbye() {
    let real = Real::new().await;
    let (alice, bob) = (real.user_at(2, 0), real.user_at(0, 0));
    real.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
    let mut online = Client::connect(&real, 2, &alice).await;
    let mut friend = Client::connect(&real, 0, &bob).await;
    friend.watch(&[&alice]).await;
    real.service(0).drain(&node_name(2)).await.unwrap();
    let mut longest = Duration::ZERO;
    let mut writes = 0_u64;
    while real.nodes[2].as_ref().unwrap().assembled.node.homes.partitions().iter().any(|p| p.tenure().is_some()) {
        writes += 1;
        longest = longest.max(put_again(&real, 1, &alice, &format!("write {writes}")).await);
    }
    println!("{writes} writes while leaderships moved, the longest took {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    online.until("drain", |c| c.goodbye == Some(GoodbyeReason::Drain)).await;
    let again = online.resume(&real, 1, &alice).await;
    assert!(again.welcome.resumed);
    real.put(1, &alice, "moved").await;
    friend.until("the text", |c| c.sees(&alice, "text", "moved")).await;
    assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
    drop((online, again, friend));
    real.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_link_cut_in_one_direction_or_both_nobody_alive_is_shown_offline_and_requests_find_a_way_around() {
    let real = Real::new().await;
    // The one that declares deaths reaches all: whose leases do not arrive is dead by its word, whoever else hears it.
    assert_eq!(real.nodes[1].as_ref().unwrap().cluster.placement_leader(), Some(node_name(0)));
    let (alice, bob) = (real.user_at(1, 0), real.user_at(0, 0));
    real.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
    let online = Client::connect(&real, 2, &alice).await; // its home is across the link that is cut
    let mut friends = Vec::new();
    for at in 0..3 {
        let mut friend = Client::connect(&real, at, &bob).await;
        friend.watch(&[&alice]).await;
        friends.push(friend);
    }
    for (round, cuts) in [&[(1, 2)][..], &[(2, 1)], &[(1, 2), (2, 1)]].into_iter().enumerate() {
        for (from, to) in cuts {
            real.board.cut(&node_name(*from), &node_name(*to));
        }
        // Longer than a grace and a lease: whoever were to be taken for dead would be by then.
        let until = Instant::now() + Duration::from_secs(9);
        let mut writes = 0_u32;
        while Instant::now() < until {
            let text = format!("round {round} write {writes}");
            let took = put_again(&real, 2, &alice, &text).await;
            assert!(took < Duration::from_secs(6), "{took:?}");
            writes += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        real.board.heal_all();
        put_again(&real, 1, &alice, &format!("healed {round}")).await;
        let text = format!("healed {round}");
        for friend in &mut friends {
            friend.until(&text, |c| c.sees(&alice, "text", text.as_str()) && c.sees(&alice, "stale", false)).await;
            assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
        }
    }
    let reasons = real.reasons(1, &alice).await;
    assert!(reasons[1..].iter().all(|reason| *reason == Reason::StatusSet), "{reasons:?}");
    drop((online, friends));
    real.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_whose_sessions_ended_while_their_node_was_taken_for_dead_are_asked_to_come_back() {
    let real = Real::new().await;
    let bob = real.user_at(0, 0);
    let mut inside = Client::connect(&real, 2, &bob).await;
    real.board.isolate(&node_name(2));
    let ended = async {
        while real.reasons(1, &bob).await != [Reason::Connected, Reason::NodeLost] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
    real.board.heal_all();
    inside.until("goodbye", |c| c.goodbye == Some(GoodbyeReason::Isolated)).await;
    drop(inside);
    real.end().await;
}
