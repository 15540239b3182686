//! A cluster in memory: committed placement, living nodes, and the Raft groups as they really are.
//!
//! Groups go where the placement asks, one Raft step at a time; commands and reports travel, late, twice or never.

use proptest::prelude::*;
use rollcall_presence::{
    Applied, Member, MemberState, Move, Newcomer, NodeName, PartitionId, Placement, PlacementCommand, PlacementRefusal,
    View, apply_placement, plan_moves,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Names = BTreeSet<NodeName>;

pub(crate) fn node(index: usize) -> NodeName {
    NodeName::new(&format!("n{index:02}")).unwrap()
}

pub(crate) fn newcomer(index: usize, generation: u64) -> Newcomer {
    Newcomer {
        name: node(index),
        raft_id: index as u64 + 1,
        generation,
        http: format!("10.0.0.{index}:7700"),
        peer: format!("10.0.0.{index}:7701"),
        version: "0.1.0".into(),
        rules: 1,
    }
}

/// A partition's group as it really is.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) voters: Names,
    /// The new voters, between the two steps of a joint change.
    pub(crate) joint: Option<Names>,
    pub(crate) learners: Names,
    pub(crate) leader: Option<NodeName>,
}

impl Group {
    /// All that the group counts on.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.voters.iter().chain(self.joint.iter().flatten()).chain(&self.learners)
    }

    pub(crate) fn has_quorum(&self, live: &Names) -> bool {
        has_majority(&self.voters, live) && self.joint.as_ref().is_none_or(|joint| has_majority(joint, live))
    }
}

pub(crate) fn has_majority<'a>(voters: impl IntoIterator<Item = &'a NodeName>, live: &Names) -> bool {
    let (mut all, mut there) = (0, 0);
    for voter in voters {
        all += 1;
        there += usize::from(live.contains(voter));
    }
    there * 2 > all
}

/// What may happen to a cluster; a number is an index into what there is.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Join(usize),
    Ready(usize),
    Die(usize),
    DeclareDown(usize),
    Return(usize),
    Restart(usize),
    Drain(usize),
    Remove(usize),
    ReplaceGone(usize),
    /// The placement's leader computes the next steps and sends them on their way.
    Plan,
    /// One step that is on its way is committed, and perhaps once more later.
    Deliver(prop::sample::Index, bool),
    /// The placement's leader dies with all that it had not committed.
    Crash,
    /// A group takes a step towards what it is asked for.
    Work(prop::sample::Index),
}

pub(crate) const NODES: usize = 7;

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..NODES).prop_map(Event::Join),
        6 => (0..NODES).prop_map(Event::Ready),
        2 => (0..NODES).prop_map(Event::Die),
        3 => (0..NODES).prop_map(Event::DeclareDown),
        3 => (0..NODES).prop_map(Event::Return),
        3 => (0..NODES).prop_map(Event::Restart),
        1 => (0..NODES).prop_map(Event::Drain),
        2 => (0..NODES).prop_map(Event::Remove),
        2 => (0..NODES).prop_map(Event::ReplaceGone),
        8 => Just(Event::Plan),
        30 => (index(), prop::bool::weighted(0.1)).prop_map(|(at, again)| Event::Deliver(at, again)),
        1 => Just(Event::Crash),
        40 => index().prop_map(Event::Work),
    ]
}

#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) placement: Placement,
    pub(crate) live: Names,
    pub(crate) groups: Vec<Group>,
    pub(crate) on_the_way: Vec<PlacementCommand>,
    /// Replicas that were copied to a node which had none.
    pub(crate) built: usize,
    generations: BTreeMap<NodeName, u64>,
}

impl Cluster {
    pub(crate) fn new(partitions: u16, replication: u8) -> Self {
        let mut placement = Placement::default();
        let found = PlacementCommand::Found { cluster_id: "c".into(), partitions, replication, first: newcomer(0, 1) };
        apply_placement(&mut placement, &found).unwrap();
        let group = Group { voters: [node(0)].into(), joint: None, learners: Names::new(), leader: Some(node(0)) };
        Self {
            placement,
            live: [node(0)].into(),
            groups: vec![group; usize::from(partitions)],
            on_the_way: Vec::new(),
            built: 0,
            generations: [(node(0), 1)].into(),
        }
    }

    /// Commits `command`; holds every command to the promises of `apply_placement`.
    pub(crate) fn commit(&mut self, command: &PlacementCommand) -> Result<Applied, PlacementRefusal> {
        let before = self.placement.clone();
        let answer = apply_placement(&mut self.placement, command);
        if answer == Ok(Applied::Changed) {
            assert_eq!(self.placement.epoch, before.epoch + 1, "after {command:?}");
        } else {
            assert_eq!(self.placement, before, "{command:?} touched something: {answer:?}");
        }
        let once = self.placement.clone();
        let again = apply_placement(&mut self.placement, command);
        assert_ne!(again, Ok(Applied::Changed), "{command:?} has an effect twice");
        assert_eq!(self.placement, once);
        answer
    }

    pub(crate) fn plan(&self) -> Vec<Move> {
        let leading: Names = self.groups.iter().filter_map(|group| group.leader.clone()).collect();
        plan_moves(&self.placement, View { live: &self.live, leading: &leading })
    }

    pub(crate) fn act(&mut self, event: &Event) {
        let generation = |of: &Self, at: usize| of.generations.get(&node(at)).copied().unwrap_or(0);
        match event {
            Event::Join(at) | Event::Restart(at) => {
                let is_known = self.placement.members.contains_key(&node(*at));
                if is_known == matches!(event, Event::Restart(_)) {
                    self.start(*at);
                }
            }
            Event::Ready(at) | Event::Return(at) => {
                let generation = generation(self, *at);
                if generation > 0 {
                    self.live.insert(node(*at));
                    let _ = self.commit(&PlacementCommand::DeclareUp { name: node(*at), generation });
                }
            }
            Event::Die(at) => {
                self.live.remove(&node(*at));
            }
            Event::DeclareDown(at) if !self.live.contains(&node(*at)) => {
                let generation = generation(self, *at);
                let _ = self.commit(&PlacementCommand::DeclareDown { name: node(*at), generation });
            }
            Event::DeclareDown(_) => {}
            Event::Drain(at) => drop(self.commit(&PlacementCommand::Drain { name: node(*at) })),
            Event::Remove(at) => drop(self.commit(&PlacementCommand::Remove { name: node(*at) })),
            Event::ReplaceGone(at) => {
                let generation = generation(self, *at);
                let _ = self.commit(&PlacementCommand::ReplaceGone { name: node(*at), generation });
            }
            Event::Plan => self.on_the_way.extend(self.plan().into_iter().map(PlacementCommand::from)),
            Event::Deliver(at, again) if !self.on_the_way.is_empty() => {
                let at = at.index(self.on_the_way.len());
                let command = if *again { self.on_the_way[at].clone() } else { self.on_the_way.swap_remove(at) };
                let _ = self.commit(&command);
            }
            Event::Deliver(..) => {}
            Event::Crash => self.on_the_way.clear(),
            Event::Work(at) => self.work(at.index(self.groups.len())),
        }
        self.elect();
    }

    /// Starts the node's process and lets it ask to be admitted.
    pub(crate) fn start(&mut self, at: usize) {
        let generation = self.generations.entry(node(at)).or_insert(0);
        *generation += 1;
        let admit = PlacementCommand::Admit(newcomer(at, *generation));
        if self.commit(&admit).is_ok() {
            self.live.insert(node(at));
        }
    }

    /// Every group is led by the preferred voter if it lives, else by whoever led it, else by any.
    pub(crate) fn elect(&mut self) {
        for (group, at) in self.groups.iter_mut().zip(&self.placement.partitions) {
            let may_lead = |leader: &NodeName| self.live.contains(leader) && group.voters.contains(leader);
            let leader = [at.leader.clone(), group.leader.clone()].into_iter().flatten().find(may_lead);
            let any = || group.voters.iter().find(|voter| self.live.contains(*voter)).cloned();
            group.leader = if group.has_quorum(&self.live) { leader.or_else(any) } else { None };
        }
    }

    /// The group of partition `at` takes one step towards what it is asked for. `true` if it could take one.
    pub(crate) fn step(&mut self, at: usize) -> bool {
        let (group, assignment) = (&mut self.groups[at], &self.placement.partitions[at]);
        if !group.has_quorum(&self.live) {
            return false;
        }
        let (voters, learners) = assignment.wanted();
        let (voters, learners): (Names, Names) = (voters.iter().cloned().collect(), learners.iter().cloned().collect());
        if let Some(joint) = group.joint.clone() {
            // Onwards to what is wanted: if that is the older half, back to it.
            if joint == voters || group.voters == voters {
                let left = group.voters.union(&joint).filter(|node| !voters.contains(*node)).cloned();
                group.learners.extend(left.collect::<Names>());
                group.voters = voters;
                group.joint = None;
            } else {
                group.learners.extend(group.voters.difference(&joint).cloned().collect::<Names>());
                group.voters = joint;
                group.joint = Some(voters);
            }
            return true;
        }
        let is_in = |node: &NodeName| group.voters.contains(node) || group.learners.contains(node);
        if let Some(new) = voters.iter().chain(&learners).find(|node| !is_in(node)).cloned() {
            group.learners.insert(new);
            self.built += 1;
            return true;
        }
        if group.voters != voters {
            // Caught up is whoever lives. A new voter is waited for, one that was there before is not.
            let was_there = |voter: &NodeName| assignment.voters.contains(voter);
            if !voters.iter().all(|voter| self.live.contains(voter) || was_there(voter))
                || !has_majority(&voters, &self.live)
            {
                return false;
            }
            group.learners.retain(|learner| !voters.contains(learner));
            group.joint = Some(voters);
            return true;
        }
        if group.learners != learners {
            group.learners = learners;
            return true;
        }
        false
    }

    /// A step, and when there is none left, the report, if one is asked for.
    fn work(&mut self, at: usize) {
        if !self.step(at) {
            self.on_the_way.extend(self.report(at));
        }
    }

    /// What the group of partition `at` has to say, if it has reached what it was asked for.
    pub(crate) fn report(&self, at: usize) -> Option<PlacementCommand> {
        let (group, target) = (&self.groups[at], self.placement.partitions[at].target.as_ref()?);
        let same = |names: &Names, wanted: &[NodeName]| names.iter().eq(wanted);
        let is_there = group.joint.is_none()
            && group.has_quorum(&self.live)
            && same(&group.voters, &target.voters)
            && same(&group.learners, &target.learners);
        is_there.then(|| PlacementCommand::Reached {
            partition: PartitionId(at as u16),
            change: target.change,
            voters: target.voters.clone(),
            learners: target.learners.clone(),
        })
    }

    /// Declares what is true of every member.
    pub(crate) fn declare_all(&mut self) {
        for (name, member) in self.placement.members.clone() {
            let generation = member.generation;
            let command = if self.live.contains(&name) {
                PlacementCommand::DeclareUp { name, generation }
            } else {
                PlacementCommand::DeclareDown { name, generation }
            };
            self.commit(&command).unwrap();
        }
        self.elect();
    }

    /// Carries out one plan to the end: every step must be accepted, every group that can goes where it is asked to.
    /// `false` when there was nothing to do.
    pub(crate) fn round(&mut self) -> bool {
        let moves = self.plan();
        let mut is_done = moves.is_empty();
        for step in moves {
            let command = step.into();
            assert_eq!(self.commit(&command), Ok(Applied::Changed), "{command:?}");
        }
        self.elect();
        for at in 0..self.groups.len() {
            for _ in 0..20 {
                if !self.step(at) {
                    break;
                }
            }
            if let Some(report) = self.report(at) {
                assert_eq!(self.commit(&report), Ok(Applied::Changed), "{report:?}");
                is_done = false;
            }
        }
        self.elect();
        !is_done
    }

    /// Carries plans out until there is nothing to do; returns how many there were.
    pub(crate) fn settle(&mut self) -> usize {
        let bound = 20 + self.groups.len() * 12;
        (0..bound).find(|_| !self.round()).unwrap_or_else(|| panic!("no end after {bound} plans: {:?}", self.plan()))
    }

    pub(crate) fn able(&self) -> Names {
        let able = |(name, member): &(&NodeName, &Member)| member.state == MemberState::Up && self.live.contains(*name);
        self.placement.members.iter().filter(able).map(|(name, _)| name.clone()).collect()
    }

    /// How many partitions each of `nodes` has a vote in.
    pub(crate) fn votes(&self, nodes: &Names) -> BTreeMap<NodeName, usize> {
        count(nodes, self.placement.partitions.iter().flat_map(|at| &at.voters))
    }

    /// How many partitions each of `nodes` leads.
    pub(crate) fn leads(&self, nodes: &Names) -> BTreeMap<NodeName, usize> {
        count(nodes, self.groups.iter().flat_map(|group| &group.leader))
    }
}

fn count<'a>(nodes: &Names, named: impl Iterator<Item = &'a NodeName>) -> BTreeMap<NodeName, usize> {
    let mut counts: BTreeMap<NodeName, usize> = nodes.iter().map(|name| (name.clone(), 0)).collect();
    for name in named {
        counts.entry(name.clone()).and_modify(|count| *count += 1);
    }
    counts
}

/// The largest count less the smallest.
pub(crate) fn spread(counts: &BTreeMap<NodeName, usize>) -> usize {
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
}
