//! Which part of a log must go because a user in it was deleted: when, and up to which entry.
//!
//! Relies on being told of each deletion as it is applied, and of what was purged. Promises that a deletion is not forgotten before
//! the log is purged past it, and that however many there are, a log is erased at most once a period. Pure: time comes in.

use super::types::{Proposal, RaftEntry};
use openraft::EntryPayload;
use rollcall_presence::Intent;
use std::time::Duration;
use tokio::time::Instant;

/// Whether an entry deletes a user.
#[must_use]
pub(crate) fn deletes(entry: &RaftEntry) -> bool {
    match &entry.payload {
        EntryPayload::Normal(Proposal::Presence(entry)) => {
            entry.commands.iter().any(|command| matches!(command.intent, Intent::DeleteUser))
        }
        _ => false,
    }
}

/// Deletions behind which the log has not been purged yet.
#[derive(Debug, Default)]
pub(crate) struct Erasure {
    /// Up to where the log is being erased.
    begun: Option<u64>,
    /// Deletions after that: when the first one was applied (unknown: before this start), and the last one's index.
    waiting: Option<(Option<Instant>, u64)>,
}

impl Erasure {
    /// What is left to do after a start: a deletion at `newest` was found in the log, however old.
    #[must_use]
    pub(crate) fn found(newest: Option<u64>) -> Self {
        Self { begun: None, waiting: newest.map(|index| (None, index)) }
    }

    /// A deletion was applied.
    pub(crate) fn deleted(&mut self, index: u64, now: Instant) {
        let (since, newest) = self.waiting.unwrap_or((Some(now), index));
        self.waiting = Some((since, newest.max(index)));
    }

    /// Up to where the log is to be erased now, if a deletion is older than `after`; the same until it was.
    pub(crate) fn due(&mut self, now: Instant, after: Duration) -> Option<u64> {
        let is_due = |since: Option<Instant>| since.is_none_or(|since| now.saturating_duration_since(since) >= after);
        if self.begun.is_none() {
            self.begun = self.waiting.take_if(|(since, _)| is_due(*since)).map(|(_, index)| index);
        }
        self.begun
    }

    /// The log was purged up to `index`, for whatever reason.
    pub(crate) fn purged(&mut self, index: u64) {
        self.begun = self.begun.filter(|upto| *upto > index);
        self.waiting = self.waiting.filter(|(_, newest)| *newest > index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn a_log_is_erased_once_a_deletion_is_old_enough_and_until_it_was() {
        let (start, mut erasure) = (Instant::now(), Erasure::default());
        assert_eq!(erasure.due(start, AFTER), None);
        erasure.deleted(5, start);
        erasure.deleted(7, start + AFTER / 2);
        assert_eq!(erasure.due(start + AFTER / 2, AFTER), None);
        assert_eq!(erasure.due(start + AFTER, AFTER), Some(7));
        erasure.purged(6);
        assert_eq!(erasure.due(start + AFTER, AFTER), Some(7), "not all of it went");
        erasure.purged(7);
        assert_eq!(erasure.due(start + AFTER * 9, AFTER), None);
    }

    #[test]
    fn deletions_while_a_log_is_erased_wait_for_their_own_turn() {
        let (start, mut erasure) = (Instant::now(), Erasure::default());
        erasure.deleted(5, start);
        assert_eq!(erasure.due(start + AFTER, AFTER), Some(5));
        erasure.deleted(8, start + AFTER);
        assert_eq!(erasure.due(start + AFTER, AFTER), Some(5));
        erasure.purged(5);
        assert_eq!(erasure.due(start + AFTER, AFTER), None);
        assert_eq!(erasure.due(start + AFTER * 2, AFTER), Some(8));
    }

    #[test]
    fn what_a_start_found_is_due_at_once_and_what_was_purged_anyway_never() {
        let (start, mut erasure) = (Instant::now(), Erasure::found(Some(3)));
        erasure.deleted(4, start);
        assert_eq!(erasure.due(start, AFTER), Some(4));
        let mut erasure = Erasure::found(Some(3));
        erasure.purged(3);
        assert_eq!(erasure.due(start, AFTER), None);
        assert_eq!(Erasure::found(None).due(start, AFTER), None);
    }
}
