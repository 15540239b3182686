//! The placement under random histories: no replica is dropped too early, no step takes a majority away, and it always
//! ends, as well as the nodes that live allow.

use crate::placement_world::{Cluster, Event, Names, any_event, has_majority, spread};
use proptest::{collection::vec, prelude::*};
use rollcall_presence::{Member, MemberState, Move, NodeName, limits};
use std::collections::BTreeMap;

fn any_history() -> impl Strategy<Value = Vec<Event>> {
    vec(any_event(), 0..400)
}

/// A cluster after a history, with every promise checked after each event.
fn after(history: &[Event], partitions: u16, replication: u8) -> Cluster {
    let mut cluster = Cluster::new(partitions, replication);
    for event in history {
        cluster.act(event);
        check_replicas(&cluster);
        check_shape(&cluster);
        check_plan(&cluster);
    }
    cluster
}

/// Whatever a group counts on runs a replica.
fn check_replicas(cluster: &Cluster) {
    for (group, at) in cluster.groups.iter().zip(&cluster.placement.partitions) {
        for node in group.nodes() {
            assert!(at.is_hosted_by(node), "{node} dropped the replica that {group:?} counts on: {at:?}");
        }
    }
}

/// Nothing is committed that breaks the placement's own rules.
fn check_shape(cluster: &Cluster) {
    for at in &cluster.placement.partitions {
        assert!(matches!(at.voters.len(), 1 | 3), "{at:?}");
        assert!(at.leader.as_ref().is_none_or(|leader| at.voters.contains(leader)), "{at:?}");
        assert!(at.hosts().all(|host| cluster.placement.members.contains_key(host)), "{at:?}");
        assert!(at.departing.is_empty() || at.target.is_some(), "{at:?}");
    }
}

/// Every step of the plan is sound as things are.
fn check_plan(cluster: &Cluster) {
    let (placement, able) = (&cluster.placement, cluster.able());
    let is_down = |name: &NodeName| placement.members.get(name).is_none_or(Member::is_down);
    let present: Names = cluster.live.iter().filter(|name| !is_down(name)).cloned().collect();
    let mut moving = 0;
    let mut busy: BTreeMap<&NodeName, usize> = BTreeMap::new();
    let moves = cluster.plan();
    for step in &moves {
        match step {
            Move::Lead { node, .. } => assert!(able.contains(node), "{node} cannot lead"),
            Move::Change { partition, voters, learners } => {
                let at = placement.assignment(*partition).unwrap();
                assert!(at.target.is_none(), "one change at a time: {at:?}");
                assert!(has_majority(&at.voters, &present) && has_majority(voters, &present), "{at:?} to {voters:?}");
                let kept = voters.iter().filter(|voter| at.voters.contains(voter)).count();
                assert!(at.voters.len() == 1 || voters.len() == 1 || kept >= 2, "{at:?} to {voters:?}");
                let hands_to = moves.iter().find_map(|step| match step {
                    Move::Lead { partition: of, node } if of == partition => Some(node),
                    _ => None,
                });
                let can_stay = at.voters.iter().any(|voter| voters.contains(voter) && able.contains(voter));
                let leader = hands_to.or(at.leader.as_ref());
                assert!(
                    !can_stay || leader.is_some_and(|leader| voters.contains(leader)),
                    "it leads and leaves: {at:?}"
                );
                let is_new = |node: &&NodeName| !at.voters.contains(node) && !at.learners.contains(node);
                for new in voters.iter().chain(learners).filter(is_new) {
                    assert!(able.contains(new), "{new} is let in");
                    *busy.entry(new).or_default() += 1;
                }
                moving += 1;
            }
            Move::Cancel { .. } | Move::FinishDrain { .. } | Move::Forget { .. } => {}
        }
    }
    assert!(moving <= limits::CHANGES_MAX, "{moving} changes at once");
    assert!(busy.values().all(|changes| *changes <= limits::CHANGES_PER_NODE_MAX), "{busy:?}");
}

/// At rest, what can be had with the nodes that live is had.
fn check_rest(cluster: &Cluster) {
    let (placement, able) = (&cluster.placement, cluster.able());
    let keeps = |name: &NodeName| placement.members.get(name).is_some_and(Member::keeps);
    let mut all_move = true;
    for (group, at) in cluster.groups.iter().zip(&placement.partitions) {
        if !group.has_quorum(&cluster.live) || !has_majority(&at.voters, &cluster.live) {
            all_move = false;
            continue;
        }
        assert!(at.target.is_none(), "left half done: {at:?}");
        assert!(group.joint.is_none() && group.voters.iter().eq(&at.voters) && group.learners.iter().eq(&at.learners));
        let spare = able.iter().filter(|name| !at.voters.contains(name)).count();
        let kept = at.voters.iter().filter(|voter| keeps(voter)).count();
        match (placement.voters_wanted(), at.voters.len()) {
            (3, 3) => assert!(kept == 3 || spare == 0, "{at:?} still has a node that leaves; able: {able:?}"),
            (3, _) => assert!(kept + spare < 3, "{at:?} could have three voters; able: {able:?}"),
            (_, 1) => {
                assert!(able.is_empty() || able.contains(&at.voters[0]), "{at:?} rests on a node that leaves");
                let others = able.iter().filter(|name| *name != &at.voters[0]).count();
                let follows = if placement.replication == 3 { others.min(1) } else { 0 };
                // Where nobody can take the vote of a node that leaves, all stays as it is.
                let is_settled = keeps(&at.voters[0]) || !able.is_empty();
                let follow_well = at.learners.len() >= follows && at.learners.iter().all(keeps);
                assert!(!is_settled || follow_well, "{at:?}");
            }
            _ => assert!(able.is_empty(), "{at:?} should have one voter"),
        }
        if let Some(leader) = &group.leader {
            let could = at.voters.iter().any(|voter| able.contains(voter));
            assert!(!could || able.contains(leader), "{leader} leads though it hands over: {at:?}");
        }
    }
    if all_move {
        assert!(spread(&cluster.votes(&able)) <= 1, "votes {:?}", cluster.votes(&able));
        if able.len() == placement.members.len() {
            assert!(spread(&cluster.leads(&able)) <= 1, "leaderships {:?}", cluster.leads(&able));
        }
    }
    for (name, member) in &placement.members {
        let leads = cluster.groups.iter().any(|group| group.leader.as_ref() == Some(name));
        let named = placement.partitions.iter().any(|at| at.leader.as_ref() == Some(name));
        assert!(member.state != MemberState::Draining || leads || named, "{name} has drained");
        assert!(!member.is_removing() || placement.runs_on(name).next().is_some(), "{name} can be forgotten");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn placement_keeps_every_replica_that_counts_and_always_comes_to_rest(
        history in any_history(),
        partitions in 1..14u16,
        replication in prop_oneof![1 => Just(1u8), 4 => Just(3u8)],
    ) {
        let mut cluster = after(&history, partitions, replication);
        cluster.on_the_way.clear();
        cluster.declare_all();
        cluster.settle();
        check_replicas(&cluster);
        check_rest(&cluster);
        prop_assert!(cluster.plan().is_empty());
    }

    #[test]
    fn a_group_of_three_never_loses_its_majority_while_one_node_at_a_time_is_down(
        history in any_history(),
        nodes in 3..6usize,
    ) {
        let mut cluster = Cluster::new(9, 3);
        (1..nodes).for_each(|at| cluster.start(at));
        cluster.declare_all();
        cluster.settle();
        for event in &history {
            let members = &cluster.placement.members;
            let staying = members.values().filter(|member| member.keeps()).count();
            match event {
                Event::Die(_) if members.keys().any(|name| !cluster.live.contains(name)) => continue,
                // Two nodes keep one vote a partition: that is another promise.
                Event::Remove(_) if staying <= 3 => continue,
                _ => cluster.act(event),
            }
            for (group, at) in cluster.groups.iter().zip(&cluster.placement.partitions) {
                prop_assert!(group.has_quorum(&cluster.live), "after {:?}: {:?} of {:?}", event, group, at);
            }
        }
    }
}
