//! A user put back from a backup, part by part.
//!
//! Promises that whoever is there already stays as it is unless it is to be replaced, that a part taken twice counts once, that all of
//! a user takes effect at once, with the last part, and that times and versions go on above the restored ones.

use super::{Relations, Step};
use crate::{
    UnixMs,
    command::ListKind,
    id::UserId,
    outcome::{Answer, HistoryEntry, Reason, Refusal, Row},
    public::Status,
    record::Setting,
    restored::{Kept, RestoreMark, Restored, RestoredAs},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

impl<R: Relations> Step<'_, R> {
    /// Takes a part in its turn: the last one takes effect with all before it, which are only kept until then.
    pub(super) fn restore(&mut self, part: &Restored) -> Result<Answer, Refusal> {
        let begun = self.relations.restoring();
        let mark = begun.filter(|mark| mark.backup == part.backup);
        if mark.is_some_and(|mark| part.part < mark.next) {
            return Ok(Answer::Restored(RestoredAs::Taken));
        }
        if part.part != mark.map_or(0, |mark| mark.next) {
            return Ok(Answer::Restored(RestoredAs::LeftAlone));
        }
        if self.is_known && !part.overwrite {
            // Whoever came while the parts did is there too.
            self.forget_parts(begun);
            return Ok(Answer::Restored(RestoredAs::LeftAlone));
        }
        let Some(kept) = &part.last else {
            self.forget_parts(begun.filter(|_| mark.is_none()));
            let next = RestoreMark { backup: part.backup, next: part.part.saturating_add(1) };
            self.rows.push(Row::Part { part: part.part, kept: Some(Box::new(part.clone())) });
            self.rows.push(Row::Restoring(Some(next)));
            return Ok(Answer::Restored(RestoredAs::Taken));
        };
        let before: Vec<Restored> = (0..part.part).filter_map(|part| self.relations.part(part)).collect();
        let parts: Vec<&Restored> = before.iter().chain([part]).collect();
        self.forget_parts(begun);
        let latest = parts.iter().map(|part| part.latest()).max().unwrap_or_default();
        self.lift = Some((parts.iter().map(|part| part.version()).max().unwrap_or_default(), latest));
        self.now = self.now.max(latest);
        self.keep_from(self.record.history_next);
        (self.record.history_first, self.record.history_next) = (part.history_first, part.history_next);
        self.restore_list(ListKind::Contacts, parts.iter().flat_map(|part| &part.contacts));
        self.restore_list(ListKind::Blocks, parts.iter().flat_map(|part| &part.blocks));
        self.restore_history(parts.iter().flat_map(|part| &part.history));
        self.restore_kept(kept);
        Ok(Answer::Restored(RestoredAs::Taken))
    }

    /// Drops the parts that were kept.
    fn forget_parts(&mut self, mark: Option<RestoreMark>) {
        if let Some(mark) = mark {
            self.rows.extend((0..mark.next).map(|part| Row::Part { part, kept: None }));
            self.rows.push(Row::Restoring(None));
        }
    }

    /// Makes a list what is given.
    fn restore_list<'a>(&mut self, list: ListKind, given: impl Iterator<Item = &'a (UserId, UnixMs)>) {
        let given = given.filter(|(other, _)| other != self.user);
        let given: BTreeMap<&UserId, UnixMs> = given.map(|(other, added)| (other, *added)).collect();
        let gone = self.relations.listed(list).into_iter().filter(|other| !given.contains_key(other));
        self.rows.extend(gone.map(|other| Row::Listed { list, other, added: None }));
        let count = u32::try_from(given.len()).unwrap_or(u32::MAX);
        for (other, added) in given {
            if self.relations.added_at(list, other) != Some(added) {
                self.rows.push(Row::Listed { list, other: other.clone(), added: Some(added) });
            }
        }
        match list {
            ListKind::Contacts => self.record.contacts = count,
            ListKind::Blocks => self.record.blocks = count,
        }
    }

    /// Adds entries at the sequences that are set aside for them, each once.
    fn restore_history<'a>(&mut self, entries: impl Iterator<Item = &'a HistoryEntry>) {
        let room = self.record.history_first..self.record.history_next;
        let mut taken = BTreeSet::new();
        for entry in entries.filter(|entry| room.contains(&entry.seq)) {
            if taken.insert(entry.seq) {
                self.rows.push(Row::History(entry.clone()));
            }
        }
    }

    /// Sets what is small, and notes what the restore itself changes.
    fn restore_kept(&mut self, kept: &Kept) {
        let shown = &mut self.record.shown;
        let seen = kept.last_seen();
        self.returns = kept.shown.version > 0 && shown.version == 0;
        if shown.since.is_none() {
            // The sessions died with the cluster that had them, at their last sign of life as far as anybody knows.
            shown.since = if kept.shown.status == Status::Offline { kept.shown.since } else { seen };
        }
        shown.last_seen = shown.last_seen.max(seen);
        self.record.privacy = kept.privacy;
        if self.record.has_profile || kept.profile.is_some() {
            self.record.has_profile = kept.profile.is_some();
            self.rows.push(Row::Profile(kept.profile.clone()));
        }
        let is_over = kept.setting.expires_at.is_some_and(|at| at <= self.now);
        self.record.setting = if is_over { Setting::automatic() } else { kept.setting.clone() };
        if !self.record.sessions.is_empty() {
            // What sessions there are go on under the restored setting.
            self.enter(Reason::StatusSet);
            return;
        }
        if kept.heard_at.is_some() {
            self.enter(Reason::NodeLost);
        }
        if is_over {
            self.enter(Reason::StatusExpired);
        }
    }
}
