//! Questions, answers and what is told, between nodes that reach each other.

use super::bench::{heartbeat, name, two, until, vote};
use crate::{peers::LinkError, raft::link::Told};
use futures::future::join_all;
use rollcall_presence::PartitionId;
use std::time::Duration;

#[tokio::test]
async fn questions_are_answered_both_ways_on_every_lane() {
    let (a, b) = two().await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        assert_eq!(from.control(to, b"hello").await.unwrap(), b"control: hello");
        assert_eq!(from.ask(to, b"hello").await.unwrap(), format!("{} asked hello", from.name).into_bytes());
        let told = from.link.ask(&to.name, PartitionId(3), heartbeat()).await.unwrap();
        assert!(matches!(told, Told::Append(told) if told.is_success()));
        let joined = from.link.join(&to.address.to_string(), b"hello".to_vec()).await;
        assert_eq!(joined.unwrap(), b"join: hello");
    }
    assert!(a.link.reaches(&b.name, u64::from(b'b')));
    assert!(!a.link.reaches(&b.name, 7));
}

#[tokio::test]
async fn what_makes_no_sense_is_unanswered_and_who_is_unknown_unreachable() {
    let (a, b) = two().await;
    assert_eq!(a.ask(&b, b"nonsense").await, Err(LinkError::Unanswered(b.name.clone())));
    assert_eq!(a.ask(&b, b"too much").await, Err(LinkError::Unanswered(b.name.clone())));
    assert!(a.ask(&b, b"x").await.is_ok(), "the lane stands");
    let none = a.link.ask(&b.name, PartitionId(99), heartbeat()).await;
    assert_eq!(none.unwrap_err(), LinkError::Unanswered(b.name.clone()));
    let nobody = name("nobody");
    let asked = a.link.ask(&nobody, PartitionId(1), heartbeat()).await;
    assert_eq!(asked.unwrap_err(), LinkError::Unreachable(nobody.clone()));
    assert!(!a.link.tell_presence(&nobody, vec![1]));
}

#[tokio::test]
async fn a_question_that_is_never_answered_ends_with_its_deadline_and_holds_no_other_up() {
    let (a, b) = two().await;
    let deadline = Duration::from_millis(200);
    let never = || a.link.ask_presence(&b.name, b"never".to_vec(), deadline);
    let (never, others) = tokio::join!(never(), join_all((0..100).map(|_| a.ask(&b, b"x"))));
    assert_eq!(never, Err(LinkError::Unanswered(b.name.clone())));
    assert!(others.into_iter().all(|answer| answer.unwrap() == b"a asked x"));
}

#[tokio::test]
async fn a_slow_group_holds_no_other_up() {
    let (a, b) = two().await;
    let slots = b.heard.voting.forget_permits(usize::MAX);
    assert!(slots > 0);
    let slow = a.link.ask(&b.name, PartitionId(1), vote());
    tokio::pin!(slow);
    assert!(futures::poll!(&mut slow).is_pending());
    for _ in 0..10 {
        assert!(a.link.ask(&b.name, PartitionId(2), heartbeat()).await.is_ok());
    }
    assert!(futures::poll!(&mut slow).is_pending());
    b.heard.voting.add_permits(1);
    assert!(matches!(slow.await, Ok(Told::Vote(told)) if told.vote_granted));
}

#[tokio::test]
async fn thousands_that_are_told_come_in_order_and_before_what_is_asked_later() {
    let (a, b) = two().await;
    for number in 0..20_000_u32 {
        assert!(a.link.tell_presence(&b.name, number.to_le_bytes().to_vec()));
    }
    assert_eq!(a.ask(&b, b"how many").await.unwrap(), b"20000");
    let told: Vec<_> = (0..20_000_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    assert!(*b.heard.told.lock() == told);
    assert_eq!(*b.heard.events.lock(), ["+a"]);
}

#[tokio::test]
async fn a_large_message_comes_whole() {
    let (a, b) = two().await;
    let large = vec![7; crate::peers::bounds::MESSAGE_MAX_BYTES - 100];
    assert!(a.link.tell_presence(&b.name, large.clone()));
    until("it came", || !b.heard.told.lock().is_empty()).await;
    assert!(b.heard.told.lock()[0] == large);
    let answered = a.link.control(&b.name, large.clone(), Duration::from_secs(20)).await.unwrap();
    assert_eq!(answered.len(), large.len() + 9);
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye_and_frees_its_port() {
    let (a, b) = two().await;
    b.link.stop().await;
    until("the other hears of it", || a.heard.count("-b") == 1).await;
    let gone = || !a.link.reaches(&b.name, u64::from(b'b'));
    until("both lanes end", gone).await;
    assert_eq!(a.control(&b, b"hello").await, Err(LinkError::Unreachable(b.name.clone())));
    tokio::net::TcpListener::bind(b.address).await.unwrap();
    assert_eq!(b.control(&a, b"hello").await, Err(LinkError::Unreachable(a.name.clone())));
}
