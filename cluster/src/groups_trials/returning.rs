//! A replica that comes back to a group on a node that had dropped it.

use super::*;
use crate::raft::{
    types::{Membership, RaftEntry, Vote},
    wire::StoredLogId,
};
use openraft::{EntryPayload, entry::RaftEntry as _, raft::AppendEntriesRequest};
use std::collections::BTreeSet;

/// Elections in which nothing may happen.
const ELECTIONS: u32 = 5;
/// The longest wait before an election here.
const ELECTION: Duration = Duration::from_millis(400);

/// The first entry of a group that `n` founded: by it `n` votes alone.
fn founding(n: u64) -> RaftEntry {
    let members = BTreeMap::from([(n, Member { name: name(n) })]);
    let membership = Membership::new(vec![BTreeSet::from([n])], members).unwrap();
    RaftEntry::new(StoredLogId { term: 0, index: 0 }.into(), EntryPayload::Membership(membership))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_once_voted_alone_does_not_lead_by_the_old_beginning_of_the_log() {
    let three = Three::start().await;
    let (first, second) = (&three.nodes[&1], &three.nodes[&2]);
    // Node 2 founds the group and hands it to node 1, which goes on alone.
    second.hosting.found(P).await.unwrap();
    home(second).await;
    first.hosting.open(P).await.unwrap();
    second.learner(P, 1).await;
    until("a learner catches up", || is_caught_up(&second.group(), 1)).await;
    second.voters(P, &[1, 2]).await;
    until("node 1 takes part", || first.hosting.replica(P).unwrap().takes_part()).await;
    transfer(&second.group(), 1).await.unwrap();
    home(first).await;
    first.voters(P, &[1]).await;
    until("nobody sends to it", || metrics(&first.group()).replication.is_some_and(|known| !known.contains_key(&2)))
        .await;
    second.hosting.drop_replica(P).await.unwrap();
    first.put(1, "since").await.unwrap();

    // It comes back, and gets no further than the beginning.
    second.hosting.open(P).await.unwrap();
    let now = metrics(&first.group());
    let vote = Vote::new_committed(now.current_term, 1);
    let append =
        AppendEntriesRequest { vote, prev_log_id: None, entries: vec![founding(2)], leader_commit: now.last_applied };
    let peer = Peer { name: name(1), raft_id: 1, generation: 1 };
    assert!(second.hosting.raft(&peer, P, Ask::Append(append)).await.is_some(), "it takes the beginning");
    let group = second.group();
    let leads = group.wait(Some(ELECTION * ELECTIONS)).metrics(|m| m.current_leader == Some(2), "it leads").await;
    assert!(leads.is_err(), "it leads without what was committed");
    assert!(!second.hosting.replica(P).unwrap().takes_part());

    // With the rest it takes part, and may lead.
    first.learner(P, 2).await;
    until("rebuilt", || is_caught_up(&first.group(), 2)).await;
    first.voters(P, &[1, 2]).await;
    until("node 2 takes part", || second.hosting.replica(P).unwrap().takes_part()).await;
    transfer(&first.group(), 2).await.unwrap();
    home(second).await;
    three.all_read(&[1, 2], 1, "since").await;
    three.stop().await;
}
