//! Who is refused, and what it is told.

use super::bench::{Node, With, acquaint, linked, name, until};
use crate::peers::{JoinFailure, LinkError, PeerAt};
use std::sync::atomic::Ordering;

/// Waits until `node` was refused often enough that it would be linked otherwise, and checks that it is not.
async fn stays_refused(node: &Node, other: &Node) {
    for _ in 0..5 {
        let asked = node.control(other, b"hello").await;
        assert_eq!(asked, Err(LinkError::Unreachable(other.name.clone())));
        // That nothing comes has no event to wait for: it is looked at over several backoffs.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(node.heard.events.lock().is_empty() && other.heard.events.lock().is_empty());
}

#[tokio::test]
async fn a_node_with_another_key_gets_no_link_and_is_told_so_when_it_joins() {
    let a = Node::start("a", With::default()).await;
    let b = Node::start("b", With { key: Some(b"another key"), ..With::default() }).await;
    acquaint(&[&a, &b]);
    stays_refused(&a, &b).await;
    stays_refused(&b, &a).await;
    let address = a.address.to_string();
    let joined = b.link.join(&address, b"hello".to_vec()).await;
    assert_eq!(joined, Err(JoinFailure::WrongKey { address }));
}

#[tokio::test]
async fn a_node_of_another_cluster_gets_no_link() {
    let (a, b) = (Node::start("a", With::default()).await, Node::start("b", With::default()).await);
    a.link.know("c1", vec![a.at(), b.at()]);
    b.link.know("c2", vec![a.at(), b.at()]);
    stays_refused(&a, &b).await;
    b.link.know("c1", vec![a.at(), b.at()]);
    linked(&a, &b).await;
}

#[tokio::test]
async fn a_node_that_is_not_admitted_is_linked_as_soon_as_it_is() {
    let (a, b) = (Node::start("a", With::default()).await, Node::start("b", With::default()).await);
    a.heard.admits.store(false, Ordering::SeqCst);
    acquaint(&[&a, &b]);
    until("a reaches b, which admits it", || a.link.reaches(&b.name, u64::from(b'b'))).await;
    assert_eq!(b.control(&a, b"hello").await, Err(LinkError::Unreachable(a.name.clone())));
    assert!(a.heard.events.lock().is_empty() && b.heard.events.lock().is_empty(), "one lane alone is no link");
    a.heard.admits.store(true, Ordering::SeqCst);
    linked(&a, &b).await;
}

#[tokio::test]
async fn a_node_of_another_name_at_an_address_is_not_taken_for_the_one_meant() {
    let (a, b) = (Node::start("a", With::default()).await, Node::start("b", With::default()).await);
    let meant = PeerAt { name: name("c"), address: b.address.to_string() };
    b.link.know("c1", vec![a.at(), b.at()]);
    a.link.know("c1", vec![a.at(), meant]);
    until("b reaches a", || b.link.reaches(&a.name, u64::from(b'a'))).await;
    let asked = a.link.control(&name("c"), vec![1], std::time::Duration::from_secs(5)).await;
    assert_eq!(asked, Err(LinkError::Unreachable(name("c"))));
}

#[tokio::test]
async fn members_that_are_known_no_longer_lose_their_links() {
    let (a, b) = super::bench::two().await;
    a.link.know("c1", vec![a.at()]);
    until("both hear of it", || a.heard.count("-b") == 1 && b.heard.count("-a") == 1).await;
    assert_eq!(a.control(&b, b"hello").await, Err(LinkError::Unreachable(b.name.clone())));
    acquaint(&[&a, &b]);
    linked(&a, &b).await;
}

#[tokio::test]
async fn joining_works_before_there_is_a_cluster_and_says_who_is_not_there() {
    let (a, b) = (Node::start("a", With::default()).await, Node::start("b", With::default()).await);
    let address = a.address.to_string();
    assert_eq!(b.link.join(&address, b"me".to_vec()).await.unwrap(), b"join: me");
    let nonsense = b.link.join(&address, b"nonsense".to_vec()).await;
    assert!(matches!(nonsense, Err(JoinFailure::Unreachable { .. })), "{nonsense:?}");
    a.link.stop().await;
    let gone = b.link.join(&address, b"me".to_vec()).await;
    assert!(
        matches!(&gone, Err(JoinFailure::Unreachable { address: at, why }) if *at == address && why.contains("refused")),
        "{gone:?}"
    );
    let none = b.link.join("no address", b"me".to_vec()).await;
    assert!(matches!(none, Err(JoinFailure::Unreachable { .. })), "{none:?}");
}
