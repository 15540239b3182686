//! A restored user reads as the backed-up one, and whoever is there already is left alone.

use crate::{
    deed::{any_history, user},
    world::{Done, POLICY, Stored, TERM, World},
};
use proptest::prelude::*;
use rollcall_presence::{
    Answer, Command, HistoryEntry, Intent, Kept, ListChanges, ListKind, ManualStatus, Meta, Profile, PublicPresence,
    Reason, Restored, RestoredAs, Setting, Status, TrueStatus, UnixMs, UserId, UserRecord,
};
use std::collections::BTreeMap;

const BACKUP: u64 = 9;

/// What a backup has of `stored`, with `per_part` rows a part.
pub(crate) fn parts(stored: &Stored, per_part: usize, overwrite: bool) -> Vec<Restored> {
    let record = stored.record.clone().unwrap();
    let listed = |list| -> Vec<(UserId, UnixMs)> {
        stored.lists.iter().filter(|((l, _), _)| *l == list).map(|((_, other), at)| (other.clone(), *at)).collect()
    };
    let empty = |part: usize| Restored {
        backup: BACKUP,
        part: u32::try_from(part).unwrap(),
        overwrite,
        history_first: record.history_first,
        history_next: record.history_next,
        contacts: Vec::new(),
        blocks: Vec::new(),
        history: Vec::new(),
        last: None,
    };
    let mut all: Vec<Restored> = Vec::new();
    for some in listed(ListKind::Contacts).chunks(per_part) {
        all.push(Restored { contacts: some.to_vec(), ..empty(all.len()) });
    }
    for some in listed(ListKind::Blocks).chunks(per_part) {
        all.push(Restored { blocks: some.to_vec(), ..empty(all.len()) });
    }
    let history: Vec<HistoryEntry> = stored.history.values().cloned().collect();
    for some in history.chunks(per_part) {
        all.push(Restored { history: some.to_vec(), ..empty(all.len()) });
    }
    if all.is_empty() {
        all.push(empty(0));
    }
    all.last_mut().unwrap().last = Some(Box::new(Kept::of(&record, stored.profile.clone())));
    all
}

fn take(world: &mut World, who: usize, part: &Restored) -> Done {
    let at = world.clock;
    let intent = Intent::Restore(Box::new(part.clone()));
    world.take(who, Command { user: user(who), term: TERM, at, key: None, intent })
}

fn taken(done: &Done) -> bool {
    match done.outcome.answer {
        Ok(Answer::Restored(as_what)) => as_what == RestoredAs::Taken,
        ref other => panic!("{other:?}"),
    }
}

/// The user as it must read after a restore at `now`: offline, otherwise the same.
fn expected(stored: &Stored, now: UnixMs) -> (Setting, PublicPresence) {
    let mut record: UserRecord = stored.known();
    let heard = record.sessions.iter().map(|s| s.heard_at).max();
    if record.setting.status != ManualStatus::Invisible {
        record.shown.last_seen = record.shown.last_seen.max(heard);
    }
    if record.shown.status != Status::Offline {
        record.shown.status = Status::Offline;
        record.shown.since = record.shown.last_seen;
    }
    record.sessions.clear();
    if record.setting.expires_at.is_some_and(|at| at <= now) {
        record.setting = Setting::automatic();
    }
    let presence = PublicPresence::of(&user(0), &record);
    (record.setting, presence)
}

/// A world in which nothing has happened yet, with its clock where `other` has it.
fn empty_beside(other: &World) -> World {
    let mut world = World::new();
    world.clock = other.ledger.now;
    world
}

proptest! {
    #[test]
    fn a_restored_record_reads_as_the_backed_up_one(
        history in any_history(),
        who in 0..3usize,
        per_part in 1..9usize,
        later_ms in 0..90_000u64,
    ) {
        let mut old = World::new();
        for deed in &history {
            old.act(deed);
        }
        let backed_up = old.users[who].clone();
        prop_assume!(backed_up.record.is_some());
        let mut new = empty_beside(&old);
        new.clock += later_ms;
        let all = parts(&backed_up, per_part, false);
        for part in &all {
            prop_assert!(taken(&take(&mut new, who, part)));
            // Nothing is there of a user of whom not all has come.
            if part.last.is_none() {
                let half = &new.users[who];
                prop_assert!(half.record.is_none() && half.lists.is_empty() && half.history.is_empty(), "{:?}", half);
                // The same once more changes nothing.
                let before = new.clone();
                prop_assert!(taken(&take(&mut new, who, part)));
                prop_assert_eq!(&new.users, &before.users);
            }
        }
        let restored = new.users[who].clone();
        let (setting, presence) = expected(&backed_up, new.ledger.now);
        let record = restored.known();
        prop_assert_eq!(&record.setting, &setting);
        let shown = PublicPresence::of(&user(0), &record);
        prop_assert!(shown.same_fields(&presence), "{:?} is not {:?}", shown, presence);
        prop_assert_eq!(&restored.lists, &backed_up.lists);
        prop_assert_eq!(record.contacts as usize, restored.count(ListKind::Contacts));
        prop_assert_eq!(record.blocks as usize, restored.count(ListKind::Blocks));
        prop_assert_eq!(record.privacy, backed_up.known().privacy);
        prop_assert_eq!(&restored.profile, &backed_up.profile);
        prop_assert_eq!(record.has_profile, restored.profile.is_some());
        prop_assert_eq!(restored.restoring, None);
        prop_assert!(restored.parts.is_empty());
        // The history is the same, each entry once; only the end of the sessions and an expiry that came due are added.
        let mut kept = restored.history.clone();
        let was = backed_up.known();
        let ended = (!was.sessions.is_empty()).then_some(Reason::NodeLost);
        let expired = (setting != was.setting).then_some(Reason::StatusExpired);
        let added: Vec<Reason> = ended.into_iter().chain(expired).collect();
        let own = kept.split_off(&was.history_next);
        prop_assert_eq!(own.values().map(|entry| entry.reason).collect::<Vec<_>>(), added.clone());
        prop_assert!(own.values().all(|entry| entry.version == record.shown.version), "{:?}", own);
        let most = POLICY.history_max as usize - added.len();
        let newest = backed_up.history.iter().rev().take(most).map(|(seq, entry)| (*seq, entry.clone()));
        prop_assert_eq!(kept, newest.collect());
    }

    #[test]
    fn versions_and_times_go_on_above_what_was_restored(history in any_history(), after in any_history(), who in 0..3usize) {
        let mut old = World::new();
        for deed in &history {
            old.act(deed);
        }
        prop_assume!(old.users[who].record.is_some());
        let mut new = World::new(); // its clock is behind
        for part in parts(&old.users[who], 3, false) {
            take(&mut new, who, &part);
        }
        let mut highest = old.users[who].known().shown.version;
        let shown = new.users[who].known().shown.version;
        prop_assert!(shown > highest || (shown == 0 && highest == 0), "{} after {}", shown, highest);
        for deed in after.iter().filter(|deed| deed.user == who) {
            let done = new.act(deed);
            let version = done.shown_after().version;
            if done.outcome.presence.is_some() && version > 0 {
                prop_assert!(version > highest);
                highest = version;
            }
            let times: Vec<UnixMs> = done.after.history.values().map(|entry| entry.at).collect();
            prop_assert!(times.is_sorted(), "time fell in {:?}", times);
        }
    }

    #[test]
    fn whoever_is_there_is_left_alone_unless_overwritten(
        history in any_history(),
        present in any_history(),
        who in 0..3usize,
        per_part in 1..9usize,
    ) {
        let mut old = World::new();
        history.iter().for_each(|deed| drop(old.act(deed)));
        let mut new = World::new();
        present.iter().for_each(|deed| drop(new.act(deed)));
        prop_assume!(old.users[who].record.is_some() && new.users[who].record.is_some());
        let before = new.clone();
        for part in parts(&old.users[who], per_part, false) {
            let done = take(&mut new, who, &part);
            prop_assert!(!taken(&done) && done.outcome.presence.is_none() && !done.outcome.record_changed);
        }
        prop_assert_eq!(&new.users, &before.users);
        prop_assert_eq!(new.ledger.revision, before.ledger.revision);
        for part in parts(&old.users[who], per_part, true) {
            prop_assert!(taken(&take(&mut new, who, &part)));
            // Until the last one everything is as it was: also the blocks.
            if part.last.is_none() {
                let kept = Stored { restoring: None, parts: BTreeMap::default(), ..new.users[who].clone() };
                prop_assert_eq!(&kept, &before.users[who]);
            }
        }
        let (was, is) = (&old.users[who], &new.users[who]);
        prop_assert_eq!(&is.lists, &was.lists);
        prop_assert_eq!(&is.profile, &was.profile);
        prop_assert_eq!(is.known().privacy, was.known().privacy);
        prop_assert_eq!(is.known().contacts as usize, is.count(ListKind::Contacts));
        // Who is alive stays so; the presence is that of the restored setting.
        prop_assert_eq!(is.known().sessions, before.users[who].known().sessions);
        let newest = is.history.values().next_back();
        if is.known().sessions.is_empty() && was.known().sessions.is_empty() {
            prop_assert!(newest.is_none_or(|entry| entry.status == TrueStatus::Offline));
        } else {
            let ended = if is.known().sessions.is_empty() { Reason::NodeLost } else { Reason::StatusSet };
            prop_assert!(newest.is_some_and(|entry| [ended, Reason::StatusExpired].contains(&entry.reason)));
        }
    }
}

/// A user with two contacts and two blocks, in parts of one row.
fn in_parts() -> Vec<Restored> {
    let mut old = World::new();
    for (list, others) in [(ListKind::Contacts, [1, 2]), (ListKind::Blocks, [2, 1])] {
        for other in others {
            let add = vec![user(other)];
            old.put(0, Intent::ChangeList(ListChanges { list, add, remove: Vec::new() }));
        }
    }
    parts(&old.users[0], 1, false)
}

#[test]
fn whoever_comes_while_the_parts_do_is_left_alone_and_nothing_stays_of_the_parts() {
    let (mut new, all) = (World::new(), in_parts());
    assert!(all.len() > 2);
    all[..2].iter().for_each(|part| assert!(taken(&take(&mut new, 0, part))));
    new.put(0, Intent::PutProfile(Profile { name: Some("new".into()), meta: Meta::empty() }));
    let came = Stored { restoring: None, parts: BTreeMap::default(), ..new.users[0].clone() };
    all[2..].iter().for_each(|part| assert!(!taken(&take(&mut new, 0, part))));
    assert_eq!(new.users[0], came);
}

#[test]
fn a_deletion_takes_the_parts_of_a_user_who_is_not_known_yet() {
    let (mut new, all) = (World::new(), in_parts());
    assert!(taken(&take(&mut new, 0, &all[0])));
    assert!(new.put(0, Intent::DeleteUser).outcome.deleted);
    assert_eq!(new.users[0], Stored::default());
    assert!(!taken(&take(&mut new, 0, &all[1])), "what was deleted does not go on");
}

#[test]
fn another_backup_begins_anew_where_one_was_interrupted() {
    let (mut new, all) = (World::new(), in_parts());
    assert!(taken(&take(&mut new, 0, &all[0])) && taken(&take(&mut new, 0, &all[1])));
    let other: Vec<Restored> = all.iter().map(|part| Restored { backup: BACKUP + 1, ..part.clone() }).collect();
    other.iter().for_each(|part| assert!(taken(&take(&mut new, 0, part))));
    assert_eq!((new.users[0].count(ListKind::Contacts), new.users[0].parts.len()), (2, 0));
}
