//! The placement's step: the only place where it changes.
//!
//! Relies on nothing but its arguments; promises that the same arguments give the same result on every replica, that a
//! refused command touches nothing, and that a command which comes twice does no more than once.

use super::{
    assignment::{Assignment, Target},
    command::{Newcomer, PlacementCommand, PlacementRefusal as Refusal},
    member::{Member, MemberState, Standing},
    state::{Placement, majority},
};
use crate::{
    id::NodeName,
    limits::{ADDRESS_MAX_BYTES, CLUSTER_ID_MAX_BYTES, MEMBERS_MAX, PARTITIONS_MAX, VERSION_MAX_BYTES},
    ring::PartitionId,
};
use alloc::{borrow::ToOwned, vec, vec::Vec};
use bincode::{Decode, Encode};

/// What a command that was not refused did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Applied {
    /// It changed the placement; the epoch rose.
    Changed = 0,
    /// Everything was as it asks already.
    Unchanged = 1,
}

type Step = Result<Applied, Refusal>;

/// Applies `command` to `placement`.
///
/// # Errors
/// [`PlacementRefusal`](Refusal) when the command makes no sense as things are; nothing was touched then.
pub fn apply_placement(placement: &mut Placement, command: &PlacementCommand) -> Step {
    use PlacementCommand as C;
    if !placement.is_founded() && !matches!(command, C::Found { .. }) {
        return Err(Refusal::NotFounded);
    }
    let applied = match command {
        C::Found { cluster_id, partitions, replication, first } => {
            found(placement, cluster_id, *partitions, *replication, first)
        }
        C::Admit(newcomer) => admit(placement, newcomer),
        C::DeclareDown { name, generation } => declare_down(placement, name, *generation),
        C::DeclareUp { name, generation } => declare_up(placement, name, *generation),
        C::Drain { name } => drain(placement, name),
        C::FinishDrain { name } => finish_drain(placement, name),
        C::Remove { name } => remove(placement, name),
        C::Forget { name } => forget(placement, name),
        C::ReplaceGone { name, generation } => replace_gone(placement, name, *generation),
        C::Begin { partition, voters, learners } => begin(placement, *partition, voters, learners),
        C::Cancel { partition, change } => cancel(placement, *partition, *change),
        C::Reached { partition, change, voters, learners } => reached(placement, *partition, *change, voters, learners),
        C::PreferLeader { partition, node } => prefer_leader(placement, *partition, node),
        C::Salvage { cluster_id, name } => salvage(placement, cluster_id, name),
    }?;
    if applied == Applied::Changed {
        placement.epoch += 1;
        let known_to_all = placement.members.values().map(|member| member.rules).min();
        placement.rules = placement.rules.max(known_to_all.unwrap_or(0));
    }
    Ok(applied)
}

fn found(placement: &mut Placement, cluster_id: &str, partitions: u16, replication: u8, first: &Newcomer) -> Step {
    if placement.is_founded() {
        let same = placement.cluster_id == cluster_id
            && placement.members.get(&first.name).is_some_and(|member| member.raft_id == first.raft_id);
        return if same { Ok(Applied::Unchanged) } else { Err(Refusal::AlreadyFounded(placement.cluster_id.clone())) };
    }
    let bounded = (1..=CLUSTER_ID_MAX_BYTES).contains(&cluster_id.len()) && (1..=PARTITIONS_MAX).contains(&partitions);
    if !bounded || !matches!(replication, 1 | 3) {
        return Err(Refusal::BadCluster);
    }
    check_form(first)?;
    let kept =
        Assignment { voters: vec![first.name.clone()], leader: Some(first.name.clone()), ..Assignment::default() };
    cluster_id.clone_into(&mut placement.cluster_id);
    placement.replication = replication;
    placement.members.insert(first.name.clone(), member_of(first, MemberState::Up));
    placement.partitions = vec![kept; usize::from(partitions)];
    Ok(Applied::Changed)
}

fn salvage(placement: &mut Placement, cluster_id: &str, name: &NodeName) -> Step {
    if !(1..=CLUSTER_ID_MAX_BYTES).contains(&cluster_id.len()) {
        return Err(Refusal::BadCluster);
    }
    let mut left = member(placement, name)?.clone();
    if placement.cluster_id == cluster_id {
        return Ok(Applied::Unchanged);
    }
    left.state = MemberState::Up;
    let kept = Assignment { voters: vec![name.clone()], leader: Some(name.clone()), ..Assignment::default() };
    cluster_id.clone_into(&mut placement.cluster_id);
    placement.members.clear();
    placement.members.insert(name.clone(), left);
    placement.partitions.fill(kept);
    Ok(Applied::Changed)
}

fn is_address(text: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    text.len() <= ADDRESS_MAX_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.rsplit_once(':').is_some_and(|(host, end)| !host.is_empty() && port(end))
}

fn check_form(newcomer: &Newcomer) -> Result<(), Refusal> {
    for address in [&newcomer.http, &newcomer.peer] {
        if !is_address(address) {
            // A hostile text is not carried further than an address may be long.
            return Err(Refusal::BadAddress(address.chars().take(ADDRESS_MAX_BYTES).collect()));
        }
    }
    if (1..=VERSION_MAX_BYTES).contains(&newcomer.version.len()) { Ok(()) } else { Err(Refusal::BadVersion) }
}

fn member_of(newcomer: &Newcomer, state: MemberState) -> Member {
    Member {
        raft_id: newcomer.raft_id,
        generation: newcomer.generation,
        http: newcomer.http.clone(),
        peer: newcomer.peer.clone(),
        version: newcomer.version.clone(),
        rules: newcomer.rules,
        state,
    }
}

fn admit(placement: &mut Placement, newcomer: &Newcomer) -> Step {
    check_form(newcomer)?;
    let known = placement.members.get(&newcomer.name);
    let state = match known {
        Some(member) if member.raft_id != newcomer.raft_id => {
            return Err(Refusal::NameInUse { name: newcomer.name.clone() });
        }
        Some(member) if *member == member_of(newcomer, member.state) => return Ok(Applied::Unchanged),
        Some(member) if newcomer.generation <= member.generation => {
            return Err(Refusal::OldGeneration { known: member.generation, offered: newcomer.generation });
        }
        Some(member) => member.restarted(),
        None => {
            let twin = placement.members.iter().find(|(_, member)| member.raft_id == newcomer.raft_id);
            if let Some((name, _)) = twin {
                return Err(Refusal::IdentityInUse { name: name.clone() });
            }
            if placement.members.len() >= MEMBERS_MAX {
                return Err(Refusal::TooManyMembers);
            }
            MemberState::Joining
        }
    };
    // What is stored and sent is at `rules`: an older program cannot read it, and one knows the rules one before its own.
    if newcomer.rules < placement.rules || newcomer.rules > placement.rules.saturating_add(1) {
        return Err(Refusal::IncompatibleRules { ours: placement.rules, offered: newcomer.rules });
    }
    placement.members.insert(newcomer.name.clone(), member_of(newcomer, state));
    Ok(Applied::Changed)
}

fn member<'a>(placement: &'a Placement, name: &NodeName) -> Result<&'a Member, Refusal> {
    placement.members.get(name).ok_or_else(|| Refusal::UnknownMember(name.clone()))
}

fn member_in<'a>(placement: &'a Placement, name: &NodeName, generation: u64) -> Result<&'a Member, Refusal> {
    let member = member(placement, name)?;
    let known = member.generation;
    if known == generation { Ok(member) } else { Err(Refusal::OtherGeneration { known, named: generation }) }
}

fn set_state(placement: &mut Placement, name: &NodeName, state: MemberState) -> Step {
    let member = placement.members.get_mut(name).ok_or_else(|| Refusal::UnknownMember(name.clone()))?;
    if member.state == state {
        return Ok(Applied::Unchanged);
    }
    member.state = state;
    Ok(Applied::Changed)
}

fn declare_down(placement: &mut Placement, name: &NodeName, generation: u64) -> Step {
    let standing = member_in(placement, name, generation)?.standing();
    set_state(placement, name, MemberState::Down(standing))
}

fn declare_up(placement: &mut Placement, name: &NodeName, generation: u64) -> Step {
    let state = member_in(placement, name, generation)?.heard();
    set_state(placement, name, state)
}

fn drain(placement: &mut Placement, name: &NodeName) -> Step {
    let state = match member(placement, name)?.state {
        MemberState::Joining | MemberState::Up => MemberState::Draining,
        MemberState::Down(Standing::Joining | Standing::Staying) => MemberState::Down(Standing::Draining),
        // Draining already, or handing over more than a drain does.
        state => state,
    };
    set_state(placement, name, state)
}

fn finish_drain(placement: &mut Placement, name: &NodeName) -> Step {
    match member(placement, name)?.state {
        MemberState::Drained => Ok(Applied::Unchanged),
        MemberState::Draining if placement.partitions.iter().any(|at| at.leader.as_ref() == Some(name)) => {
            Err(Refusal::StillNeeded(name.clone()))
        }
        MemberState::Draining => set_state(placement, name, MemberState::Drained),
        _ => Err(Refusal::OtherState(name.clone())),
    }
}

fn remove(placement: &mut Placement, name: &NodeName) -> Step {
    let leaving = member(placement, name)?;
    if leaving.is_removing() {
        return Ok(Applied::Unchanged);
    }
    let others_take = placement.members.iter().any(|(other, member)| other != name && member.takes());
    let is_last = |at: &Assignment| {
        let hosts_it = at.is_hosted_by(name);
        // A lone voter hands over what it keeps while it lives; of several, one more must live.
        let can_hand_over = match &at.voters[..] {
            [only] if only == name => !leaving.is_down(),
            _ => at.hosts().any(|host| host != name && placement.is_up(host)),
        };
        hosts_it && !(others_take && can_hand_over)
    };
    if placement.partitions.iter().any(is_last) {
        return Err(Refusal::LastReplica(name.clone()));
    }
    let state = if leaving.is_down() { MemberState::Down(Standing::Removing) } else { MemberState::Removing };
    set_state(placement, name, state)
}

fn forget(placement: &mut Placement, name: &NodeName) -> Step {
    if !member(placement, name)?.is_removing() {
        return Err(Refusal::OtherState(name.clone()));
    }
    if placement.partitions.iter().any(|at| at.is_hosted_by(name)) {
        return Err(Refusal::StillNeeded(name.clone()));
    }
    placement.members.remove(name);
    Ok(Applied::Changed)
}

fn replace_gone(placement: &mut Placement, name: &NodeName, generation: u64) -> Step {
    let gone = member_in(placement, name, generation)?;
    match gone.state {
        MemberState::Down(Standing::Gone | Standing::Removing) => return Ok(Applied::Unchanged),
        MemberState::Down(_) => {}
        _ => return Err(Refusal::OtherState(name.clone())),
    }
    // Two of three replicas are worth more than one of one: without a substitute the seat stays the absent node's.
    let remaining = placement.members.iter().filter(|(other, member)| *other != name && member.keeps()).count();
    if gone.keeps() && remaining < usize::from(placement.replication) {
        return Err(Refusal::TooFewRemain(name.clone()));
    }
    set_state(placement, name, MemberState::Down(Standing::Gone))
}

fn assignment(placement: &mut Placement, partition: PartitionId) -> Result<&mut Assignment, Refusal> {
    placement.partitions.get_mut(usize::from(partition.0)).ok_or(Refusal::UnknownPartition(partition))
}

fn sorted(nodes: &[NodeName]) -> Vec<NodeName> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    nodes
}

fn begin(placement: &mut Placement, partition: PartitionId, voters: &[NodeName], learners: &[NodeName]) -> Step {
    let (voters, learners) = (sorted(voters), sorted(learners));
    let at = placement.assignment(partition).ok_or(Refusal::UnknownPartition(partition))?;
    if at.wanted() == (&voters[..], &learners[..]) {
        return Ok(Applied::Unchanged);
    }
    if at.target.is_some() {
        return Err(Refusal::ChangeUnderWay(partition));
    }
    let is_repeated = |nodes: &[NodeName]| nodes.windows(2).any(|pair| pair[0] == pair[1]);
    let is_both = voters.iter().any(|voter| learners.contains(voter));
    let kept = voters.iter().filter(|voter| at.voters.contains(voter)).count();
    // Of three voters two stay, so that every majority of before meets every majority of after.
    let is_too_far = at.voters.len() == 3 && voters.len() == 3 && kept < 2;
    if !matches!(voters.len(), 1 | 3) || learners.len() > 1 || is_both || is_repeated(&voters) || is_too_far {
        return Err(Refusal::BadTarget(partition));
    }
    for node in voters.iter().chain(&learners) {
        let is_there = at.voters.contains(node) || at.learners.contains(node);
        if !member(placement, node)?.takes() && !is_there {
            return Err(Refusal::OtherState(node.clone()));
        }
    }
    for voters in [&at.voters, &voters] {
        if voters.iter().filter(|voter| placement.is_up(voter)).count() < majority(voters.len()) {
            return Err(Refusal::NoMajority(partition));
        }
    }
    let change = placement.epoch + 1;
    assignment(placement, partition)?.target = Some(Target { change, voters, learners });
    Ok(Applied::Changed)
}

fn cancel(placement: &mut Placement, partition: PartitionId, change: u64) -> Step {
    let next = placement.epoch + 1;
    let at = assignment(placement, partition)?;
    let departing: Vec<NodeName> = at.incoming().cloned().collect();
    let is_given_up = at.wanted() == (&at.voters[..], &at.learners[..]);
    match &mut at.target {
        Some(target) if target.change == change && !is_given_up => {
            at.departing = departing;
            *target = Target { change: next, voters: at.voters.clone(), learners: at.learners.clone() };
            Ok(Applied::Changed)
        }
        _ => Err(Refusal::NotAsked(partition)),
    }
}

fn reached(
    placement: &mut Placement,
    partition: PartitionId,
    change: u64,
    voters: &[NodeName],
    learners: &[NodeName],
) -> Step {
    let (voters, learners) = (sorted(voters), sorted(learners));
    let at = placement.assignment(partition).ok_or(Refusal::UnknownPartition(partition))?;
    let is_asked = at.target.as_ref().is_some_and(|target| target.change == change);
    let as_wanted = at.wanted() == (&voters[..], &learners[..]);
    if !as_wanted || (at.target.is_some() && !is_asked) {
        return Err(Refusal::NotAsked(partition));
    }
    if at.target.is_none() {
        return Ok(Applied::Unchanged);
    }
    let sole = if let [only] = &voters[..] { Some(only) } else { None };
    let sole = sole.filter(|only| placement.members.get(*only).is_some_and(Member::takes)).cloned();
    let at = assignment(placement, partition)?;
    if at.leader.as_ref().is_none_or(|leader| !voters.contains(leader)) {
        at.leader = sole;
    }
    (at.voters, at.learners) = (voters, learners);
    at.target = None;
    at.departing.clear();
    Ok(Applied::Changed)
}

fn prefer_leader(placement: &mut Placement, partition: PartitionId, node: &NodeName) -> Step {
    let may_lead = member(placement, node)?.takes();
    let at = assignment(placement, partition)?;
    if !may_lead || !at.voters.contains(node) {
        return Err(Refusal::CannotLead(node.clone()));
    }
    if at.leader.as_ref() == Some(node) {
        return Ok(Applied::Unchanged);
    }
    at.leader = Some(node.clone());
    Ok(Applied::Changed)
}
