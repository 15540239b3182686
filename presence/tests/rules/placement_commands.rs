//! What each command of the placement does, and what it is refused for.

use crate::placement_world::{Cluster, newcomer, node, spread};
use proptest::{collection::btree_set, prelude::*};
use rollcall_presence::{
    Applied, Member, MemberState, Move, Newcomer, NodeName, PartitionId, Placement, PlacementCommand as Command,
    PlacementRefusal as Refusal, Standing, apply_placement, limits, placement_voters,
};
use std::collections::BTreeMap;

const ALL: PartitionId = PartitionId(0);

/// A cluster of so many nodes, at rest.
fn of(nodes: usize) -> Cluster {
    let mut cluster = Cluster::new(8, 3);
    (1..nodes).for_each(|at| cluster.start(at));
    cluster.declare_all();
    cluster.settle();
    cluster
}

fn state(cluster: &Cluster, at: usize) -> MemberState {
    cluster.placement.members[&node(at)].state
}

fn down(at: usize) -> Command {
    Command::DeclareDown { name: node(at), generation: 1 }
}

fn names(nodes: &[usize]) -> Vec<NodeName> {
    nodes.iter().copied().map(node).collect()
}

fn begin(voters: &[usize], learners: &[usize]) -> Command {
    Command::Begin { partition: ALL, voters: names(voters), learners: names(learners) }
}

#[test]
fn nothing_can_be_done_before_a_cluster_is_founded_and_it_is_founded_once() {
    let mut placement = Placement::default();
    let mut apply = |command| rollcall_presence::apply_placement(&mut placement, &command);
    assert_eq!(apply(Command::Admit(newcomer(1, 1))), Err(Refusal::NotFounded));
    let found = |id: &str, partitions, replication| Command::Found {
        cluster_id: id.into(),
        partitions,
        replication,
        first: newcomer(0, 1),
    };
    let too_many = limits::PARTITIONS_MAX + 1;
    for bad in
        [found("", 8, 3), found(&"x".repeat(65), 8, 3), found("c", 0, 3), found("c", too_many, 3), found("c", 8, 2)]
    {
        assert_eq!(apply(bad.clone()), Err(Refusal::BadCluster), "{bad:?}");
    }
    assert_eq!(apply(found("c", 8, 3)), Ok(Applied::Changed));
    assert_eq!(apply(found("c", 8, 3)), Ok(Applied::Unchanged));
    assert_eq!(apply(found("d", 8, 3)), Err(Refusal::AlreadyFounded("c".into())));
}

#[test]
fn a_name_belongs_to_one_identity_until_it_is_forgotten() {
    let mut cluster = of(4);
    let wiped = Command::Admit(Newcomer { raft_id: 77, ..newcomer(3, 1) });
    assert_eq!(cluster.commit(&wiped), Err(Refusal::NameInUse { name: node(3) }));
    let renamed = Command::Admit(Newcomer { name: node(9), ..newcomer(3, 2) });
    assert_eq!(cluster.commit(&renamed), Err(Refusal::IdentityInUse { name: node(3) }));
    cluster.commit(&Command::Remove { name: node(3) }).unwrap();
    assert_eq!(cluster.commit(&Command::Forget { name: node(3) }), Err(Refusal::StillNeeded(node(3))));
    cluster.settle();
    assert_eq!(cluster.commit(&wiped), Ok(Applied::Changed));
}

#[test]
fn a_newcomer_with_an_address_or_version_that_is_none_is_refused() {
    let mut cluster = of(1);
    for bad in ["", "host", ":7700", "host:", "host:0", "host:65536", "ho st:1", "host:port", &"h".repeat(400)] {
        let http = Command::Admit(Newcomer { http: bad.into(), ..newcomer(1, 1) });
        let peer = Command::Admit(Newcomer { peer: bad.into(), ..newcomer(1, 1) });
        for command in [http, peer] {
            let Err(Refusal::BadAddress(told)) = cluster.commit(&command) else { panic!("{bad} was taken") };
            assert!(told.len() <= limits::ADDRESS_MAX_BYTES && bad.starts_with(&told));
        }
    }
    for bad in ["", &"1".repeat(65)] {
        let command = Command::Admit(Newcomer { version: bad.into(), ..newcomer(1, 1) });
        assert_eq!(cluster.commit(&command), Err(Refusal::BadVersion));
    }
    let six = Command::Admit(Newcomer { http: "[::1]:7700".into(), ..newcomer(1, 1) });
    assert_eq!(cluster.commit(&six), Ok(Applied::Changed));
}

#[test]
fn programs_one_version_apart_run_together_and_older_ones_stay_out_once_all_are_new() {
    let mut cluster = of(2);
    let at = |index, generation, rules| Command::Admit(Newcomer { rules, ..newcomer(index, generation) });
    assert_eq!(cluster.commit(&at(0, 2, 3)), Err(Refusal::IncompatibleRules { ours: 1, offered: 3 }));
    cluster.commit(&at(0, 2, 2)).unwrap();
    assert_eq!(cluster.placement.rules, 1, "one still knows only the older rules");
    cluster.commit(&at(0, 3, 1)).unwrap();
    cluster.commit(&at(0, 4, 2)).unwrap();
    cluster.commit(&at(1, 2, 2)).unwrap();
    assert_eq!(cluster.placement.rules, 2);
    assert_eq!(cluster.commit(&at(2, 1, 1)), Err(Refusal::IncompatibleRules { ours: 2, offered: 1 }));
    assert_eq!(cluster.commit(&at(1, 3, 1)), Err(Refusal::IncompatibleRules { ours: 2, offered: 1 }));
}

#[test]
fn a_cluster_has_a_greatest_size() {
    let mut cluster = of(1);
    for at in 1..limits::MEMBERS_MAX {
        cluster.commit(&Command::Admit(newcomer(at, 1))).unwrap();
    }
    let more = Command::Admit(newcomer(limits::MEMBERS_MAX, 1));
    assert_eq!(cluster.commit(&more), Err(Refusal::TooManyMembers));
}

#[test]
fn a_restart_ends_a_drain_but_no_removal_and_an_old_start_says_nothing() {
    let mut cluster = of(4);
    cluster.commit(&Command::Drain { name: node(1) }).unwrap();
    cluster.settle();
    assert_eq!(state(&cluster, 1), MemberState::Drained);
    cluster.commit(&down(1)).unwrap();
    assert_eq!(state(&cluster, 1), MemberState::Down(Standing::Draining));
    cluster.commit(&Command::Admit(newcomer(1, 2))).unwrap();
    assert_eq!(state(&cluster, 1), MemberState::Up);
    assert_eq!(cluster.commit(&down(1)), Err(Refusal::OtherGeneration { known: 2, named: 1 }));
    let old = Command::Admit(newcomer(1, 1));
    assert_eq!(cluster.commit(&old), Err(Refusal::OldGeneration { known: 2, offered: 1 }));
    let elsewhere = Command::Admit(Newcomer { peer: "elsewhere:1".into(), ..newcomer(1, 2) });
    assert_eq!(cluster.commit(&elsewhere), Err(Refusal::OldGeneration { known: 2, offered: 2 }));
    cluster.commit(&Command::Remove { name: node(1) }).unwrap();
    cluster.commit(&Command::Admit(newcomer(1, 3))).unwrap();
    assert_eq!(state(&cluster, 1), MemberState::Removing);
}

#[test]
fn a_member_goes_on_with_what_it_did_when_it_is_heard_again() {
    let mut cluster = of(4);
    let up = |at| Command::DeclareUp { name: node(at), generation: 1 };
    cluster.commit(&Command::Admit(newcomer(5, 1))).unwrap();
    cluster.commit(&Command::Drain { name: node(1) }).unwrap();
    cluster.commit(&Command::Remove { name: node(2) }).unwrap();
    let goes_on = [(3, MemberState::Up), (1, MemberState::Draining), (2, MemberState::Removing), (5, MemberState::Up)];
    for (at, then) in goes_on {
        cluster.commit(&down(at)).unwrap();
        assert!(cluster.placement.members[&node(at)].is_down());
        cluster.commit(&up(at)).unwrap();
        assert_eq!(state(&cluster, at), then);
    }
}

#[test]
fn a_node_that_is_gone_is_replaced_only_if_enough_remain() {
    let gone = |at| Command::ReplaceGone { name: node(at), generation: 1 };
    let mut three = of(3);
    assert_eq!(three.commit(&gone(2)), Err(Refusal::OtherState(node(2))));
    three.live.remove(&node(2));
    three.declare_all();
    assert_eq!(three.commit(&gone(2)), Err(Refusal::TooFewRemain(node(2))));
    assert_eq!(three.settle(), 1, "leaderships move, then there is nothing to do");
    assert!(three.placement.partitions.iter().all(|at| at.voters.len() == 3));

    let mut four = of(4);
    four.live.remove(&node(2));
    four.declare_all();
    four.commit(&gone(2)).unwrap();
    four.settle();
    assert_eq!(four.placement.runs_on(&node(2)).count(), 0);
    assert!(four.placement.partitions.iter().all(|at| at.voters.len() == 3));
    assert_eq!(state(&four, 2), MemberState::Down(Standing::Gone), "it is welcome to return");
    four.start(2);
    four.settle();
    assert!(spread(&four.votes(&four.able())) <= 1);
}

#[test]
fn the_last_replica_of_anything_is_not_removed() {
    let remove = |at| Command::Remove { name: node(at) };
    assert_eq!(of(1).commit(&remove(0)), Err(Refusal::LastReplica(node(0))));
    assert_eq!(of(1).commit(&remove(1)), Err(Refusal::UnknownMember(node(1))));

    let mut two = of(2);
    two.commit(&down(1)).unwrap();
    assert_eq!(two.commit(&remove(0)), Err(Refusal::LastReplica(node(0))), "the other is down");
    assert_eq!(two.commit(&remove(1)), Err(Refusal::LastReplica(node(1))), "it has votes that it cannot hand over");

    let mut three = of(3);
    three.commit(&down(1)).unwrap();
    three.commit(&down(2)).unwrap();
    assert_eq!(three.commit(&remove(0)), Err(Refusal::LastReplica(node(0))));
}

#[test]
fn two_nodes_share_the_votes_and_follow_each_other() {
    let mut cluster = of(2);
    for at in &cluster.placement.partitions {
        assert_eq!((at.voters.len(), at.learners.len()), (1, 1));
    }
    assert_eq!(spread(&cluster.leads(&cluster.able())), 0);
    assert_eq!(cluster.built, 8, "votes change hands without a copy");
    cluster.commit(&Command::Drain { name: node(0) }).unwrap();
    cluster.settle();
    assert!(cluster.placement.partitions.iter().all(|at| at.voters == names(&[1]) && at.learners == names(&[0])));
    assert_eq!(state(&cluster, 0), MemberState::Drained);
}

#[test]
fn three_nodes_fall_back_to_two_and_to_one_when_nodes_are_removed() {
    let mut cluster = of(3);
    for (leaving, learners) in [(0, 1), (2, 0)] {
        cluster.commit(&Command::Remove { name: node(leaving) }).unwrap();
        cluster.settle();
        assert!(!cluster.placement.members.contains_key(&node(leaving)));
        for at in &cluster.placement.partitions {
            assert_eq!((at.voters.len(), at.learners.len()), (1, learners), "{at:?}");
        }
        assert_eq!(spread(&cluster.leads(&cluster.able())), 0);
    }
}

#[test]
fn a_drain_moves_leaderships_at_once_and_is_finished_when_the_groups_have_followed() {
    let mut cluster = of(4);
    cluster.commit(&Command::Drain { name: node(1) }).unwrap();
    let leading = cluster.leads(&[node(1)].into())[&node(1)];
    let moves = cluster.plan();
    assert!(moves.iter().all(|step| matches!(step, Move::Lead { node: to, .. } if *to != node(1))), "{moves:?}");
    assert!(moves.len() >= leading);
    for step in moves {
        cluster.commit(&step.into()).unwrap();
    }
    assert_eq!(cluster.plan(), [], "its groups are still led by it");
    cluster.elect();
    assert_eq!(cluster.plan(), [Move::FinishDrain { name: node(1) }]);
    let back = Command::PreferLeader { partition: ALL, node: node(1) };
    assert_eq!(cluster.commit(&back), Err(Refusal::CannotLead(node(1))));
}

#[test]
fn a_change_that_breaks_a_rule_is_refused() {
    let mut cluster = of(6);
    let voters = &cluster.placement.partitions[0].voters;
    let (stays, others): (Vec<usize>, Vec<usize>) = (0..6).partition(|at| voters.contains(&node(*at)));
    let ([a, b, c], [d, e, f]) = (stays[..].try_into().unwrap(), others[..].try_into().unwrap());
    let bad = [
        begin(&[], &[]),
        begin(&[a, b], &[]),
        begin(&[a, b, b], &[]),
        begin(&[a, b, c], &[c]),
        begin(&[a, b, c], &[d, e]),
        begin(&[a, d, e], &[]),
    ];
    for bad in bad {
        assert_eq!(cluster.commit(&bad), Err(Refusal::BadTarget(ALL)), "{bad:?}");
    }
    assert_eq!(cluster.commit(&begin(&[a, b, 9], &[])), Err(Refusal::UnknownMember(node(9))));
    let nowhere = Command::Begin { partition: PartitionId(8), voters: names(&[a, b, c]), learners: vec![] };
    assert_eq!(cluster.commit(&nowhere), Err(Refusal::UnknownPartition(PartitionId(8))));
    cluster.commit(&Command::Drain { name: node(d) }).unwrap();
    assert_eq!(cluster.commit(&begin(&[a, b, d], &[])), Err(Refusal::OtherState(node(d))));
    cluster.commit(&begin(&[a, b, e], &[])).unwrap();
    assert_eq!(cluster.commit(&begin(&[a, b, f], &[])), Err(Refusal::ChangeUnderWay(ALL)));
    cluster.commit(&down(a)).unwrap();
    cluster.commit(&down(b)).unwrap();
    let change = cluster.placement.partitions[0].target.as_ref().unwrap().change;
    cluster.commit(&Command::Cancel { partition: ALL, change }).unwrap();
    let back = cluster.placement.partitions[0].target.clone().unwrap();
    let reached = |change| Command::Reached { partition: ALL, change, voters: names(&[a, b, c]), learners: vec![] };
    cluster.commit(&reached(back.change)).unwrap();
    assert_eq!(cluster.commit(&begin(&[a, b, e], &[])), Err(Refusal::NoMajority(ALL)));
}

#[test]
fn a_report_from_before_a_cancellation_drops_no_replica() {
    let mut cluster = of(4);
    let at = &cluster.placement.partitions[0];
    let old = at.voters.clone();
    let new = (0..4).map(node).find(|name| !old.contains(name)).unwrap();
    let wanted = vec![old[0].clone(), old[1].clone(), new.clone()];
    cluster.commit(&Command::Begin { partition: ALL, voters: wanted, learners: vec![] }).unwrap();
    let incoming: Vec<_> = cluster.placement.incoming().collect();
    assert_eq!(incoming.len(), 1);
    assert_eq!((&incoming[0].from, &incoming[0].to), (&Some(old[2].clone()), &new));
    let change = cluster.placement.partitions[0].target.as_ref().unwrap().change;
    cluster.commit(&Command::Cancel { partition: ALL, change }).unwrap();
    assert!(cluster.placement.partitions[0].is_hosted_by(&new), "the group may have let it in");
    let report = |change| Command::Reached { partition: ALL, change, voters: old.clone(), learners: vec![] };
    assert_eq!(cluster.commit(&report(change)), Err(Refusal::NotAsked(ALL)));
    let again = cluster.placement.partitions[0].target.as_ref().unwrap().change;
    cluster.commit(&report(again)).unwrap();
    assert!(!cluster.placement.partitions[0].is_hosted_by(&new));
}

#[test]
fn changes_that_can_neither_go_on_nor_back_hold_no_other_up() {
    let mut cluster = Cluster::new(9, 3);
    for pair in [[1, 2], [3, 4]] {
        pair.into_iter().for_each(|at| cluster.start(at));
        cluster.declare_all();
        for step in cluster.plan() {
            cluster.commit(&step.into()).unwrap();
        }
        // The groups get there, but before anybody hears of it both newcomers die.
        (0..9).for_each(|at| while cluster.step(at) {});
        cluster.live.retain(|name| pair.iter().all(|at| *name != node(*at)));
        cluster.declare_all();
        for step in cluster.plan() {
            cluster.commit(&step.into()).unwrap();
        }
    }
    [5, 6].into_iter().for_each(|at| cluster.start(at));
    cluster.declare_all();
    cluster.settle();
    let stuck = cluster.placement.partitions.iter().filter(|at| at.target.is_some()).count();
    assert_eq!(stuck, limits::CHANGES_MAX);
    assert_eq!(cluster.placement.partitions[8].voters.len(), 3);
}

#[test]
fn changes_whose_voters_are_lost_hold_no_other_up() {
    let mut cluster = Cluster::new(24, 1);
    cluster.start(1);
    cluster.declare_all();
    cluster.settle();
    (2..4).for_each(|at| cluster.start(at));
    cluster.declare_all();
    let of_the_first = cluster.placement.assignments().filter(|(_, at)| at.voters == names(&[0]));
    let of_the_first: Vec<PartitionId> = of_the_first.map(|(partition, _)| partition).collect();
    for (to, partition) in of_the_first.into_iter().take(limits::CHANGES_MAX).enumerate() {
        let voters = names(&[2 + to % 2]);
        cluster.commit(&Command::Begin { partition, voters, learners: vec![] }).unwrap();
    }
    cluster.live.remove(&node(0));
    cluster.declare_all();
    cluster.settle();
    let left = cluster.votes(&[node(1)].into())[&node(1)];
    assert!(left < 8, "{left} of 12 are still where they were");
}

fn member(state: MemberState) -> Member {
    Member { raft_id: 1, generation: 1, http: "a:1".into(), peer: "a:2".into(), version: "1".into(), rules: 1, state }
}

fn any_state() -> impl Strategy<Value = MemberState> {
    prop_oneof![
        1 => Just(MemberState::Joining),
        6 => Just(MemberState::Up),
        1 => Just(MemberState::Draining),
        1 => Just(MemberState::Removing),
        2 => Just(MemberState::Down(Standing::Staying)),
        1 => Just(MemberState::Down(Standing::Gone)),
    ]
}

proptest! {
    #[test]
    fn voters_of_the_placement_are_odd_at_most_five_and_stay(
        states in proptest::collection::vec(any_state(), 1..12),
        current in btree_set(0..12usize, 0..5),
    ) {
        let members: BTreeMap<NodeName, Member> =
            states.iter().enumerate().map(|(at, state)| (node(at), member(*state))).collect();
        let current: Vec<NodeName> = current.into_iter().map(node).collect();
        let voters = placement_voters(&members, &current);
        let stays = |name: &&NodeName| members.get(*name).is_some_and(Member::keeps);
        let may: usize = members.iter().filter(|(name, member)| member.takes() || (member.keeps() && current.contains(name))).count();
        prop_assert_eq!(voters.len(), [0, 1, 1, 3, 3, 5][may.min(5)]);
        prop_assert!(voters.iter().all(|name| members[name].takes() || (members[name].keeps() && current.contains(name))));
        let is_up = |name: &NodeName| stays(&name) && !members[name].is_down();
        let lost = current.iter().filter(|name| is_up(name) && !voters.contains(name)).count();
        let all_from_current = voters.iter().all(|name| current.contains(name) && is_up(name));
        prop_assert!(lost == 0 || all_from_current, "a vote went to a newcomer: {current:?} to {voters:?}");
        let down_votes = voters.iter().any(|name| members[name].is_down());
        let up_waits = members.iter().any(|(name, member)| member.takes() && !voters.contains(name));
        prop_assert!(!(down_votes && up_waits), "a node that is down votes while another could");
        prop_assert_eq!(placement_voters(&members, &voters), voters);
    }
}

#[test]
fn what_one_node_has_left_becomes_a_cluster_of_its_own() {
    let mut placement = Placement::default();
    let found = Command::Found { cluster_id: "c".into(), partitions: 2, replication: 3, first: newcomer(0, 1) };
    for command in [found, Command::Admit(newcomer(1, 1)), Command::Drain { name: node(1) }] {
        apply_placement(&mut placement, &command).unwrap();
    }
    let salvage = |name, id: &str| Command::Salvage { cluster_id: id.into(), name };
    assert_eq!(apply_placement(&mut placement, &salvage(node(7), "d")), Err(Refusal::UnknownMember(node(7))));
    assert_eq!(apply_placement(&mut placement, &salvage(node(1), "")), Err(Refusal::BadCluster));
    assert_eq!(apply_placement(&mut placement, &salvage(node(1), "d")), Ok(Applied::Changed));
    assert_eq!(placement.cluster_id, "d");
    assert_eq!(placement.members.keys().collect::<Vec<_>>(), [&node(1)]);
    assert_eq!(placement.members[&node(1)].state, MemberState::Up);
    assert!(placement.partitions.iter().all(|at| at.voters == [node(1)] && at.leader == Some(node(1))));
    assert_eq!(apply_placement(&mut placement, &salvage(node(1), "d")), Ok(Applied::Unchanged));
}
