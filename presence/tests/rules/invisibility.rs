//! Turning invisible cannot be told from signing off, and nothing done while invisible shows.

use crate::{
    deed::{Deed, Wish, hidden, history_of, living, put_privacy, user},
    world::World,
};
use proptest::{collection::vec, prelude::*};
use rollcall_presence::{EndCause, Intent, ManualStatus, Meta, PublicPresence, SessionId, codec};

const ALICE: usize = 0;

fn deed(wish: Wish) -> Deed {
    Deed { user: ALICE, after_ms: 0, key: None, wish }
}

fn shown(world: &World) -> Vec<u8> {
    codec::encode(&PublicPresence::of(&user(ALICE), &world.users[ALICE].known()))
}

fn turn_invisible(world: &mut World) {
    let intent =
        Intent::PutStatus { status: ManualStatus::Invisible, text: None, meta: Meta::empty(), expires_in_s: None };
    world.act(&deed(Wish::Plain(intent)));
}

/// Closes every session at this moment; the last one at the revision that turning invisible would get.
fn sign_off(world: &mut World) {
    let sessions: Vec<SessionId> = world.users[ALICE].known().sessions.iter().map(|s| s.id.clone()).collect();
    let revision = world.ledger.revision;
    for session in sessions {
        world.ledger.revision = revision;
        let intent = Intent::EndSession { session, attachment: None, cause: EndCause::Closed, heard_at: 0 };
        world.act(&deed(Wish::Plain(intent)));
    }
}

/// What happens after it: hidden deeds in the invisible world, changes of privacy in both.
fn afterwards() -> impl Strategy<Value = Vec<(i64, bool, Wish)>> {
    let wish = prop_oneof![
        5 => hidden().prop_map(|wish| (false, wish)),
        1 => put_privacy().prop_map(|intent| (true, Wish::Plain(intent)))
    ];
    vec((0..30_000i64, wish).prop_map(|(after_ms, (both, wish))| (after_ms, both, wish)), 0..30)
}

proptest! {
    #[test]
    fn turning_invisible_cannot_be_told_from_signing_off(
        before in history_of(living(), false),
        pause_ms in 0..60_000i64,
        after in afterwards(),
    ) {
        let mut invisible = World::new();
        for deed in &before {
            invisible.act(deed);
        }
        // Clocks that fell are not the point here; a pause puts this moment after all of them.
        invisible.clock = invisible.clock.max(invisible.ledger.now).saturating_add_signed(pause_ms);
        let mut away = invisible.clone();
        turn_invisible(&mut invisible);
        sign_off(&mut away);
        prop_assert_eq!(shown(&invisible), shown(&away));
        for (after_ms, both, wish) in after {
            let step = Deed { after_ms, ..deed(wish) };
            let same_revision = invisible.ledger.revision.max(away.ledger.revision);
            (invisible.ledger.revision, away.ledger.revision) = (same_revision, same_revision);
            let done = invisible.act(&step);
            if both {
                away.act(&step);
            } else {
                away.clock = invisible.clock;
                prop_assert_eq!(&done.outcome.presence, &None, "{:?} shows", done.command);
            }
            prop_assert_eq!(shown(&invisible), shown(&away), "after {:?}", done.command);
        }
    }

    #[test]
    fn turning_invisible_changes_nothing_for_whom_is_shown_offline(before in history_of(living(), false)) {
        let mut world = World::new();
        for deed in &before {
            world.act(deed);
        }
        sign_off(&mut world);
        let before = shown(&world);
        world.clock += 60_000;
        turn_invisible(&mut world);
        prop_assert_eq!(before, shown(&world));
    }
}
