//! Who lives, as the placement leader hears it: a table of leases, and what to declare from it.
//!
//! Time comes in from outside, as ms of any clock that never goes back. Promises that nobody is declared dead before a full
//! lease went by in silence, counted from when this leader first knew of that start of the node, and was awake all the time;
//! broken links say nothing.

use super::message::Lease;
use crate::limits::{AWAKE_MAX_MS, CLOCK_OFF_LEASES, CLOCK_OFF_MAX_MS, CLOCKS_MIN, LEASE_MS};
use rollcall_presence::{Member, MemberState, NodeName, Placement, PlacementCommand, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// What was heard last of a node.
#[derive(Debug, Clone)]
struct Heard {
    generation: u64,
    at_ms: u64,
    leads: Vec<u16>,
    /// Its clock less ours.
    ahead_ms: i64,
    /// Signs of life in a row whose clock was far from the middle one.
    off: u8,
}

impl Heard {
    /// Whether its clock is not to be believed. One sign of life that was long on its way says nothing.
    fn is_off(&self) -> bool {
        self.off >= CLOCK_OFF_LEASES
    }
}

/// Since when a member is known as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    raft_id: u64,
    generation: u64,
    is_down: bool,
    since_ms: u64,
}

/// The leases of all members.
#[derive(Debug, Default)]
pub(crate) struct LeaseTable {
    /// By identity in Raft: a wiped node that comes back under its name is somebody new, whose starts are counted afresh.
    heard: BTreeMap<u64, Heard>,
    known: BTreeMap<NodeName, Known>,
    /// When this node was awake last.
    awake_ms: Option<u64>,
}

impl LeaseTable {
    /// Takes note of a sign of life. `unix_ms` is this node's clock. Answers whether who leads anything may have changed.
    pub(crate) fn hear(&mut self, raft_id: u64, lease: &Lease, now_ms: u64, unix_ms: u64) -> bool {
        let before = self.heard.get(&raft_id);
        if before.is_some_and(|before| before.generation > lease.generation) {
            return false;
        }
        let is_news = before.is_none_or(|before| {
            before.generation != lease.generation
                || before.leads.is_empty() != lease.leads.is_empty()
                || before.at_ms + LEASE_MS <= now_ms
        });
        let ahead_ms = i64::try_from(i128::from(lease.unix_ms) - i128::from(unix_ms)).unwrap_or(i64::MAX);
        let was_off = before.is_some_and(Heard::is_off);
        let off = before.map_or(0, |before| before.off);
        let leads = lease.leads.clone();
        self.heard.insert(raft_id, Heard { generation: lease.generation, at_ms: now_ms, leads, ahead_ms, off });
        let far = self.heard.len() >= CLOCKS_MIN && ahead_ms.abs_diff(self.middle_ms()) > CLOCK_OFF_MAX_MS;
        let is_off = self.heard.get_mut(&raft_id).is_some_and(|heard| {
            heard.off = if far { heard.off.saturating_add(1) } else { 0 };
            heard.is_off()
        });
        if is_off != was_off {
            tracing::warn!(
                raft_id,
                ahead_ms,
                is_off,
                "a node's clock left the middle of all clocks, or came back to it"
            );
        }
        is_news || is_off != was_off
    }

    /// How far the middle one of all clocks is ahead of this node's, ms.
    fn middle_ms(&self) -> i64 {
        let mut ahead: Vec<i64> = self.heard.values().map(|heard| heard.ahead_ms).collect();
        ahead.sort_unstable();
        ahead.get(ahead.len() / 2).copied().unwrap_or(0)
    }

    /// This node is awake. Was it not for a while, nobody's silence meanwhile says anything: everybody who is not down gets a full
    /// lease.
    pub(crate) fn awake(&mut self, now_ms: u64) {
        let before = self.awake_ms.replace(now_ms);
        if before.is_some_and(|before| now_ms > before + AWAKE_MAX_MS) {
            tracing::warn!("this node was not awake for a while: everybody gets a new lease");
            self.known.values_mut().filter(|known| !known.is_down).for_each(|known| known.since_ms = now_ms);
        }
    }

    /// Takes note of the members as committed.
    pub(crate) fn look_at(&mut self, placement: &Placement, now_ms: u64) {
        self.awake(now_ms);
        let ids: BTreeSet<u64> = placement.members.values().map(|member| member.raft_id).collect();
        self.heard.retain(|raft_id, _| ids.contains(raft_id));
        self.known.retain(|name, _| placement.members.contains_key(name));
        for (name, member) in &placement.members {
            let (raft_id, generation, is_down) = (member.raft_id, member.generation, member.is_down());
            let is_same =
                |known: &Known| (known.raft_id, known.generation, known.is_down) == (raft_id, generation, is_down);
            if !self.known.get(name).is_some_and(is_same) {
                self.known.insert(name.clone(), Known { raft_id, generation, is_down, since_ms: now_ms });
            }
        }
    }

    /// The sign of life of this very start of a member, if any.
    fn lease_of(&self, member: &Member) -> Option<&Heard> {
        self.heard.get(&member.raft_id).filter(|heard| heard.generation == member.generation)
    }

    fn is_heard(&self, member: &Member, now_ms: u64) -> bool {
        self.lease_of(member).is_some_and(|heard| now_ms < heard.at_ms + LEASE_MS)
    }

    /// Whether a member is taken for alive; one that is not down has a lease from when it is first known.
    fn is_live(&self, name: &NodeName, member: &Member, now_ms: u64) -> bool {
        let known = self.known.get(name);
        let is_new = known.is_none_or(|known| now_ms < known.since_ms + LEASE_MS);
        self.is_heard(member, now_ms) || (is_new && !member.is_down())
    }

    /// The members whose lease runs.
    #[must_use]
    pub(crate) fn live(&self, placement: &Placement, now_ms: u64) -> BTreeSet<NodeName> {
        let live = placement.members.iter().filter(|(name, member)| self.is_live(name, member, now_ms));
        live.map(|(name, _)| name.clone()).collect()
    }

    /// The members that may be given something to lead: they live, and their clocks are near the middle one of all.
    #[must_use]
    pub(crate) fn trusted(&self, placement: &Placement, now_ms: u64) -> BTreeSet<NodeName> {
        let is_off = |name: &NodeName| {
            placement.members.get(name).and_then(|member| self.lease_of(member)).is_some_and(Heard::is_off)
        };
        self.live(placement, now_ms).into_iter().filter(|name| !is_off(name)).collect()
    }

    /// The members that said of themselves that they lead anything.
    #[must_use]
    pub(crate) fn leading(&self, placement: &Placement) -> BTreeSet<NodeName> {
        // One that has not said anything yet may lead.
        let leads = |member: &Member| self.lease_of(member).is_none_or(|heard| !heard.leads.is_empty());
        placement.members.iter().filter(|(_, member)| leads(member)).map(|(name, _)| name.clone()).collect()
    }

    /// What is to be declared now.
    #[must_use]
    pub(crate) fn verdicts(&self, placement: &Placement, now_ms: u64, replace_after_ms: u64) -> Vec<PlacementCommand> {
        placement.members.iter().filter_map(|entry| self.verdict(entry.0, entry.1, now_ms, replace_after_ms)).collect()
    }

    fn verdict(
        &self,
        name: &NodeName,
        member: &Member,
        now_ms: u64,
        replace_after_ms: u64,
    ) -> Option<PlacementCommand> {
        let (name, generation) = (name.clone(), member.generation);
        let is_heard = self.is_heard(member, now_ms);
        match member.state {
            MemberState::Joining | MemberState::Down(_) if is_heard => {
                Some(PlacementCommand::DeclareUp { name, generation })
            }
            MemberState::Down(Standing::Gone | Standing::Removing) => None,
            MemberState::Down(_) => {
                let since_ms = self.known.get(&name)?.since_ms;
                (now_ms >= since_ms.saturating_add(replace_after_ms))
                    .then_some(PlacementCommand::ReplaceGone { name, generation })
            }
            _ => (!self.is_live(&name, member, now_ms)).then_some(PlacementCommand::DeclareDown { name, generation }),
        }
    }

    /// When the next verdict may be due without anybody being heard.
    #[must_use]
    pub(crate) fn next_due_ms(&self, placement: &Placement, replace_after_ms: u64) -> Option<u64> {
        let due = placement.members.iter().filter_map(|(name, member)| {
            let known = self.known.get(name)?.since_ms;
            if member.is_down() {
                return Some(known.saturating_add(replace_after_ms));
            }
            let heard = self.lease_of(member).map_or(0, |heard| heard.at_ms);
            Some(heard.max(known) + LEASE_MS)
        });
        due.min()
    }

    /// What the middle one of all clocks shows while this node's shows `unix_ms`.
    #[must_use]
    pub(crate) fn median_unix_ms(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_add_signed(self.middle_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::{Newcomer, apply_placement};

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn newcomer(n: u64) -> Newcomer {
        Newcomer {
            name: name(&format!("n{n}")),
            raft_id: n,
            generation: 1,
            http: "h:1".into(),
            peer: "p:1".into(),
            version: "0".into(),
            rules: 1,
        }
    }

    fn three() -> Placement {
        let mut placement = Placement::default();
        let found =
            PlacementCommand::Found { cluster_id: "c".into(), partitions: 2, replication: 3, first: newcomer(1) };
        for command in [found, PlacementCommand::Admit(newcomer(2)), PlacementCommand::Admit(newcomer(3))] {
            apply_placement(&mut placement, &command).unwrap();
        }
        placement
    }

    fn lease(generation: u64, leads: &[u16]) -> Lease {
        Lease { generation, unix_ms: 1_000, epoch: 1, leads: leads.to_vec() }
    }

    fn carry_out(placement: &mut Placement, verdicts: &[PlacementCommand]) {
        for verdict in verdicts {
            apply_placement(placement, verdict).unwrap();
        }
    }

    #[test]
    fn who_joins_is_up_once_heard_and_down_after_a_full_lease_of_silence() {
        let (mut placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 100);
        assert_eq!(table.verdicts(&placement, 100, 1_000_000), []);
        table.hear(1, &lease(1, &[0]), 200, 1_000);
        table.hear(2, &lease(1, &[]), 300, 1_000);
        let up = PlacementCommand::DeclareUp { name: name("n2"), generation: 1 };
        let verdicts = table.verdicts(&placement, 300, 1_000_000);
        assert_eq!(verdicts, [up]);
        carry_out(&mut placement, &verdicts);
        table.look_at(&placement, 300);
        assert_eq!(table.next_due_ms(&placement, 1_000_000), Some(100 + LEASE_MS), "n3 was never heard");
        assert_eq!(table.verdicts(&placement, 99 + LEASE_MS, 1_000_000), []);
        let down = |n: &str| PlacementCommand::DeclareDown { name: name(n), generation: 1 };
        assert_eq!(table.verdicts(&placement, 100 + LEASE_MS, 1_000_000), [down("n3")]);
        assert_eq!(table.verdicts(&placement, 300 + LEASE_MS, 1_000_000), [down("n1"), down("n2"), down("n3")]);
    }

    #[test]
    fn a_node_whose_clock_is_off_lives_and_is_given_nothing_to_lead() {
        let (placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 0);
        let at = |unix_ms| Lease { unix_ms, ..lease(1, &[]) };
        let all: BTreeSet<NodeName> = ["n1", "n2", "n3"].map(name).into();
        for turn in 0..u64::from(CLOCK_OFF_LEASES) {
            assert_eq!(table.trusted(&placement, turn), all, "one that was long on its way says nothing");
            table.hear(1, &at(1_000), turn, 1_000);
            table.hear(2, &at(1_100), turn, 1_000);
            table.hear(3, &at(1_000 + CLOCK_OFF_MAX_MS + 200), turn, 1_000);
        }
        assert_eq!(table.trusted(&placement, 9), ["n1", "n2"].map(name).into());
        assert_eq!(table.live(&placement, 9), all);
        assert!(table.hear(3, &at(1_050), 9, 1_000), "that it is right again is news");
        assert_eq!(table.trusted(&placement, 9), all);
    }

    #[test]
    fn a_wiped_node_that_comes_back_under_its_name_is_heard_and_what_it_was_is_not() {
        let (mut placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 0);
        table.hear(3, &lease(8, &[]), 0, 1_000);
        let member = placement.members.get_mut(&name("n3")).unwrap();
        (member.raft_id, member.generation) = (33, 1);
        table.look_at(&placement, 10);
        assert!(table.hear(33, &lease(1, &[]), 20, 1_000), "its starts are counted afresh");
        table.hear(3, &lease(9, &[]), 30, 1_000);
        assert!(table.is_heard(&placement.members[&name("n3")], 30));
        placement.members.get_mut(&name("n3")).unwrap().raft_id = 333;
        assert!(!table.is_heard(&placement.members[&name("n3")], 30), "another one's sign of life");
    }

    #[test]
    fn who_slept_takes_nobody_s_silence_for_death() {
        let (placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 0);
        table.awake(AWAKE_MAX_MS);
        let now = 2 * LEASE_MS;
        table.look_at(&placement, now);
        let down = |verdict: &PlacementCommand| matches!(verdict, PlacementCommand::DeclareDown { .. });
        assert!(!table.verdicts(&placement, now, 1_000_000).iter().any(down), "it was not awake");
        (now..now + LEASE_MS).step_by(500).for_each(|ms| table.awake(ms));
        assert!(!table.verdicts(&placement, now + LEASE_MS - 1, 1_000_000).iter().any(down));
        assert!(table.verdicts(&placement, now + LEASE_MS, 1_000_000).iter().any(down), "it was");
    }

    #[test]
    fn a_new_leader_gives_everybody_a_full_lease_and_a_new_start_gets_one_too() {
        let (mut placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 1_000_000);
        assert_eq!(table.live(&placement, 1_000_000).len(), 3);
        table.hear(1, &lease(1, &[]), 1_000_000 + LEASE_MS, 1_000);
        let restarted = Newcomer { generation: 2, ..newcomer(1) };
        apply_placement(&mut placement, &PlacementCommand::Admit(restarted)).unwrap();
        let now = 1_000_000 + LEASE_MS + 10;
        table.look_at(&placement, now);
        assert!(table.live(&placement, now).contains(&name("n1")), "the lease of its earlier start is not its own");
        assert!(!table.live(&placement, now + LEASE_MS).contains(&name("n1")));
        assert!(!table.hear(1, &lease(1, &[]), now, 1_000) || !table.is_heard(&placement.members[&name("n1")], now));
    }

    #[test]
    fn a_dead_node_is_replaced_after_its_time_and_heard_again_it_is_up() {
        let (mut placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 0);
        let down = PlacementCommand::DeclareDown { name: name("n1"), generation: 1 };
        apply_placement(&mut placement, &down).unwrap();
        table.look_at(&placement, 7);
        let replace = PlacementCommand::ReplaceGone { name: name("n1"), generation: 1 };
        assert!(!table.verdicts(&placement, 1_006, 1_000).contains(&replace));
        assert!(table.verdicts(&placement, 1_007, 1_000).contains(&replace));
        table.hear(1, &lease(1, &[]), 1_008, 1_000);
        let up = PlacementCommand::DeclareUp { name: name("n1"), generation: 1 };
        assert!(table.verdicts(&placement, 1_008, 1_000).contains(&up));
    }

    #[test]
    fn who_leads_and_the_median_clock_are_told_from_what_was_heard() {
        let (placement, mut table) = (three(), LeaseTable::default());
        table.look_at(&placement, 0);
        assert_eq!(table.leading(&placement).len(), 3, "silence is no proof of leading nothing");
        for (n, unix_ms, leads) in [(1, 1_000, &[0_u16][..]), (2, 9_000, &[]), (3, 1_010, &[])] {
            let lease = Lease { unix_ms, ..lease(1, leads) };
            table.hear(n, &lease, 1, 1_000);
        }
        assert_eq!(table.leading(&placement), BTreeSet::from([name("n1")]));
        assert_eq!(table.median_unix_ms(1_000), 1_010);
    }
}
