//! Who votes in the placement group itself; every other member follows as a learner.

use super::member::{Member, MemberState};
use crate::{id::NodeName, limits::PLACEMENT_VOTERS_MAX};
use alloc::{collections::BTreeMap, vec::Vec};

/// The voters that the placement group should have, sorted: one, three or five of the members that stay.
///
/// Those of `current` keep their vote; one that is down loses it only to a member that is up. Being down alone never
/// makes the group smaller, so a death takes no majority away.
#[must_use]
pub fn placement_voters(members: &BTreeMap<NodeName, Member>, current: &[NodeName]) -> Vec<NodeName> {
    let rank = |(name, member): &(&NodeName, &Member)| match (current.contains(name), member.state) {
        (true, _) if !member.keeps() => None,
        (true, _) if !member.is_down() => Some(0),
        (true, _) => Some(2),
        (false, MemberState::Up) => Some(1),
        (false, _) => None,
    };
    let mut ranked: Vec<(u8, &NodeName)> =
        members.iter().filter_map(|entry| rank(&entry).map(|rank| (rank, entry.0))).collect();
    ranked.sort_unstable();
    let most = ranked.len().min(PLACEMENT_VOTERS_MAX);
    ranked.truncate(most.saturating_sub(usize::from(most.is_multiple_of(2))));
    let mut voters: Vec<NodeName> = ranked.into_iter().map(|(_, name)| name.clone()).collect();
    voters.sort_unstable();
    voters
}
