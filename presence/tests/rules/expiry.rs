//! A setting clears itself at its time, and only if it is still the one that was given that time.

use crate::{
    deed::{Deed, Wish, any_history},
    world::World,
};
use proptest::prelude::*;
use rollcall_presence::{Intent, Setting};

proptest! {
    #[test]
    fn an_expiry_clears_the_setting_that_it_was_set_for_and_no_other(history in any_history(), late in any::<bool>()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let set = done.after.known().setting;
            if let (Intent::PutStatus { expires_in_s, .. }, None) = (&done.command.intent, &done.command.key) {
                prop_assert_eq!(set.expires_at, expires_in_s.map(|s| done.outcome.at + s * 1_000));
            }
            let expire = |world: &World, due| {
                let mut world = world.clone();
                world.act(&Deed { user: deed.user, after_ms: i64::from(late), key: None, wish: Wish::Expire { due } })
            };
            prop_assert_eq!(expire(&world, false).after, done.after.clone(), "replaced meanwhile");
            let expired = expire(&world, true).after.known().setting;
            prop_assert_eq!(expired, if set.expires_at.is_some() { Setting::automatic() } else { set });
        }
    }
}
