//! A request under an idempotency key has one effect and one answer; another under the same key has none.

use crate::{
    deed::{Deed, Wish, any_history, history_of, key, living, wish},
    world::{TERM, World},
};
use proptest::prelude::*;
use rollcall_presence::{
    Answer, Command, Intent, KeyTable, Refusal,
    idempotency::Known,
    limits::{KEY_LIFETIME_MS, KEYS_MAX},
};

/// A key that no random history uses.
const KEY: u8 = 200;

/// The world without its time: what a command without effect leaves alone.
fn timeless(world: &World) -> World {
    let mut world = world.clone();
    world.ledger.now = 0;
    world.clock = 0;
    world
}

fn keyed(user: usize, wish: &Wish, digest: u8) -> Deed {
    Deed { user, after_ms: 10, key: Some((KEY, digest)), wish: wish.clone() }
}

proptest! {
    #[test]
    fn a_repeated_request_has_one_effect_and_one_answer(
        before in any_history(),
        user in 0..3usize,
        request in wish(),
        between in history_of(living(), false),
    ) {
        let mut world = World::new();
        for deed in &before {
            world.act(deed);
        }
        world.clock = world.clock.max(world.ledger.now);
        let first = world.act(&keyed(user, &request, 1));
        let first_at = first.outcome.at;
        for deed in between.iter().filter(|d| d.after_ms > 0) {
            if world.clock + 31_000 < first_at + KEY_LIFETIME_MS {
                world.act(deed);
            }
        }
        let as_it_was = timeless(&world);
        let again = world.take(user, Command { at: world.clock, ..first.command.clone() });
        prop_assert_eq!(&again.outcome.answer, &first.outcome.answer);
        prop_assert_eq!(&timeless(&world), &as_it_was);
        prop_assert!(again.outcome.rows.is_empty() && again.outcome.presence.is_none());
        let other = world.act(&keyed(user, &request, 2));
        prop_assert_eq!(other.outcome.answer, Err(Refusal::KeyReused));
        prop_assert_eq!(&timeless(&world), &as_it_was);
    }

    #[test]
    fn a_key_is_forgotten_after_ten_minutes(user in 0..3usize, request in living(), early_ms in 1..1_000u64) {
        let mut world = World::new();
        let first = world.act(&keyed(user, &request, 1));
        let reused = |world: &mut World, at| {
            let intent = Intent::ClearStatus;
            let command = Command { at, key: Some(key((KEY, 2))), intent, ..first.command.clone() };
            world.take(user, command).outcome.answer == Err(Refusal::KeyReused)
        };
        let end = first.outcome.at + KEY_LIFETIME_MS;
        prop_assert!(reused(&mut world.clone(), end - early_ms));
        prop_assert!(!reused(&mut world, end));
    }
}

#[test]
fn the_latest_sixteen_keys_are_remembered() {
    let mut keys = KeyTable::default();
    for name in 0..=u8::try_from(KEYS_MAX).unwrap() {
        keys.remember(&key((name, 1)), u64::from(name), Ok(Answer::Total(u32::from(name))));
    }
    assert_eq!(keys.look_up(&key((0, 1)), 20), Known::New);
    for name in 1..=u8::try_from(KEYS_MAX).unwrap() {
        let Known::Repeated(answer) = keys.look_up(&key((name, 1)), 20) else { panic!("{name} is forgotten") };
        assert_eq!(*answer, Ok(Answer::Total(u32::from(name))));
        assert_eq!(keys.look_up(&key((name, 2)), 20), Known::Reused);
    }
}

#[test]
fn a_deletion_repeated_under_its_key_spares_the_user_who_returned() {
    let mut world = World::new();
    let open = Intent::OpenSession {
        session: crate::deed::session(1),
        device: crate::deed::device(0),
        activity: rollcall_presence::Activity::Active,
        kind: rollcall_presence::SessionKind::Http,
        held_by: None,
        resume_hash: None,
    };
    let plain = |intent: &Intent| Deed { user: 0, after_ms: 10, key: None, wish: Wish::Plain(intent.clone()) };
    world.act(&plain(&open));
    let deletion = world.act(&keyed(0, &Wish::Plain(Intent::DeleteUser), 1));
    assert!(deletion.outcome.deleted);
    world.act(&plain(&open));
    let again = world.take_in_term(TERM, 0, deletion.command);
    assert_eq!(again.outcome.answer, Ok(Answer::Done));
    assert!(!again.outcome.deleted && world.users[0].record.is_some());
}
