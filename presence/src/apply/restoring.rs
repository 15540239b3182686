//! A user put back from a backup, part by part.
//!
//! Promises that whoever is there already stays as it is unless it is to be replaced, that a part taken twice counts once, that
//! nothing is shown before the last part, and that times and versions go on above the restored ones.

use super::{Relations, Step};
use crate::{
    UnixMs,
    command::ListKind,
    id::UserId,
    outcome::{Answer, HistoryEntry, Reason, Refusal, Row},
    public::Status,
    record::{Privacy, Setting},
    restored::{Kept, RestoreMark, Restored, RestoredAs},
};
use alloc::collections::{BTreeMap, BTreeSet};

impl<R: Relations> Step<'_, R> {
    /// Takes a part in its turn.
    pub(super) fn restore(&mut self, part: &Restored) -> Result<Answer, Refusal> {
        let mark = self.relations.restoring().filter(|mark| mark.backup == part.backup);
        let begins = match mark {
            Some(mark) if part.part < mark.next => return Ok(Answer::Restored(RestoredAs::Taken)),
            Some(mark) if part.part == mark.next => false,
            None if part.part == 0 && (!self.is_known || part.overwrite) => true,
            _ => return Ok(Answer::Restored(RestoredAs::LeftAlone)),
        };
        self.lift = Some((part.version(), part.latest()));
        self.now = self.now.max(part.latest());
        let replaces = begins && self.is_known;
        if begins {
            self.keep_from(self.record.history_next);
            (self.record.history_first, self.record.history_next) = (part.history_first, part.history_next);
        }
        self.restore_list(ListKind::Contacts, &part.contacts, replaces);
        self.restore_list(ListKind::Blocks, &part.blocks, replaces);
        self.restore_history(&part.history, replaces);
        if let Some(kept) = &part.last {
            self.restore_kept(kept, part.overwrite);
        }
        let next = part.last.is_none().then(|| RestoreMark { backup: part.backup, next: part.part.saturating_add(1) });
        if next.is_some() || self.relations.restoring().is_some() {
            self.rows.push(Row::Restoring(next));
        }
        Ok(Answer::Restored(RestoredAs::Taken))
    }

    /// Adds to a list; one that is replaced loses whom the part does not name.
    fn restore_list(&mut self, list: ListKind, given: &[(UserId, UnixMs)], replaces: bool) {
        let given = given.iter().filter(|(other, _)| other != self.user);
        let given: BTreeMap<&UserId, UnixMs> = given.map(|(other, added)| (other, *added)).collect();
        let mut count = match list {
            ListKind::Contacts => self.record.contacts,
            ListKind::Blocks => self.record.blocks,
        };
        if replaces {
            count = 0;
            let gone = self.relations.listed(list).into_iter().filter(|other| !given.contains_key(other));
            self.rows.extend(gone.map(|other| Row::Listed { list, other, added: None }));
        }
        for (other, added) in given {
            let there = self.relations.added_at(list, other);
            if there.is_some() && !replaces {
                continue; // added since the restore began
            }
            count = count.saturating_add(1);
            if there != Some(added) {
                self.rows.push(Row::Listed { list, other: other.clone(), added: Some(added) });
            }
        }
        match list {
            ListKind::Contacts => self.record.contacts = count,
            ListKind::Blocks => self.record.blocks = count,
        }
    }

    /// Adds entries at the sequences that the first part has set aside for them, each once.
    fn restore_history(&mut self, entries: &[HistoryEntry], replaces: bool) {
        let room = self.record.history_first..self.record.history_next;
        let mut taken = BTreeSet::new();
        for entry in entries.iter().filter(|entry| room.contains(&entry.seq)) {
            let is_there = !replaces && self.relations.history_at(entry.seq).is_some();
            if !is_there && taken.insert(entry.seq) {
                self.rows.push(Row::History(entry.clone()));
            }
        }
    }

    /// Sets what is small, and lets it be seen. What the user has set since the restore began stays, unless it is replaced.
    fn restore_kept(&mut self, kept: &Kept, overwrite: bool) {
        let shown = &mut self.record.shown;
        let seen = kept.last_seen();
        self.returns = kept.shown.version > 0 && shown.version == 0;
        if shown.since.is_none() {
            // The sessions died with the cluster that had them, at their last sign of life as far as anybody knows.
            shown.since = if kept.shown.status == Status::Offline { kept.shown.since } else { seen };
        }
        shown.last_seen = shown.last_seen.max(seen);
        if overwrite || self.record.privacy == Privacy::default() {
            self.record.privacy = kept.privacy;
        }
        if (overwrite || !self.record.has_profile) && (self.record.has_profile || kept.profile.is_some()) {
            self.record.has_profile = kept.profile.is_some();
            self.rows.push(Row::Profile(kept.profile.clone()));
        }
        if overwrite || self.record.setting == Setting::automatic() {
            if kept.setting.expires_at.is_some_and(|at| at <= self.now) {
                self.record.setting = Setting::automatic();
                self.enter(Reason::StatusExpired);
            } else {
                self.record.setting = kept.setting.clone();
            }
        }
    }
}
