//! Who should lead which partition: as evenly as the voters allow, moving few.
//!
//! An even choice is one in which no chain of hand-overs leads from a node to another that leads two fewer; such a choice
//! has the least maximum and the greatest minimum of all choices. Chains are looked for shortest first, from the choice
//! that stands, so that few leaderships move.

use alloc::{collections::VecDeque, vec, vec::Vec};

/// Chooses a leader for each partition among its `candidates` (indices below `nodes`), starting from `current`. `None` only
/// where there is no candidate.
pub(super) fn choose(nodes: usize, candidates: &[Vec<usize>], current: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut chosen: Vec<Option<usize>> = candidates
        .iter()
        .zip(current)
        .map(|(candidates, leader)| leader.filter(|leader| candidates.contains(leader)))
        .collect();
    let mut load = vec![0usize; nodes];
    for leader in chosen.iter().flatten() {
        load[*leader] += 1;
    }
    for (leader, candidates) in chosen.iter_mut().zip(candidates) {
        if leader.is_none() {
            *leader = candidates.iter().copied().min_by_key(|node| (load[*node], *node));
            if let Some(node) = leader {
                load[*node] += 1;
            }
        }
    }
    while let Some(chain) = shortest_chain(&load, candidates, &chosen) {
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        load[first.from] -= 1;
        load[last.to] += 1;
        for step in chain {
            chosen[step.partition] = Some(step.to);
        }
    }
    chosen
}

/// One hand-over.
#[derive(Debug, Clone, Copy)]
struct Step {
    partition: usize,
    from: usize,
    to: usize,
}

/// The shortest chain from the most loaded node that has one to a node that leads two fewer.
fn shortest_chain(load: &[usize], candidates: &[Vec<usize>], chosen: &[Option<usize>]) -> Option<Vec<Step>> {
    let mut led: Vec<Vec<usize>> = vec![Vec::new(); load.len()];
    for (partition, leader) in chosen.iter().enumerate() {
        if let Some(node) = leader {
            led[*node].push(partition);
        }
    }
    let mut sources: Vec<usize> = (0..load.len()).filter(|node| load[*node] >= 2).collect();
    sources.sort_by_key(|node| core::cmp::Reverse(load[*node]));
    sources.into_iter().find_map(|source| chain_from(source, load, candidates, &led))
}

fn chain_from(source: usize, load: &[usize], candidates: &[Vec<usize>], led: &[Vec<usize>]) -> Option<Vec<Step>> {
    let mut came_by: Vec<Option<Step>> = vec![None; load.len()];
    let mut queue = VecDeque::from([source]);
    while let Some(from) = queue.pop_front() {
        for &partition in &led[from] {
            for &to in &candidates[partition] {
                if to == source || came_by[to].is_some() {
                    continue;
                }
                came_by[to] = Some(Step { partition, from, to });
                if load[to] + 2 <= load[source] {
                    return Some(trace(to, &came_by));
                }
                queue.push_back(to);
            }
        }
    }
    None
}

/// The chain that ends at `to`, first hand-over first.
fn trace(to: usize, came_by: &[Option<Step>]) -> Vec<Step> {
    let mut chain = Vec::new();
    let mut at = to;
    while let Some(step) = came_by[at] {
        chain.push(step);
        at = step.from;
    }
    chain.reverse();
    chain
}
