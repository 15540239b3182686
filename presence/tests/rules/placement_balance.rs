//! Shares are even, and little moves to get there. The figures are printed with `--nocapture`.

use crate::placement_world::{Cluster, Names, node, spread};
use proptest::{
    prelude::*,
    sample::subsequence,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use rollcall_presence::{NodeName, PlacementCommand};

/// Names that members are drawn from, so that rings differ.
const NAMES: usize = 40;
/// Clusters that are tried in each test.
const CLUSTERS: usize = 60;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRunner::deterministic().rng().clone())
}

fn draw<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// A cluster of the node 0 and `others`, at rest.
fn formed(partitions: u16, others: &[usize]) -> Cluster {
    let mut cluster = Cluster::new(partitions, 3);
    for other in others {
        cluster.start(*other);
    }
    cluster.declare_all();
    cluster.settle();
    cluster
}

fn any_cluster(least: usize) -> impl Strategy<Value = (u16, Vec<usize>)> {
    let partitions = prop_oneof![1 => Just(7u16), 4 => Just(32), 1 => Just(100)];
    (partitions, (least - 1..11).prop_flat_map(|size| subsequence(Vec::from_iter(1..NAMES), size)))
}

#[track_caller]
fn check_even(cluster: &Cluster) {
    let able = cluster.able();
    assert_eq!(able.len(), cluster.placement.members.len());
    assert!(spread(&cluster.votes(&able)) <= 1, "votes {:?}", cluster.votes(&able));
    assert!(spread(&cluster.leads(&able)) <= 1, "leaderships {:?}", cluster.leads(&able));
}

/// How much was moved, against the least that had to.
#[derive(Debug, Default)]
struct Moved {
    moved: usize,
    least: usize,
    worst_percent: usize,
}

impl Moved {
    fn add(&mut self, moved: usize, least: usize) {
        assert!(moved >= least, "{moved} moved, {least} must: the least is not the least");
        self.moved += moved;
        self.least += least;
        self.worst_percent = self.worst_percent.max((moved * 100).checked_div(least).unwrap_or(100));
    }

    fn percent(&self) -> usize {
        self.moved * 100 / self.least
    }
}

#[test]
fn votes_and_leaderships_are_within_one_of_even_for_any_members() {
    let (mut runner, mut replicas) = (runner(), Moved::default());
    for _ in 0..CLUSTERS {
        let (partitions, others) = draw(&mut runner, &any_cluster(1));
        let cluster = formed(partitions, &others);
        check_even(&cluster);
        if others.len() >= 2 {
            let kept = (usize::from(partitions) * 3).div_ceil(others.len() + 1);
            replicas.add(cluster.built, usize::from(partitions) * 3 - kept);
        }
    }
    println!("forming: replicas {replicas:?}");
    assert!(replicas.percent() <= 100, "{replicas:?}");
}

#[test]
fn a_joining_node_moves_no_more_than_its_share() {
    let (mut runner, mut replicas, mut leaderships) = (runner(), Moved::default(), Moved::default());
    for _ in 0..CLUSTERS {
        let (partitions, others) = draw(&mut runner, &any_cluster(4));
        let (last, others) = others.split_last().unwrap();
        let mut cluster = formed(partitions, others);
        let (built, led) = (cluster.built, leaders(&cluster));
        cluster.start(*last);
        cluster.declare_all();
        cluster.settle();
        check_even(&cluster);
        let nodes = cluster.placement.members.len();
        replicas.add(cluster.built - built, usize::from(partitions) * 3 / nodes);
        leaderships.add(changed(&led, &leaders(&cluster)), usize::from(partitions) / nodes);
    }
    println!("joining: replicas {replicas:?}, leaderships {leaderships:?}");
    assert!(replicas.percent() <= 100, "{replicas:?}");
    assert!(leaderships.percent() <= 145, "{leaderships:?}");
}

#[test]
fn a_leaving_node_moves_little_more_than_what_it_kept() {
    let (mut runner, mut replicas) = (runner(), Moved::default());
    for _ in 0..CLUSTERS {
        let (partitions, others) = draw(&mut runner, &any_cluster(4));
        let mut cluster = formed(partitions, &others);
        let leaving = node(others[0]);
        let (built, kept) = (cluster.built, cluster.votes(&[leaving.clone()].into())[&leaving]);
        cluster.commit(&PlacementCommand::Remove { name: leaving.clone() }).unwrap();
        cluster.settle();
        assert!(!cluster.placement.members.contains_key(&leaving), "it is forgotten in the end");
        check_even(&cluster);
        replicas.add(cluster.built - built, kept);
    }
    println!("leaving: replicas {replicas:?}");
    assert!(replicas.percent() <= 103, "{replicas:?}");
}

#[test]
fn a_node_that_restarts_moves_no_replica_and_gets_its_leaderships_back() {
    let (mut runner, mut leaderships) = (runner(), Moved::default());
    for _ in 0..CLUSTERS {
        let (partitions, others) = draw(&mut runner, &any_cluster(3));
        let mut cluster = formed(partitions, &others);
        let built = cluster.built;
        for at in [0, others[0]] {
            let (name, led) = (node(at), leaders(&cluster));
            cluster.commit(&PlacementCommand::Drain { name: name.clone() }).unwrap();
            cluster.settle();
            assert_eq!(cluster.leads(&[name.clone()].into())[&name], 0);
            let least = led.iter().flatten().filter(|leader| **leader == name).count();
            leaderships.add(changed(&led, &leaders(&cluster)), least);
            cluster.live.remove(&name);
            cluster.declare_all();
            cluster.settle();
            cluster.start(at);
            cluster.settle();
            check_even(&cluster);
        }
        assert_eq!(cluster.built, built);
    }
    println!("draining: leaderships {leaderships:?}");
    assert!(leaderships.percent() <= 115, "{leaderships:?}");
}

#[test]
fn a_cluster_that_grows_from_two_copies_nothing_twice() {
    let mut cluster = formed(32, &[1]);
    let built = cluster.built;
    (2..5).for_each(|at| cluster.start(at));
    cluster.declare_all();
    cluster.settle();
    check_even(&cluster);
    let newcomers: usize = cluster.votes(&(2..5).map(node).collect()).values().sum();
    println!("from two to five: {} copies, {newcomers} votes of newcomers", cluster.built - built);
    assert!((cluster.built - built) * 100 <= newcomers * 103);
}

#[test]
fn three_nodes_form_in_few_rounds() {
    let mut cluster = Cluster::new(32, 3);
    for other in [1, 2] {
        cluster.start(other);
    }
    cluster.declare_all();
    let rounds = cluster.settle();
    println!("three nodes and 32 partitions form in {rounds} rounds");
    assert!(rounds <= 10, "{rounds}");
    assert_eq!(cluster.built, 64);
}

#[test]
fn leaders_are_as_even_as_the_voters_allow_when_nodes_are_down() {
    let (mut runner, mut uneven) = (runner(), 0);
    for _ in 0..CLUSTERS {
        let (partitions, others) = draw(&mut runner, &any_cluster(3));
        let mut cluster = formed(partitions, &others);
        let down = draw(&mut runner, &subsequence(others.clone(), 1..=others.len().div_ceil(4)));
        for at in down {
            cluster.live.remove(&node(at));
        }
        cluster.declare_all();
        cluster.settle();
        let able = cluster.able();
        let led: Vec<usize> = cluster.leads(&able).into_values().collect();
        let may_lead: Vec<Vec<usize>> = cluster
            .placement
            .partitions
            .iter()
            .zip(&cluster.groups)
            .filter(|(_, group)| group.leader.is_some())
            .map(|(at, _)| {
                able.iter().enumerate().filter(|(_, name)| at.voters.contains(name)).map(|(at, _)| at).collect()
            })
            .collect();
        let (most, fewest) = (led.iter().max().unwrap(), led.iter().min().unwrap());
        assert!(*most == 0 || !covers_all(&may_lead, able.len(), most - 1), "{most} led at most: fewer would do");
        assert!(!fills_all(&may_lead, able.len(), fewest + 1), "{fewest} led at least: more can be had");
        uneven += usize::from(most - fewest > 1);
    }
    println!("with nodes down, {uneven} of {CLUSTERS} clusters cannot be within one of even");
    assert!(uneven * 10 <= CLUSTERS, "{uneven} of {CLUSTERS}");
}

fn leaders(cluster: &Cluster) -> Vec<Option<NodeName>> {
    cluster.groups.iter().map(|group| group.leader.clone()).collect()
}

fn changed(before: &[Option<NodeName>], after: &[Option<NodeName>]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// Whether every partition finds a leader when no node leads more than `most`.
fn covers_all(may_lead: &[Vec<usize>], nodes: usize, most: usize) -> bool {
    let slots: Vec<usize> = (0..nodes).flat_map(|node| vec![node; most]).collect();
    let fits = |partition: usize, slot: usize| may_lead[partition].contains(&slots[slot]);
    matched(may_lead.len(), slots.len(), &fits) == may_lead.len()
}

/// Whether every node can lead `least`.
fn fills_all(may_lead: &[Vec<usize>], nodes: usize, least: usize) -> bool {
    let slots: Vec<usize> = (0..nodes).flat_map(|node| vec![node; least]).collect();
    let fits = |slot: usize, partition: usize| may_lead[partition].contains(&slots[slot]);
    matched(slots.len(), may_lead.len(), &fits) == slots.len()
}

/// The size of a largest matching, by augmenting paths (Kuhn).
fn matched(left: usize, right: usize, fits: &dyn Fn(usize, usize) -> bool) -> usize {
    fn augment(
        from: usize,
        partner: &mut [Option<usize>],
        seen: &mut [bool],
        fits: &dyn Fn(usize, usize) -> bool,
    ) -> bool {
        for to in 0..partner.len() {
            if !seen[to] && fits(from, to) {
                seen[to] = true;
                if partner[to].is_none_or(|other| augment(other, partner, seen, fits)) {
                    partner[to] = Some(from);
                    return true;
                }
            }
        }
        false
    }
    let mut partner = vec![None; right];
    (0..left).filter(|from| augment(*from, &mut partner, &mut vec![false; right], fits)).count()
}

#[test]
fn the_ring_decides_between_nodes_that_have_as_much() {
    let names: Names = (0..6).map(node).collect();
    let all: Vec<NodeName> = names.into_iter().collect();
    let cluster = formed(100, &[1, 2, 3, 4, 5]);
    let ring = rollcall_presence::Ring::new(&all);
    let agreed = cluster.placement.assignments().flat_map(|(partition, at)| {
        let proposed = ring.replicas(partition, 3);
        at.voters.iter().filter(move |voter| proposed.contains(voter)).collect::<Vec<_>>()
    });
    let percent = agreed.count() * 100 / 300;
    println!("{percent} % of replicas are where the ring has them");
    assert!(percent >= 75, "{percent} %: chance alone gives 50");
}
