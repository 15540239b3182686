//! A replica in memory: it keeps what outcomes tell it to keep, and nothing else.

use crate::deed::{Attachment, Deed, USERS, Wish, key, user};
use rollcall_presence::{
    Command, HistoryEntry, Intent, KeyTable, Ledger, ListKind, Outcome, Policy, Profile, PublicPresence, Relations,
    RestoreMark, Restored, Row, UnixMs, UserId, UserRecord, apply, command::HISTORY_AGE_NEVER,
};
use std::collections::BTreeMap;

/// Capacities small enough to be met.
pub(crate) const POLICY: Policy =
    Policy { contacts_max: 4, blocks_max: 3, sessions_max: 3, history_max: 5, history_age_ms: HISTORY_AGE_NEVER };

/// The term that every command of a history carries.
pub(crate) const TERM: u64 = 7;

/// What is stored of one user.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stored {
    pub(crate) record: Option<UserRecord>,
    pub(crate) keys: KeyTable,
    pub(crate) lists: BTreeMap<(ListKind, UserId), UnixMs>,
    pub(crate) history: BTreeMap<u64, HistoryEntry>,
    pub(crate) profile: Option<Profile>,
    pub(crate) restoring: Option<RestoreMark>,
    pub(crate) parts: BTreeMap<u32, Restored>,
}

impl Stored {
    /// How many are on `list`.
    pub(crate) fn count(&self, list: ListKind) -> usize {
        self.lists.keys().filter(|(l, _)| *l == list).count()
    }

    /// The record, or that of a user of whom nothing is known.
    pub(crate) fn known(&self) -> UserRecord {
        self.record.clone().unwrap_or_else(UserRecord::unknown)
    }
}

struct Lists<'a>(&'a Stored);

impl Relations for Lists<'_> {
    fn added_at(&self, list: ListKind, other: &UserId) -> Option<UnixMs> {
        self.0.lists.get(&(list, other.clone())).copied()
    }

    fn history_at(&self, seq: u64) -> Option<UnixMs> {
        self.0.history.get(&seq).map(|entry| entry.at)
    }

    fn listed(&self, list: ListKind) -> Vec<UserId> {
        self.0.lists.keys().filter(|(l, _)| *l == list).map(|(_, other)| other.clone()).collect()
    }

    fn restoring(&self) -> Option<RestoreMark> {
        self.0.restoring
    }

    fn part(&self, part: u32) -> Option<Restored> {
        self.0.parts.get(&part).cloned()
    }
}

/// A partition with a few users.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) users: Vec<Stored>,
    /// The home's clock: it may fall.
    pub(crate) clock: UnixMs,
    pub(crate) policy: Policy,
}

/// What one deed did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) command: Command,
    pub(crate) before: Stored,
    pub(crate) after: Stored,
    pub(crate) outcome: Outcome,
    pub(crate) user: usize,
}

impl Done {
    /// The public presence before it.
    pub(crate) fn shown_before(&self) -> PublicPresence {
        PublicPresence::of(&self.command.user, &self.before.known())
    }

    /// The public presence after it.
    pub(crate) fn shown_after(&self) -> PublicPresence {
        PublicPresence::of(&self.command.user, &self.after.known())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            users: vec![Stored::default(); USERS.len()],
            clock: 1_000_000,
            policy: POLICY,
        }
    }

    /// The command that `deed` stands for, as things are.
    pub(crate) fn command(&self, deed: &Deed, at: UnixMs) -> Command {
        let record = self.users[deed.user].known();
        let intent = match &deed.wish {
            Wish::Plain(intent) => intent.clone(),
            Wish::End { session, attachment, cause, heard_ago_ms } => {
                let current = record.session(session).map_or(0, |s| s.attachment);
                Intent::EndSession {
                    session: session.clone(),
                    attachment: match attachment {
                        Attachment::Any => None,
                        Attachment::Current => Some(current),
                        Attachment::Older => Some(current.wrapping_sub(1)),
                    },
                    cause: *cause,
                    heard_at: at.saturating_add_signed(-heard_ago_ms),
                }
            }
            Wish::Expire { due } => {
                let due_at = record.setting.expires_at.filter(|_| *due);
                Intent::ExpireStatus { expires_at: due_at.unwrap_or(1) }
            }
        };
        Command { user: user(deed.user), term: TERM, at, key: deed.key.map(key), intent }
    }

    /// Does `deed`.
    pub(crate) fn act(&mut self, deed: &Deed) -> Done {
        self.clock = self.clock.saturating_add_signed(deed.after_ms);
        let command = self.command(deed, self.clock);
        self.take(deed.user, command)
    }

    /// Has user `who` ask for `intent`, now.
    pub(crate) fn put(&mut self, who: usize, intent: Intent) -> Done {
        let at = self.clock;
        self.take(who, Command { user: user(who), term: TERM, at, key: None, intent })
    }

    /// Applies `command` in its own term and stores what the outcome says.
    pub(crate) fn take(&mut self, user: usize, command: Command) -> Done {
        self.take_in_term(TERM, user, command)
    }

    /// Applies `command` in `term` and stores what the outcome says.
    pub(crate) fn take_in_term(&mut self, term: u64, user: usize, command: Command) -> Done {
        let stored = &mut self.users[user];
        let before = stored.clone();
        // As the contract of `apply` has it: keys are read only for a command with a key.
        let reads_keys = command.key.is_some() || command.intent == Intent::DropExpired;
        let mut keys = if reads_keys { stored.keys.clone() } else { KeyTable::default() };
        let given = keys.clone();
        let mut record = stored.record.clone();
        let lists = Lists(&before);
        let outcome = apply(&mut self.ledger, term, &self.policy, &mut record, &mut keys, &lists, &command);
        if outcome.deleted {
            *stored = Stored::default();
        }
        assert!(outcome.record_changed || outcome.deleted || record == before.record, "a record changed silently");
        assert!(outcome.keys_changed || outcome.deleted || keys == given, "keys changed silently");
        if outcome.record_changed {
            stored.record = record;
        }
        if outcome.keys_changed {
            stored.keys = keys;
        }
        for row in &outcome.rows {
            store(stored, row);
        }
        Done { command, before, after: stored.clone(), outcome, user }
    }
}

fn store(stored: &mut Stored, row: &Row) {
    match row {
        Row::Listed { list, other, added: Some(at) } => {
            assert_ne!(stored.lists.insert((*list, other.clone()), *at), Some(*at), "added twice");
        }
        Row::Listed { list, other, added: None } => {
            assert!(stored.lists.remove(&(*list, other.clone())).is_some(), "removed what was not there");
        }
        Row::History(entry) => {
            assert_eq!(stored.history.insert(entry.seq, entry.clone()), None, "a sequence was reused");
        }
        Row::HistoryDropped { from, first } => {
            let (oldest, kept) = (stored.history.keys().next().copied(), stored.history.split_off(first));
            assert_eq!(oldest, Some(*from), "entries below what is dropped stay for ever");
            stored.history = kept;
        }
        Row::Profile(profile) => stored.profile.clone_from(profile),
        Row::Restoring(mark) => stored.restoring = *mark,
        Row::Part { part, kept: Some(kept) } => {
            assert_eq!(stored.parts.insert(*part, (**kept).clone()), None, "a part came twice");
        }
        Row::Part { part, kept: None } => {
            assert!(stored.parts.remove(part).is_some(), "removed what was not there");
        }
    }
}
