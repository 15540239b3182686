//! The next step of a group towards the replicas that it should have: a pure function of what is wished and how it stands.
//!
//! Never remembers what it did: a step that was lost, done twice or broken off by a crash is found again from the group's
//! own membership. Promises to end at the wish when the nodes of it live, never to take a vote from a majority that has not
//! caught up, and to hand leadership over before the leader loses its vote.

use crate::limits::RAFT_LAG_ENTRIES;
use std::collections::{BTreeMap, BTreeSet};

/// What a group should become, by identities in Raft.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// This node.
    pub me: u64,
    /// The wanted voters.
    pub voters: BTreeSet<u64>,
    /// The wanted learners.
    pub learners: BTreeSet<u64>,
    /// Those of them that are known to be there, and need not be waited for.
    pub arrived: BTreeSet<u64>,
    /// Whether the replicas are to change; otherwise only the leader is looked at.
    pub changing: bool,
    /// The voter that should lead, if it lives.
    pub leader: Option<u64>,
}

/// How a group stands, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stand {
    /// The voters; two sets while a change is half done.
    pub configs: Vec<BTreeSet<u64>>,
    /// Voters and learners.
    pub nodes: BTreeSet<u64>,
    /// Whether that is committed.
    pub settled: bool,
    /// The last entry known to be committed.
    pub committed: u64,
    /// By node: the last entry known to be on its disk.
    pub matched: BTreeMap<u64, u64>,
    /// By newcomer: what was committed when it was let in. It has caught up once it has that.
    pub bars: BTreeMap<u64, u64>,
    /// Who has answered the leader lately.
    pub heard: BTreeSet<u64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing to do.
    Rest,
    /// Let this one follow.
    AddLearner(u64),
    /// Wait until this one has caught up.
    AwaitCatchUp(u64),
    /// Wait until the membership is committed.
    AwaitCommit,
    /// Make these the voters; others stay as learners.
    Voters(BTreeSet<u64>),
    /// Forget these learners.
    Remove(BTreeSet<u64>),
    /// Let this one lead.
    HandOver(u64),
    /// Say that the wish is reached.
    Report,
}

impl Stand {
    fn is_uniform(&self) -> bool {
        self.configs.len() == 1
    }

    fn votes(&self, node: u64) -> bool {
        self.configs.iter().all(|config| config.contains(&node))
    }

    /// Whether `node` has what was committed when it was let in, and is not far behind now.
    fn has_caught_up(&self, node: u64) -> bool {
        let (matched, bar) = (self.matched.get(&node), self.bars.get(&node));
        matched.zip(bar).is_some_and(|(matched, bar)| matched >= bar) && self.is_near(node)
    }

    fn is_near(&self, node: u64) -> bool {
        self.matched.get(&node).is_some_and(|matched| matched + RAFT_LAG_ENTRIES >= self.committed)
    }
}

/// What to do next.
#[must_use]
pub(crate) fn next_step(wish: &Wish, stand: &Stand) -> Step {
    // A hand-over goes first: it takes milliseconds, and whoever leads then goes on with the rest.
    if let Some(to) = wish.leader.filter(|to| *to != wish.me)
        && (!wish.changing || wish.voters.contains(&to))
        && stand.is_uniform()
        && stand.settled
        && stand.votes(to)
        && stand.is_near(to)
    {
        return Step::HandOver(to);
    }
    if wish.changing { next_change(wish, stand) } else { Step::Rest }
}

fn next_change(wish: &Wish, stand: &Stand) -> Step {
    if !stand.settled {
        return Step::AwaitCommit;
    }
    let wanted = || wish.voters.iter().chain(&wish.learners).copied();
    if let Some(missing) = wanted().find(|node| !stand.nodes.contains(node)) {
        // Learners are let in whatever else is half done: nothing is taken away by it.
        return if stand.is_uniform() { Step::AddLearner(missing) } else { Step::Voters(last_config(stand)) };
    }
    let is_awaited = |node: &u64| !stand.votes(*node) && !wish.arrived.contains(node) && !stand.has_caught_up(*node);
    if let Some(late) = wish.voters.iter().find(|node| is_awaited(node)) {
        return Step::AwaitCatchUp(*late);
    }
    if !stand.is_uniform() || stand.configs.first() != Some(&wish.voters) {
        return next_voters(wish, stand);
    }
    if let Some(late) = wish.learners.iter().find(|node| is_awaited(node)) {
        return Step::AwaitCatchUp(*late);
    }
    let unwanted: BTreeSet<u64> =
        stand.nodes.iter().copied().filter(|node| wanted().all(|kept| kept != *node)).collect();
    if unwanted.is_empty() { Step::Report } else { Step::Remove(unwanted) }
}

/// The voters to change to; not without this node as long as it leads.
fn next_voters(wish: &Wish, stand: &Stand) -> Step {
    if wish.voters.contains(&wish.me) {
        return Step::Voters(wish.voters.clone());
    }
    if !stand.is_uniform() {
        return Step::Voters(last_config(stand));
    }
    let mut heirs = wish.voters.iter().copied().filter(|node| stand.votes(*node)).peekable();
    if heirs.peek().is_some() {
        let living = heirs.filter(|node| stand.heard.contains(node));
        // While none of them is heard, handing over would only stop writes.
        return living.max_by_key(|node| stand.matched.get(node).copied()).map_or(Step::AwaitCommit, Step::HandOver);
    }
    let mut with_me = wish.voters.clone();
    with_me.insert(wish.me);
    Step::Voters(with_me)
}

/// Where a change that is half done was going.
fn last_config(stand: &Stand) -> BTreeSet<u64> {
    stand.configs.last().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn wish(me: u64, voters: &[u64], learners: &[u64]) -> Wish {
        Wish {
            me,
            voters: set(voters),
            learners: set(learners),
            changing: true,
            leader: None,
            arrived: BTreeSet::new(),
        }
    }

    fn stand(voters: &[u64], learners: &[u64]) -> Stand {
        let nodes: BTreeSet<u64> = voters.iter().chain(learners).copied().collect();
        Stand {
            configs: vec![set(voters)],
            matched: nodes.iter().map(|node| (*node, 100)).collect(),
            bars: nodes.iter().map(|node| (*node, 100)).collect(),
            heard: nodes.clone(),
            nodes,
            settled: true,
            committed: 100,
        }
    }

    /// Carries `wish` out, and returns the steps; `me` changes with a hand-over.
    fn carried_out(mut wish: Wish, mut at: Stand) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..20 {
            let step = next_step(&wish, &at);
            match &step {
                Step::AddLearner(node) => {
                    at.nodes.insert(*node);
                    at.bars.insert(*node, at.committed);
                    at.heard.insert(*node);
                }
                Step::AwaitCatchUp(node) => {
                    at.matched.insert(*node, at.committed);
                }
                Step::AwaitCommit => at.settled = true,
                Step::Voters(voters) => at.configs = vec![voters.clone()],
                Step::Remove(gone) => at.nodes.retain(|node| !gone.contains(node)),
                Step::HandOver(to) => wish.me = *to,
                Step::Rest | Step::Report => {
                    steps.push(step);
                    return steps;
                }
            }
            steps.push(step);
        }
        panic!("no end: {steps:?}");
    }

    #[test]
    fn a_second_node_follows_as_a_learner_and_a_third_brings_two_votes() {
        let steps = carried_out(wish(1, &[1], &[2]), stand(&[1], &[]));
        assert_eq!(steps, [Step::AddLearner(2), Step::AwaitCatchUp(2), Step::Report]);
        let steps = carried_out(wish(1, &[1, 2, 3], &[]), stand(&[1], &[2]));
        assert_eq!(steps, [Step::AddLearner(3), Step::AwaitCatchUp(3), Step::Voters(set(&[1, 2, 3])), Step::Report]);
    }

    #[test]
    fn a_leader_that_loses_its_vote_hands_over_first() {
        let steps = carried_out(wish(1, &[2, 3, 4], &[]), stand(&[1, 2, 3], &[]));
        let [Step::AddLearner(4), Step::AwaitCatchUp(4), Step::HandOver(heir), rest @ ..] = &steps[..] else {
            panic!("{steps:?}")
        };
        assert!([2, 3].contains(heir));
        assert_eq!(rest, [Step::Voters(set(&[2, 3, 4])), Step::Remove(set(&[1])), Step::Report]);
        let steps = carried_out(wish(1, &[2], &[]), stand(&[1], &[2]));
        let wanted = [
            Step::Voters(set(&[1, 2])),
            Step::HandOver(2),
            Step::Voters(set(&[2])),
            Step::Remove(set(&[1])),
            Step::Report,
        ];
        assert_eq!(steps, wanted);
    }

    #[test]
    fn a_leader_that_loses_its_vote_hands_over_to_nobody_who_is_silent() {
        let mut at = stand(&[1, 2, 3], &[]);
        at.heard.remove(&3);
        at.matched.insert(2, 90);
        assert_eq!(next_step(&wish(1, &[2, 3], &[]), &at), Step::HandOver(2), "the other one has more, and is silent");
        at.heard.clear();
        assert_eq!(next_step(&wish(1, &[2, 3], &[]), &at), Step::AwaitCommit);
    }

    #[test]
    fn leadership_does_not_go_back_to_a_leader_that_loses_its_vote() {
        let mut swap = wish(1, &[2], &[1]);
        swap.leader = Some(1);
        let steps = carried_out(swap, stand(&[1], &[2]));
        assert_eq!(steps, [Step::Voters(set(&[1, 2])), Step::HandOver(2), Step::Voters(set(&[2])), Step::Report]);
    }

    #[test]
    fn a_change_that_broke_off_half_way_is_finished_from_what_the_group_says() {
        let mut half = stand(&[1, 2, 3], &[]);
        half.configs = vec![set(&[1]), set(&[1, 2, 3])];
        half.settled = false;
        let steps = carried_out(wish(2, &[1, 2, 3], &[]), half.clone());
        assert_eq!(steps, [Step::AwaitCommit, Step::Voters(set(&[1, 2, 3])), Step::Report]);
        // And given up: back to what it was, while another one leads.
        let steps = carried_out(wish(1, &[1], &[]), half);
        assert_eq!(steps, [Step::AwaitCommit, Step::Voters(set(&[1])), Step::Remove(set(&[2, 3])), Step::Report]);
    }

    #[test]
    fn a_newcomer_gets_no_vote_before_it_has_what_was_committed() {
        let mut late = stand(&[1], &[2, 3]);
        late.matched.insert(3, 99);
        assert_eq!(next_step(&wish(1, &[1, 2, 3], &[]), &late), Step::AwaitCatchUp(3));
        late.matched.insert(3, 100);
        late.bars.remove(&3);
        assert_eq!(next_step(&wish(1, &[1, 2, 3], &[]), &late), Step::AwaitCatchUp(3), "nobody measured it");
        // One that was there before is not waited for: it may be dead, and the majority is the others'.
        let mut back = wish(1, &[1, 2, 3], &[]);
        back.arrived = set(&[1, 2, 3]);
        assert_eq!(next_step(&back, &late), Step::Voters(set(&[1, 2, 3])));
    }

    #[test]
    fn the_preferred_voter_leads_once_it_has_the_log() {
        let mut lead = wish(1, &[1, 2, 3], &[]);
        (lead.changing, lead.leader) = (false, Some(2));
        let mut at = stand(&[1, 2, 3], &[]);
        assert_eq!(next_step(&lead, &at), Step::HandOver(2));
        at.matched.insert(2, 0);
        assert_eq!(next_step(&lead, &at), Step::Rest, "it would have to catch up first");
        lead.leader = Some(1);
        assert_eq!(next_step(&lead, &at), Step::Rest, "never to oneself");
    }
}
