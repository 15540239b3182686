//! The history: one entry for each change of the setting or of the sessions' aggregate, and what is no longer kept.

use super::{Relations, Step};
use crate::{
    command::{EndCause, Intent},
    history,
    id::Device,
    limits::HISTORY_DROP_WITH_ENTRY,
    outcome::{HistoryEntry, Reason, Row},
    public::{self, TrueStatus},
    record::UserRecord,
};
use alloc::{boxed::Box, vec::Vec};

impl<R: Relations> Step<'_, R> {
    /// Writes the history entry, if the setting or the sessions' aggregate changed.
    pub(super) fn note(&mut self, was: &UserRecord, intent: &Intent) {
        if matches!(intent, Intent::Restore(_)) {
            return; // it brings the entries of its changes
        }
        let reason = if was.setting == self.record.setting {
            aggregate_change(was, &self.record, intent)
        } else {
            Some(match intent {
                Intent::ClearStatus => Reason::StatusCleared,
                Intent::ExpireStatus { .. } => Reason::StatusExpired,
                _ => Reason::StatusSet,
            })
        };
        if let Some(reason) = reason {
            self.enter(reason);
        }
    }

    /// Writes a history entry of what the record is now.
    pub(super) fn enter(&mut self, reason: Reason) {
        let status = public::true_status(&self.record);
        let text: Option<Box<str>> =
            if status == TrueStatus::Offline { None } else { self.record.setting.text.clone() };
        let seq = self.record.history_next;
        self.record.history_next += 1;
        let first = self.record.history_next.saturating_sub(u64::from(self.policy.history_max));
        let first = first.max(self.record.history_first);
        self.keep_from(self.first_kept(first, seq, HISTORY_DROP_WITH_ENTRY));
        // `settle` fills the version in, once it is known whether the presence changed.
        self.entered.get_or_insert(seq);
        self.rows.push(Row::History(HistoryEntry { seq, version: 0, at: self.now, status, text, reason }));
    }

    /// The first history entry from `from` on that is young enough to be kept.
    pub(super) fn first_kept(&self, from: u64, end: u64, at_most: u64) -> u64 {
        history::first_kept(self.relations, self.policy, self.now, (from, end), at_most)
    }

    /// Drops the history entries before `first`.
    pub(super) fn keep_from(&mut self, first: u64) {
        let from = self.record.history_first;
        if first > from {
            self.rows.push(Row::HistoryDropped { from, first });
            self.record.history_first = first;
        }
    }
}

/// What the sessions' aggregate did: alive, active, devices, in this order of weight.
fn aggregate_change(was: &UserRecord, is: &UserRecord, intent: &Intent) -> Option<Reason> {
    let devices = |r: &UserRecord| -> Vec<Device> { public::devices(r) };
    match (was.sessions.is_empty(), is.sessions.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Reason::Connected),
        (false, true) => Some(match intent {
            Intent::EndSession { cause: EndCause::Expired, .. } | Intent::EndHeld { .. } => Reason::Expired,
            Intent::EndSession { cause: EndCause::NodeLost, .. } => Reason::NodeLost,
            _ => Reason::Disconnected,
        }),
        (false, false) => match (public::any_active(was), public::any_active(is)) {
            (true, false) => Some(Reason::Idle),
            (false, true) => Some(Reason::Active),
            _ => (devices(was) != devices(is)).then_some(Reason::DeviceChanged),
        },
    }
}
