//! Links that are cut, and heal.

use super::bench::{DEADLINE, Node, Way, With, acquaint, linked, two, two_through_proxies, until, vote};
use crate::peers::{LinkError, bounds::ANSWERING_MAX};
use futures::future::join_all;
use rollcall_presence::PartitionId;
use std::time::Duration;

#[tokio::test]
async fn a_cut_link_is_lost_on_both_sides_and_comes_again() {
    let (a, b, first, second) = two_through_proxies().await;
    first.set(Way::Closed);
    second.set(Way::Closed);
    until("both hear of it", || a.heard.count("-b") == 1 && b.heard.count("-a") == 1).await;
    until("nothing is reached", || !a.link.reaches(&b.name, 98) && !b.link.reaches(&a.name, 97)).await;
    assert_eq!(a.ask(&b, b"x").await, Err(LinkError::Unreachable(b.name.clone())));
    assert!(!a.link.tell_presence(&b.name, b"lost".to_vec()));
    first.set(Way::Open);
    second.set(Way::Open);
    linked(&a, &b).await;
    assert!(a.link.tell_presence(&b.name, b"heard".to_vec()));
    until("what is told comes", || !b.heard.told.lock().is_empty()).await;
    assert_eq!(*b.heard.told.lock(), [b"heard"]);
}

#[tokio::test]
async fn a_link_that_is_cut_one_way_is_lost_for_both_while_the_other_way_still_asks() {
    let (a, b, first, _second) = two_through_proxies().await;
    first.set(Way::Closed);
    until("both hear of it", || a.heard.count("-b") == 1 && b.heard.count("-a") == 1).await;
    assert_eq!(b.control(&a, b"x").await.unwrap(), b"control: x");
    assert_eq!(a.control(&b, b"x").await, Err(LinkError::Unreachable(b.name.clone())));
    first.set(Way::Open);
    linked(&a, &b).await;
}

#[tokio::test]
async fn a_silent_link_is_noticed_and_what_was_asked_over_it_is_unanswered() {
    let (a, b, first, second) = two_through_proxies().await;
    first.set(Way::Silent);
    second.set(Way::Silent);
    let asked = a.link.control(&b.name, b"x".to_vec(), DEADLINE).await;
    assert_eq!(asked, Err(LinkError::Unanswered(b.name.clone())), "it was on its way when the link was given up");
    until("both hear of it", || a.heard.count("-b") == 1 && b.heard.count("-a") == 1).await;
    first.set(Way::Open);
    second.set(Way::Open);
    linked(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_once_a_link_is_there_comes_after_the_other_side_heard_of_it() {
    let (a, b, first, second) = two_through_proxies().await;
    for node in [&a, &b] {
        assert!(node.heard.greeting.set(std::sync::Arc::clone(&node.link)).is_ok());
    }
    let lost = || (a.heard.count("-b"), b.heard.count("-a"));
    let greeted = |node: &Node| node.heard.events.lock().last().is_some_and(|event| event == "hi");
    for round in 1..=20 {
        let cut = [&first, &second];
        let cut = if round % 3 == 0 { &cut[..1] } else { &cut[..] };
        let before = lost();
        cut.iter().for_each(|proxy| proxy.set(Way::Closed));
        until("both hear of it", || lost().0 > before.0 && lost().1 > before.1).await;
        cut.iter().for_each(|proxy| proxy.set(Way::Open));
        until("both are greeted", || greeted(&a) && greeted(&b)).await;
    }
    for node in [&a, &b] {
        let events = node.heard.events.lock().clone();
        let (mut links, mut greetings) = (0, 0);
        for event in &events {
            links += usize::from(event.starts_with('+'));
            greetings += usize::from(event == "hi");
            // The first link was not greeted.
            assert!(greetings < links, "a greeting comes before its link: {events:?}");
        }
        node.link.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_starts_again_is_linked_afresh() {
    let (a, b) = two().await;
    let listen = Some(b.address);
    b.link.stop().await;
    let b = Node::start("b", With { listen, generation: 1, ..With::default() }).await;
    b.link.know("c1", vec![a.at(), b.at()]);
    linked(&a, &b).await;
    assert_eq!(*a.heard.events.lock(), ["+b", "-b", "+b"]);
    assert_eq!(a.ask(&b, b"x").await.unwrap(), b"a asked x");
}

#[tokio::test]
async fn links_that_are_dropped_end_like_those_of_a_dead_node() {
    let (a, b) = two().await;
    let (address, heard) = (b.address, std::sync::Arc::clone(&b.heard));
    drop(b);
    until("the other hears of it", || a.heard.count("-b") == 1).await;
    until("nothing is left of it", || std::sync::Arc::strong_count(&heard) == 1).await;
    until("its port is free", || std::net::TcpListener::bind(address).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_presence_lane_is_dropped_and_comes_again_and_both_sides_hear_of_it() {
    let (a, b) = two().await;
    let heard = std::sync::Arc::clone(&b.heard);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (held, holding) = std::sync::mpsc::channel();
    let deaf = std::thread::spawn(move || {
        let _deaf = heard.deaf.lock();
        held.send(()).unwrap();
        let _ = stopped.recv();
    });
    holding.recv().unwrap();
    let message = vec![0; 64 * 1_024];
    let told = (0..4_096).take_while(|_| a.link.tell_presence(&b.name, message.clone())).count();
    assert!(told < 1_024, "its bound is 16 MiB, of which {told} messages were told");
    stop.send(()).unwrap();
    deaf.join().unwrap();
    let again = || a.heard.count("-b") == 1 && b.heard.count("-a") == 1;
    until("both hear of it", again).await;
    linked(&a, &b).await;
    assert!(a.link.tell_presence(&b.name, b"heard".to_vec()));
    until("what is told then comes", || b.heard.told.lock().last().is_some_and(|told| told == b"heard")).await;
}

#[tokio::test]
async fn a_full_raft_lane_refuses_and_stands() {
    let (a, b, first, _second) = two_through_proxies().await;
    first.set(Way::Silent);
    let large = vec![0; 3 * 1_024 * 1_024];
    let asked = (0..10).map(|_| a.link.control(&b.name, large.clone(), Duration::from_millis(300)));
    let answers = join_all(asked).await;
    let unreachable = answers.iter().filter(|answer| matches!(answer, Err(LinkError::Unreachable(_)))).count();
    let unanswered = answers.iter().filter(|answer| matches!(answer, Err(LinkError::Unanswered(_)))).count();
    assert_eq!((unreachable, unanswered), (5, 5), "five of 3 MiB fit");
    first.set(Way::Open);
    assert!(b.control(&a, b"x").await.is_ok());
    linked(&a, &b).await;
    until("what is asked then is answered", || a.link.reaches(&b.name, 98)).await;
}

#[tokio::test]
async fn more_questions_than_are_answered_at_once_are_refused_as_not_carried_out() {
    let (a, b) = two().await;
    b.heard.voting.forget_permits(usize::MAX);
    let more = 100;
    let asked = (0..ANSWERING_MAX + more).map(|_| a.link.ask(&b.name, PartitionId(1), vote()));
    let (answers, ()) = tokio::join!(join_all(asked), async {
        // The first refusal comes while the others wait: then let them through.
        assert!(tokio::time::timeout(DEADLINE, a.control(&b, b"x")).await.is_ok());
        b.heard.voting.add_permits(ANSWERING_MAX + more);
    });
    let refused = answers.iter().filter(|answer| matches!(answer, Err(LinkError::Unreachable(_)))).count();
    assert_eq!(refused, more);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), ANSWERING_MAX);
}

#[tokio::test]
async fn three_nodes_are_linked_with_each_other() {
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(name, With::default()));
    let (a, b, c) = tokio::join!(a, b, c);
    acquaint(&[&a, &b, &c]);
    for (one, other) in [(&a, &b), (&b, &c), (&a, &c)] {
        linked(one, other).await;
    }
    assert_eq!(a.ask(&c, b"x").await.unwrap(), b"a asked x");
}
