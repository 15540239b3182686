//! Contacts and blocks change all or nothing within their capacities, and every count equals what is stored.

use crate::{
    deed::any_history,
    world::{POLICY, World},
};
use proptest::prelude::*;
use rollcall_presence::{Answer, Intent, ListKind, Refusal, UserId, outcome::Capacity};
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn counts_equal_what_is_stored(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            world.act(deed);
            let records = || world.users.iter().filter_map(|u| u.record.as_ref());
            prop_assert_eq!(world.ledger.users, records().count() as u64);
            prop_assert_eq!(world.ledger.online, records().filter(|r| !r.sessions.is_empty()).count() as u64);
            let sessions: usize = records().map(|r| r.sessions.len()).sum();
            prop_assert_eq!(world.ledger.sessions, sessions as u64);
            for stored in &world.users {
                let record = stored.known();
                prop_assert_eq!(record.contacts as usize, stored.count(ListKind::Contacts));
                prop_assert_eq!(record.blocks as usize, stored.count(ListKind::Blocks));
                prop_assert_eq!(record.has_profile, stored.profile.is_some());
            }
        }
    }

    #[test]
    fn a_list_changes_all_or_nothing_within_its_capacity(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let Intent::ChangeList(changes) = &done.command.intent else { continue };
            if done.command.key.is_some() {
                continue; // judged where idempotency is
            }
            let on = |stored: &crate::world::Stored| -> BTreeSet<UserId> {
                stored.lists.keys().filter(|(l, _)| *l == changes.list).map(|(_, other)| other.clone()).collect()
            };
            let (max, what) = match changes.list {
                ListKind::Contacts => (POLICY.contacts_max, Capacity::Contacts),
                ListKind::Blocks => (POLICY.blocks_max, Capacity::Blocks),
            };
            let was = on(&done.before);
            let mut wanted: BTreeSet<UserId> = was.iter().filter(|o| !changes.remove.contains(o)).cloned().collect();
            wanted.extend(changes.add.iter().filter(|o| **o != done.command.user).cloned());
            if wanted.len() > max as usize {
                prop_assert_eq!(done.outcome.answer, Err(Refusal::LimitExceeded { what, max }));
                prop_assert_eq!(on(&done.after), was);
            } else {
                prop_assert_eq!(done.outcome.answer, Ok(Answer::Total(wanted.len() as u32)));
                prop_assert_eq!(on(&done.after), wanted);
            }
            let kept = done.after.lists.iter().filter(|(k, _)| done.before.lists.contains_key(k));
            for (key, added) in kept {
                prop_assert_eq!(done.before.lists.get(key), Some(added), "an id on the list keeps its time");
            }
        }
    }
}
