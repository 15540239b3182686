//! Who watches from another node is told everything, whatever happens to links, notes and homes.

use crate::{
    client::{Client, Services},
    stage::{PARTITIONS, Stage, node_name, parcels},
};
use rollcall_presence::{ListKind, MemberState, Standing, UserId, partition_of};
use std::sync::atomic::Ordering;

/// A user whose home is node 0, and a friend whose socket is at node 2 and whose home is node 1; each the other's contact.
async fn friends(stage: &Stage) -> (UserId, UserId) {
    let (alice, bob) = (Stage::user_at(0, 0), Stage::user_at(1, 0));
    stage.list(2, &alice, ListKind::Contacts, &[&bob], &[]).await;
    stage.list(2, &bob, ListKind::Contacts, &[&alice], &[]).await;
    (alice, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_on_another_node_sees_changes_grants_and_revokes() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    let online = Client::connect(&stage, 1, &alice).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.follow().await;
    assert!(friend.sees(&alice, "status", "online"), "{:?}", friend.held);
    stage.put(1, &alice, "hello").await;
    friend.until("the change", |c| c.sees(&alice, "text", "hello")).await;
    stage.list(0, &alice, ListKind::Blocks, &[&bob], &[]).await;
    friend.until("the subject's block", |c| c.sees(&alice, "version", 0)).await;
    stage.list(0, &alice, ListKind::Blocks, &[], &[&bob]).await;
    friend.until("the subject's grant", |c| c.sees(&alice, "text", "hello")).await;
    stage.list(0, &bob, ListKind::Blocks, &[&alice], &[]).await;
    friend.until("the viewer's own block", |c| c.sees(&alice, "version", 0)).await;
    stage.list(0, &bob, ListKind::Blocks, &[], &[&alice]).await;
    friend.until("seen again", |c| c.sees(&alice, "text", "hello")).await;
    let carol = Stage::user_at(2, 0);
    stage.list(0, &carol, ListKind::Contacts, &[&bob], &[]).await;
    stage.list(1, &bob, ListKind::Contacts, &[&carol], &[&alice]).await;
    friend.until("contacts that came and went", |c| c.held.contains_key(&carol) && !c.held.contains_key(&alice)).await;
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_one_parcel_a_watching_node_however_many_watch() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let online = Client::connect(&stage, 1, &alice).await;
    let mut friends = Vec::new();
    for nth in 0..20 {
        let bob = Stage::user_at(1, nth);
        stage.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
        let mut friend = Client::connect(&stage, nth % 3, &bob).await;
        friend.watch(&[&alice]).await;
        friends.push(friend);
    }
    let before = parcels(&stage);
    for change in 0..10 {
        stage.put(1, &alice, &format!("change {change}")).await;
    }
    for friend in &mut friends {
        friend.until("the last change", |c| c.sees(&alice, "text", "change 9")).await;
    }
    let after = parcels(&stage);
    for index in 0..3 {
        let name = node_name(index);
        assert_eq!(after[&name] - before.get(&name).copied().unwrap_or_default(), 10, "to {name}");
    }
    drop((online, friends));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_heals_a_watcher_holds_what_the_home_holds() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    let dave = Stage::user_at(0, 1);
    stage.list(0, &dave, ListKind::Contacts, &[&bob], &[]).await;
    stage.put(0, &dave, "here").await;
    let online = (Client::connect(&stage, 0, &alice).await, Client::connect(&stage, 0, &dave).await);
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.follow().await;
    friend.watch(&[&dave]).await;
    assert!(friend.sees(&dave, "text", "here") && friend.sees(&alice, "status", "online"), "{:?}", friend.held);
    for (from, to) in [(0, 2), (2, 0)] {
        stage.net.cut(&node_name(from), &node_name(to));
    }
    // What cannot be told: a new text, and that bob may not see dave any more.
    stage.put(0, &alice, "meanwhile").await;
    stage.list(0, &dave, ListKind::Contacts, &[], &[&bob]).await;
    friend.until("stale", |c| c.sees(&alice, "stale", true) && c.sees(&dave, "stale", true)).await;
    stage.net.heal();
    friend.until("the text", |c| c.sees(&alice, "text", "meanwhile") && c.sees(&alice, "stale", false)).await;
    friend.until("never seen", |c| c.sees(&dave, "version", 0) && c.sees(&dave, "stale", false)).await;
    assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_moves_is_told_of_watches_and_connections_and_nobody_seems_offline() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    let online = Client::connect(&stage, 2, &alice).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.follow().await;
    for (round, home) in [1, 2, 0, 2].into_iter().enumerate() {
        stage.make_home(partition_of(&alice, PARTITIONS), home);
        stage.make_home(partition_of(&bob, PARTITIONS), (home + 1) % 3);
        let text = format!("round {round}");
        stage.put(1, &alice, &text).await;
        friend.until(&text, |c| c.sees(&alice, "text", text.as_str())).await;
        // The new home of bob knows that this connection follows.
        stage.until("announced", || stage.nodes.iter().all(|n| n.assembled.ties.are_settled())).await;
        let carol = Stage::user_at(2, round);
        stage.list(0, &bob, ListKind::Contacts, &[&carol], &[]).await;
        friend.until("the new contact", |c| c.held.contains_key(&carol)).await;
    }
    assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_note_is_mended_when_the_next_one_shows_the_gap() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    let dave = Stage::user_at(0, 0);
    let erin =
        (1..).map(|n| Stage::user_at(0, n)).find(|u| partition_of(u, PARTITIONS) == partition_of(&dave, PARTITIONS));
    let erin = erin.unwrap();
    stage.list(0, &erin, ListKind::Contacts, &[&bob], &[]).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.watch(&[&alice, &erin]).await;
    let online = Client::connect(&stage, 0, &alice).await;
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    stage.net.lose(&node_name(0), &node_name(2), 1);
    stage.put(0, &alice, "lost").await;
    let also = Client::connect(&stage, 0, &erin).await;
    friend.until("what was lost", |c| c.sees(&alice, "text", "lost") && c.sees(&erin, "status", "online")).await;
    drop((online, also, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_last_note_is_mended_when_digests_are_compared() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.watch(&[&alice]).await;
    let online = Client::connect(&stage, 0, &alice).await;
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    stage.net.lose(&node_name(0), &node_name(2), 1);
    stage.put(0, &alice, "lost").await;
    stage.nodes[2].assembled.ties.compare_soon();
    friend.until("what was lost", |c| c.sees(&alice, "text", "lost")).await;
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_on_a_node_that_the_home_takes_for_down_is_told_all_the_same() {
    let stage = Stage::with(|settings| settings.presence.grace_ms = 60_000).await;
    let (alice, bob) = friends(&stage).await;
    let online = Client::connect(&stage, 0, &alice).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    friend.watch(&[&alice]).await;
    // It is back and has announced everything before the news of its being up has come.
    stage.member(2, |member| member.state = MemberState::Down(Standing::Staying));
    stage.put(0, &alice, "meanwhile").await;
    friend.until("the text", |c| c.sees(&alice, "text", "meanwhile")).await;
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_began_stale_is_fresh_once_the_home_can_confirm_itself() {
    let stage = Stage::new().await;
    let (alice, bob) = friends(&stage).await;
    stage.put(0, &alice, "here").await;
    let online = Client::connect(&stage, 0, &alice).await;
    let mut friend = Client::connect(&stage, 2, &bob).await;
    stage.group(0, &alice).confirms.store(false, Ordering::Relaxed);
    friend.watch(&[&alice]).await;
    assert!(friend.sees(&alice, "stale", true), "{:?}", friend.held);
    stage.group(0, &alice).confirms.store(true, Ordering::Relaxed);
    friend.until("fresh", |c| c.sees(&alice, "stale", false) && c.sees(&alice, "text", "here")).await;
    drop((online, friend));
    stage.end().await;
}
