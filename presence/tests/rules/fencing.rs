//! A command of another term has no effect, and time never falls.

use crate::{
    deed::any_history,
    world::{TERM, World},
};
use proptest::prelude::*;
use rollcall_presence::{Command, Refusal};

proptest! {
    #[test]
    fn a_command_of_another_term_has_no_effect(history in any_history(), made in 0..20u64) {
        prop_assume!(made != TERM);
        let mut world = World::new();
        for deed in &history {
            world.act(deed);
            let as_it_was = world.clone();
            let command = Command { term: made, at: world.clock + 1_000, ..world.command(deed, world.clock) };
            let done = world.take(deed.user, command);
            prop_assert_eq!(done.outcome.answer, Err(Refusal::Fenced { made, applied: TERM }));
            prop_assert_eq!(&world, &as_it_was, "time included");
        }
    }

    #[test]
    fn time_and_revision_never_fall_whatever_clocks_say(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let before = world.ledger;
            let done = world.act(deed);
            prop_assert_eq!(done.outcome.at, before.now.max(done.command.at));
            prop_assert_eq!(done.outcome.at, world.ledger.now);
            prop_assert_eq!(done.outcome.revision, world.ledger.revision);
            let effect = done.outcome.record_changed || done.outcome.keys_changed || done.outcome.deleted;
            prop_assert_eq!(world.ledger.revision, before.revision + u64::from(effect));
        }
    }
}
