//! Snapshots between nodes: whole, or an error.

use super::bench::{Chunks, Node, Way, two, two_through_proxies, until};
use crate::{
    peers::{GroupSnapshot, LinkError, SnapshotAnswer, bounds::SNAPSHOT_WINDOW},
    raft::types::{SnapshotMeta, Vote},
};
use futures::future::BoxFuture;
use rollcall_presence::PartitionId;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const CHUNK_BYTES: usize = 128 * 1_024;

fn sent<'a>(from: &'a Node, to: &'a Node, chunks: Chunks) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>> {
    let snapshot = GroupSnapshot { meta: SnapshotMeta::default(), snapshot: Box::new(chunks) };
    from.link.send_snapshot(&to.name, PartitionId(1), Vote::new_committed(3, 97), snapshot)
}

fn chunks(left: u8, broken: bool) -> (Chunks, Arc<AtomicUsize>) {
    let pulled = Arc::new(AtomicUsize::new(0));
    (Chunks { left, bytes: CHUNK_BYTES, broken, pulled: Arc::clone(&pulled) }, pulled)
}

fn taken(node: &Node) -> Vec<Result<Vec<u8>, String>> {
    node.heard.snapshots.lock().clone()
}

#[tokio::test]
async fn a_snapshot_of_several_mebibytes_arrives_whole_and_its_answer_comes_back() {
    let (a, b) = two().await;
    let answer = sent(&a, &b, chunks(60, false).0).await.unwrap();
    assert_eq!(answer.vote, Vote::new_committed(3, 97));
    let whole: Vec<u8> = (1..=60).rev().flat_map(|n| vec![n; CHUNK_BYTES]).collect();
    assert!(taken(&b) == [Ok(whole)]);
}

#[tokio::test]
async fn an_empty_snapshot_is_one() {
    let (a, b) = two().await;
    sent(&a, &b, chunks(0, false).0).await.unwrap();
    assert_eq!(taken(&b), [Ok(Vec::new())]);
}

#[tokio::test]
async fn the_sender_is_no_more_than_a_window_ahead() {
    let (a, b) = two().await;
    b.heard.taking.forget_permits(usize::MAX);
    let (chunks, pulled) = chunks(60, false);
    let mut sending = sent(&a, &b, chunks);
    for taken in 0..5 {
        let filled = until("the window is filled", || pulled.load(Ordering::SeqCst) >= SNAPSHOT_WINDOW + taken);
        tokio::select! {
            _ = &mut sending => panic!("it is not over"),
            () = filled => {}
        }
        // Much else comes and goes meanwhile, and nothing more is pulled.
        for _ in 0..20 {
            tokio::select! {
                _ = &mut sending => panic!("it is not over"),
                answer = a.control(&b, b"x") => assert!(answer.is_ok()),
            }
        }
        assert_eq!(pulled.load(Ordering::SeqCst), SNAPSHOT_WINDOW + taken);
        b.heard.taking.add_permits(1);
    }
    b.heard.taking.add_permits(100);
    sending.await.unwrap();
    assert_eq!(taken(&b)[0].as_ref().unwrap().len(), 60 * CHUNK_BYTES);
}

#[tokio::test]
async fn a_snapshot_whose_source_breaks_is_an_error_on_both_sides() {
    let (a, b) = two().await;
    assert_eq!(sent(&a, &b, chunks(10, true).0).await, Err(LinkError::Unanswered(b.name.clone())));
    until("the receiver ends too", || !taken(&b).is_empty()).await;
    assert!(taken(&b)[0].is_err());
    sent(&a, &b, chunks(3, false).0).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_nobody_sends_any_more_is_an_error_at_the_receiver() {
    let (a, b) = two().await;
    b.heard.taking.forget_permits(usize::MAX);
    let (chunks, pulled) = chunks(60, false);
    let mut sending = sent(&a, &b, chunks);
    tokio::select! {
        _ = &mut sending => panic!("it is not over"),
        () = until("it is on its way", || pulled.load(Ordering::SeqCst) == SNAPSHOT_WINDOW) => {}
    }
    drop(sending);
    b.heard.taking.add_permits(100);
    until("the receiver ends", || !taken(&b).is_empty()).await;
    assert!(taken(&b)[0].is_err());
}

#[tokio::test]
async fn half_a_snapshot_is_an_error_on_both_sides_when_the_link_is_cut() {
    let (a, b, first, _second) = two_through_proxies().await;
    b.heard.taking.forget_permits(usize::MAX);
    b.heard.taking.add_permits(3);
    let (chunks, pulled) = chunks(60, false);
    let sending = sent(&a, &b, chunks);
    let (sent_so, ()) = tokio::join!(sending, async {
        until("it is under way", || pulled.load(Ordering::SeqCst) == SNAPSHOT_WINDOW + 3).await;
        first.set(Way::Closed);
    });
    assert_eq!(sent_so, Err(LinkError::Unanswered(b.name.clone())));
    b.heard.taking.add_permits(100);
    until("the receiver ends", || !taken(&b).is_empty()).await;
    assert!(taken(&b)[0].is_err());
}

#[tokio::test]
async fn nothing_is_sent_to_who_is_not_linked() {
    let (a, b) = two().await;
    b.link.stop().await;
    until("the link is gone", || !a.link.reaches(&b.name, u64::from(b'b'))).await;
    let (chunks, pulled) = chunks(3, false);
    assert_eq!(sent(&a, &b, chunks).await, Err(LinkError::Unreachable(b.name.clone())));
    assert_eq!(pulled.load(Ordering::SeqCst), 0);
}
