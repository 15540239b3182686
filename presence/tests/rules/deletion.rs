//! A deleted user is gone, and one who returns starts afresh at higher versions.

use crate::{
    deed::{Deed, Wish, any_history, history_of, living, user},
    world::{Stored, World},
};
use proptest::prelude::*;
use rollcall_presence::{Answer, Intent, PublicPresence, limits::KEY_LIFETIME_MS};

#[test]
fn the_key_of_a_deletion_goes_once_it_has_expired() {
    let mut world = World::new();
    let wish = |intent| Wish::Plain(intent);
    world.act(&Deed { user: 0, after_ms: 1, key: None, wish: wish(Intent::ClearStatus) });
    world.act(&Deed { user: 0, after_ms: 1, key: Some((1, 1)), wish: wish(Intent::DeleteUser) });
    assert!(!world.users[0].keys.is_empty());
    let tidied = |world: &mut World, after_ms: i64| {
        world.act(&Deed { user: 0, after_ms, key: None, wish: wish(Intent::DropExpired) });
        world.users[0] == Stored::default()
    };
    let lifetime_ms = i64::try_from(KEY_LIFETIME_MS).unwrap();
    assert!(!tidied(&mut world, lifetime_ms - 1), "it must be answered as before until then");
    assert!(tidied(&mut world, 1));
}

proptest! {
    #[test]
    fn a_deleted_user_is_gone_and_returns_at_higher_versions(
        before in any_history(),
        who in 0..3usize,
        after in history_of(living(), false),
    ) {
        let mut world = World::new();
        for deed in &before {
            world.act(deed);
        }
        let stored = world.users[who].clone();
        let done = world.act(&Deed { user: who, after_ms: 1, key: None, wish: Wish::Plain(Intent::DeleteUser) });
        prop_assert_eq!(done.outcome.answer, Ok(Answer::Done));
        prop_assert_eq!(done.outcome.deleted, stored.record.is_some());
        let sessions: Vec<_> = stored.known().sessions.into_iter().map(|s| s.id).collect();
        prop_assert_eq!(done.outcome.ended, sessions);
        if stored.record.is_some() {
            prop_assert_eq!(&world.users[who], &Stored::default());
        }
        prop_assert_eq!(
            PublicPresence::of(&user(who), &world.users[who].known()),
            PublicPresence::never_seen(user(who))
        );
        let highest = world.ledger.revision;
        for deed in after.iter().filter(|d| d.user == who) {
            let version = world.act(deed).shown_after().version;
            prop_assert!(version == 0 || version > highest);
            prop_assert!(stored.known().shown.version <= highest);
        }
    }
}
