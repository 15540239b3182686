//! History has exactly one entry for each change of the setting or of the sessions' aggregate.

use crate::{
    deed::{Deed, Wish, any_history},
    world::{Done, POLICY, World},
};
use proptest::prelude::*;
use rollcall_presence::{
    Activity, Device, EndCause, HistoryEntry, Intent, ManualStatus, Reason, Row, TrueStatus, UserRecord,
};
use std::collections::BTreeSet;

/// What of the sessions is recorded: alive, active, on which devices.
fn aggregate(record: &UserRecord) -> (bool, bool, BTreeSet<Device>) {
    let active = record.sessions.iter().any(|s| s.activity == Activity::Active);
    let devices = record.sessions.iter().map(|s| s.device.clone()).collect();
    (!record.sessions.is_empty(), active, devices)
}

/// The contract's reasons, told once more.
fn reason(done: &Done) -> Option<Reason> {
    let (was, is) = (done.before.known(), done.after.known());
    if was.setting != is.setting {
        return Some(match done.command.intent {
            Intent::PutStatus { .. } => Reason::StatusSet,
            Intent::ClearStatus => Reason::StatusCleared,
            _ => Reason::StatusExpired,
        });
    }
    let ((was_alive, was_active, was_on), (alive, active, on)) = (aggregate(&was), aggregate(&is));
    if was_alive != alive {
        return Some(match done.command.intent {
            _ if alive => Reason::Connected,
            Intent::EndSession { cause: EndCause::Expired, .. } | Intent::EndHeld { .. } => Reason::Expired,
            Intent::EndSession { cause: EndCause::NodeLost, .. } => Reason::NodeLost,
            _ => Reason::Disconnected,
        });
    }
    if was_active != active {
        return Some(if active { Reason::Active } else { Reason::Idle });
    }
    (was_on != on).then_some(Reason::DeviceChanged)
}

fn status(record: &UserRecord) -> TrueStatus {
    match (aggregate(record), record.setting.status) {
        ((false, ..), _) => TrueStatus::Offline,
        (_, ManualStatus::Invisible) => TrueStatus::Invisible,
        (_, ManualStatus::Away) | ((_, false, _), ManualStatus::Online) => TrueStatus::Away,
        (_, ManualStatus::Dnd) => TrueStatus::Dnd,
        ((_, true, _), ManualStatus::Online) => TrueStatus::Online,
    }
}

proptest! {
    #[test]
    fn every_change_has_exactly_one_entry_with_its_reason(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let entry = |row: &Row| if let Row::History(entry) = row { Some(entry.clone()) } else { None };
            let entries: Vec<HistoryEntry> = done.outcome.rows.iter().filter_map(entry).collect();
            if done.outcome.deleted {
                prop_assert!(entries.is_empty());
                continue;
            }
            let record = done.after.known();
            let expected = reason(&done).map(|reason| HistoryEntry {
                seq: done.before.known().history_next,
                version: done.shown_after().version,
                at: done.outcome.at,
                status: status(&record),
                text: record.setting.text.clone().filter(|_| !record.sessions.is_empty()),
                reason,
            });
            prop_assert_eq!(entries, Vec::from_iter(expected));
        }
    }

    #[test]
    fn the_latest_entries_are_kept_without_a_gap(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let record = done.after.known();
            let kept: Vec<u64> = done.after.history.keys().copied().collect();
            prop_assert_eq!(kept, Vec::from_iter(record.history_first..record.history_next));
            let most = u64::from(POLICY.history_max);
            prop_assert_eq!(record.history_first, record.history_next.saturating_sub(most));
        }
    }

    #[test]
    fn expired_entries_go_with_new_ones_and_when_asked_and_no_others(history in any_history(), age_ms in 1u64..400_000) {
        let mut world = World::new();
        world.policy.history_age_ms = age_ms;
        for deed in &history {
            for wish in [None, Some(Wish::Plain(Intent::DropExpired))] {
                let asked = wish.is_some();
                let done = match wish {
                    Some(wish) => world.act(&Deed { user: deed.user, after_ms: 0, key: None, wish }),
                    None => world.act(deed),
                };
                if done.outcome.deleted {
                    continue;
                }
                let (kept, was) = (&done.after.history, &done.before.history);
                let is_expired = |entry: &HistoryEntry| entry.at.saturating_add(age_ms) <= done.outcome.at;
                let by_count = done.after.known().history_next.saturating_sub(u64::from(POLICY.history_max));
                for (seq, entry) in was.iter().filter(|(seq, _)| !kept.contains_key(seq)) {
                    prop_assert!(is_expired(entry) || *seq < by_count, "{:?} was dropped", entry);
                }
                let added = kept.keys().any(|seq| !was.contains_key(seq));
                if asked || (added && was.len() <= 4) {
                    prop_assert!(!kept.values().any(is_expired), "{:?} is left", kept);
                }
                if asked {
                    prop_assert_eq!(done.shown_before(), done.shown_after());
                    prop_assert_eq!(done.outcome.presence, None);
                }
                let record = done.after.known();
                let seqs: Vec<u64> = kept.keys().copied().collect();
                prop_assert_eq!(seqs, Vec::from_iter(record.history_first..record.history_next));
            }
        }
    }
}
