//! Which faults come when: rounds of one fault, or of two that overlap, drawn from a seed. The same seed, the same rounds.

use super::Kind;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Quiet before a round, ms: at least and at most.
const REST_MS: (u64, u64) = (800, 3_000);
/// How much longer than its kind demands a fault may last, ms.
const JITTER_MS: u64 = 2_000;

/// A fault to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub kind: Kind,
    /// Picks the victim.
    pub draw: u64,
    /// How long it lasts, ms.
    pub hold_ms: u64,
}

/// Faults that are under way together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Quiet before it, ms.
    pub rest_ms: u64,
    /// One, or two of which the second begins in the midst of the first.
    pub steps: Vec<Step>,
}

/// Passes over all kinds, each in an order of its own.
#[derive(Debug)]
pub struct Schedule {
    kinds: Vec<Kind>,
    overlap: bool,
    rng: ChaCha8Rng,
}

impl Schedule {
    /// Of these kinds.
    #[must_use]
    pub fn new(kinds: &[Kind], overlap: bool, seed: u64) -> Self {
        Self { kinds: kinds.to_vec(), overlap, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next pass: each kind once.
    pub fn pass(&mut self) -> Vec<Round> {
        let mut kinds = self.kinds.clone();
        kinds.shuffle(&mut self.rng);
        let mut rounds: Vec<Round> = Vec::new();
        for kind in kinds {
            let hold_ms = kind.hold_ms() + self.rng.random_range(0..JITTER_MS);
            let step = Step { kind, draw: self.rng.random(), hold_ms };
            let joins = |round: &&mut Round| round.steps.len() == 1 && kind.overlaps(round.steps[0].kind);
            match rounds.last_mut().filter(joins) {
                Some(round) if self.overlap => round.steps.push(step),
                _ => {
                    let rest_ms = self.rng.random_range(REST_MS.0..REST_MS.1);
                    rounds.push(Round { rest_ms, steps: vec![step] });
                }
            }
        }
        rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(overlap: bool, seed: u64) -> Vec<Round> {
        Schedule::new(&Kind::all().collect::<Vec<_>>(), overlap, seed).pass()
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_another_gives_others() {
        assert_eq!(all(true, 7), all(true, 7));
        assert_ne!(all(true, 7), all(true, 8));
    }

    #[test]
    fn every_kind_comes_once_a_pass_and_lasts_as_long_as_it_must() {
        let rounds = all(false, 3);
        assert!(rounds.iter().all(|round| round.steps.len() == 1));
        let steps = rounds.iter().flat_map(|round| &round.steps);
        assert!(steps.clone().all(|step| step.hold_ms >= step.kind.hold_ms()));
        assert_eq!(steps.map(|step| step.kind).collect::<BTreeSet<_>>().len(), Kind::all().count());
    }

    #[test]
    fn faults_overlap_when_asked_but_never_those_that_need_the_cluster_for_themselves() {
        let mut pairs = 0;
        for round in (0..50).flat_map(|seed| all(true, seed)).filter(|round| round.steps.len() > 1) {
            let [first, second] = round.steps[..] else { panic!("more than two: {round:?}") };
            let network = |step: Step| step.kind.need() == Some(super::super::Need::Network);
            assert!(!first.kind.is_alone() && !second.kind.is_alone(), "{round:?}");
            assert!(!(network(first) && network(second)), "{round:?}");
            pairs += 1;
        }
        assert!(pairs > 100, "{pairs}");
    }
}
