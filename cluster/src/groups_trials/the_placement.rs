//! The placement group on three nodes.

use super::*;
use rollcall_presence::{Applied, PlacementRefusal};

fn newcomer(n: u64) -> Newcomer {
    Newcomer {
        name: name(n),
        raft_id: n,
        generation: 1,
        http: format!("n{n}:80"),
        peer: format!("n{n}:81"),
        version: "1".into(),
        rules: RULES_VERSION,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_placement_is_committed_on_three_nodes_and_survives_restarts() {
    let mut three = Three::spread(PLACEMENT).await;
    let first = three.nodes[&1].placement();
    // Names are as long as they may be, so that the placement takes more than one row.
    let found =
        PlacementCommand::Found { cluster_id: "c".into(), partitions: 1_024, replication: 3, first: newcomer(1) };
    let admit = PlacementCommand::Admit(newcomer(2));
    assert_eq!(first.propose(admit.clone()).await.unwrap(), Err(PlacementRefusal::NotFounded));
    assert_eq!(first.propose(found).await.unwrap(), Ok(Applied::Changed));
    assert_eq!(first.propose(admit.clone()).await.unwrap(), Ok(Applied::Changed));
    assert_eq!(first.propose(admit).await.unwrap(), Ok(Applied::Unchanged));
    let wanted = three.nodes[&1].hosting.placement().borrow().clone();
    assert_eq!((wanted.epoch, wanted.members.len(), wanted.partitions.len()), (2, 2, 1_024));
    for n in [2, 3] {
        let mut followed = three.nodes[&n].hosting.placement();
        let same = followed.wait_for(|placement| *placement == wanted);
        tokio::time::timeout(DEADLINE, same).await.expect("hears of it").unwrap();
        let refused = three.nodes[&n].placement().propose(PlacementCommand::Drain { name: name(1) }).await;
        assert_eq!(refused, Err(ProposeError::NotHome { leader: Some(name(1)) }));
    }
    drop(first);
    for n in 1..=3 {
        three.end(n).await;
    }
    for n in 1..=3 {
        three.begin(n).await;
        assert_eq!(*three.nodes[&n].hosting.placement().borrow(), wanted, "as applied, before anybody leads");
    }
    let leads = |n: &u64| matches!(&*three.nodes[n].hosting.placement_role_watch().borrow(), Role::Home { .. });
    until("a placement leader", || (1..=3).any(|n| leads(&n))).await;
    let leader = (1..=3).find(leads).unwrap();
    let drained = three.nodes[&leader].placement().propose(PlacementCommand::Drain { name: name(2) }).await.unwrap();
    assert_eq!(drained, Ok(Applied::Changed));
    until("heard of everywhere", || (1..=3).all(|n| three.nodes[&n].hosting.placement().borrow().epoch == 3)).await;
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_placement_comes_with_a_snapshot() {
    let three = Three::start().await;
    three.nodes[&1].hosting.found(PLACEMENT).await.unwrap();
    let first = three.nodes[&1].placement();
    until("leads", || metrics(first.group()).current_leader == Some(1)).await;
    let found = PlacementCommand::Found { cluster_id: "c".into(), partitions: 8, replication: 3, first: newcomer(1) };
    first.propose(found).await.unwrap().unwrap();
    for generation in 2..100 {
        first.propose(PlacementCommand::Admit(Newcomer { generation, ..newcomer(1) })).await.unwrap().unwrap();
    }
    first.group().trigger().snapshot().await.unwrap();
    until("the log was cut", || metrics(first.group()).purged.is_some()).await;
    three.nodes[&2].hosting.open(PLACEMENT).await.unwrap();
    three.nodes[&1].learner(PLACEMENT, 2).await;
    let wanted = three.nodes[&1].hosting.placement().borrow().clone();
    let mut followed = three.nodes[&2].hosting.placement();
    let same = followed.wait_for(|placement| *placement == wanted);
    tokio::time::timeout(DEADLINE, same).await.expect("hears of it").unwrap();
    assert_eq!(wanted.members[&name(1)].generation, 99);

    // A replica that is built anew has nothing at first; whoever follows the placement does not hear of that.
    three.nodes[&1].remove(PLACEMENT, 2).await;
    three.nodes[&2].hosting.drop_replica(PLACEMENT).await.unwrap();
    three.nodes[&2].hosting.open(PLACEMENT).await.unwrap();
    assert_eq!(*followed.borrow(), wanted);
    three.nodes[&1].learner(PLACEMENT, 2).await;
    first.propose(PlacementCommand::Admit(Newcomer { generation: 100, ..newcomer(1) })).await.unwrap().unwrap();
    let rebuilt = followed.wait_for(|placement| placement.epoch > wanted.epoch);
    tokio::time::timeout(DEADLINE, rebuilt).await.expect("hears of what comes next").unwrap();
    drop(first);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_kind_of_proposal_changes_nothing_and_fells_nobody() {
    let three = Three::start().await;
    three.nodes[&1].hosting.found(P).await.unwrap();
    home(&three.nodes[&1]).await;
    let command = Arc::new(PlacementCommand::Drain { name: name(1) });
    let proposal = crate::raft::types::Proposal::Placement(command);
    let written = three.nodes[&1].group().client_write(proposal).await.unwrap();
    assert!(written.data.placement.is_none());
    three.nodes[&1].put(1, "goes on").await.unwrap();
    three.stop().await;
}
