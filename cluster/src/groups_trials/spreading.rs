//! A group that spreads to three nodes, loses its home, and takes it back.

use super::*;
use crate::raft::{link::GroupLinks, types::Vote};
use openraft::{
    RaftNetworkFactory,
    errors::RPCError,
    network::{RPCOption, RaftNetworkV2},
    raft::VoteRequest,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_read_on_all_three_and_survives_the_loss_of_the_home() {
    let three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    three.nodes[&1].put(1, "before").await.unwrap();
    three.all_read(&[1, 2, 3], 1, "before").await;

    three.board.isolate(&name(1));
    let next = three.home_among(&[2, 3]).await;
    assert_eq!(three.nodes[&next].text(1).as_deref(), Some("before"));
    three.nodes[&next].put(1, "after").await.unwrap();
    // The one that was cut off still takes itself for the home, and can confirm nothing.
    until("the lease is over", || {
        let confirmed = futures::FutureExt::now_or_never(three.nodes[&1].partition().confirm());
        !matches!(confirmed, Some(Ok(_)))
    })
    .await;

    three.board.heal_all();
    three.all_read(&[1, 2, 3], 1, "after").await;
    let leader = name(three.home_among(&[1, 2, 3]).await);
    let mut role = three.nodes[&1].partition().role();
    let told = role.wait_for(|role| *role == Role::Follower { leader: Some(leader.clone()) } || leader == name(1));
    tokio::time::timeout(DEADLINE, told).await.expect("hears of the new home").unwrap();
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_the_voter_that_was_asked_and_never_to_oneself() {
    let three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    let first = three.nodes[&1].group();
    assert_eq!(transfer(&first, 1).await, Err(TransferError::NotAnotherVoter));
    assert_eq!(transfer(&first, 7).await, Err(TransferError::NotAnotherVoter));
    until("the other has caught up", || is_caught_up(&first, 2)).await;
    transfer(&first, 2).await.unwrap();
    home(&three.nodes[&2]).await;
    three.nodes[&2].put(1, "taken over").await.unwrap();
    assert_eq!(transfer(&first, 3).await, Err(TransferError::NotLeader));
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_all_three_everything_is_there() {
    let mut three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    for user in 0..20 {
        three.nodes[&1].put(user, "kept").await.unwrap();
    }
    for n in 1..=3 {
        three.end(n).await;
    }
    for n in 1..=3 {
        three.begin(n).await;
        assert_eq!(three.nodes[&n].hosting.held(), [P], "just what the disk holds");
    }
    let leader = three.home_among(&[1, 2, 3]).await;
    three.nodes[&leader].put(20, "kept").await.unwrap();
    for user in 0..=20 {
        three.all_read(&[1, 2, 3], user, "kept").await;
    }
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_not_kept_here_says_so_and_names_who_is_said_to_lead() {
    let three = Three::start().await;
    let partition = three.nodes[&2].partition();
    assert!(!partition.held() && partition.status().is_none());
    assert!(partition.read(|view| view.ledger()).is_err());
    partition.heard_hint(Some(name(1)));
    assert_eq!(*partition.role().borrow(), Role::Follower { leader: Some(name(1)) });
    assert_eq!(three.nodes[&2].put(1, "no").await, Err(ProposeError::NotHome { leader: Some(name(1)) }));
    three.stop().await;
}

/// The other two go on hearing the home, so that nobody takes it for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_direction_of_one_link_cut_leaves_the_home_where_it_is() {
    let three = Three::spread(P).await;
    home(&three.nodes[&1]).await;
    let term = metrics(&three.nodes[&1].group()).current_term;
    for (from, to) in [(1, 2), (2, 1)] {
        three.board.cut(&name(from), &name(to));
        for user in 0..20 {
            three.nodes[&1].put(user, &format!("{from} to {to} is cut")).await.unwrap();
        }
        three.all_read(&[1, 3], 19, &format!("{from} to {to} is cut")).await;
        three.board.heal_all();
        three.all_read(&[2], 19, &format!("{from} to {to} is cut")).await;
    }
    assert_eq!(metrics(&three.nodes[&1].group()).current_term, term);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_came_back_as_another_under_its_name_is_not_taken_for_the_member() {
    let three = Three::spread(P).await;
    let mut links = GroupLinks::new(P, Arc::clone(&three.nodes[&1].link));
    let ask = || VoteRequest::new(Vote::new(1, 1), None);
    let option = || RPCOption::new(DEADLINE);
    let mut member = links.new_client(2, &Member { name: name(2) }).await;
    assert!(member.pre_vote(ask(), option()).await.is_ok());
    let mut another = links.new_client(99, &Member { name: name(2) }).await;
    let unreachable = another.pre_vote(ask(), option()).await;
    assert!(matches!(unreachable, Err(RPCError::Unreachable(_))), "{unreachable:?}");
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founding_that_broke_off_is_finished_and_a_finished_one_is_not_repeated() {
    let mut three = Three::start().await;
    // As a store looks that was written before there was a placement group, or in the middle of the founding.
    three.nodes[&1].hosting.found(P).await.unwrap();
    home(&three.nodes[&1]).await;
    three.nodes[&1].put(1, "from before").await.unwrap();
    three.end(1).await;
    three.begin(1).await;
    three.nodes[&1].hosting.found_all().await.unwrap();
    assert_eq!(three.nodes[&1].hosting.held(), [P, PartitionId(1)]);
    home(&three.nodes[&1]).await;
    assert_eq!(three.nodes[&1].text(1).as_deref(), Some("from before"));
    let placement = three.nodes[&1].placement();
    until("the placement is led", || metrics(placement.group()).current_leader == Some(1)).await;
    drop(placement);
    // A partition that went elsewhere since is nobody's to found here.
    three.nodes[&1].hosting.drop_replica(P).await.unwrap();
    three.end(1).await;
    three.begin(1).await;
    three.nodes[&1].hosting.found_all().await.unwrap();
    assert_eq!(three.nodes[&1].hosting.held(), [PartitionId(1)]);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_in_another_name_is_not_heard() {
    let three = Three::spread(P).await;
    let vote = || VoteRequest::new(Vote::new(99, 2), None);
    let as_itself = Peer { name: name(2), raft_id: 2, generation: 1 };
    let as_another = Peer { name: name(3), raft_id: 3, generation: 1 };
    let hosting = &three.nodes[&1].hosting;
    assert!(hosting.raft(&as_another, P, Ask::PreVote(vote())).await.is_none());
    assert!(hosting.raft(&as_itself, P, Ask::PreVote(vote())).await.is_some());
    assert!(hosting.raft(&as_itself, PartitionId(1), Ask::PreVote(vote())).await.is_none(), "it does not run here");
    three.stop().await;
}
