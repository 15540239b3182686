//! An entry's commands carried out on a partition's rows.
//!
//! What a command means is decided by `presence::apply` alone; here its outcome becomes rows. Promises the same rows on every
//! replica.

use super::{cell::State, pieces::Pieces, read_error::ReadError, view::user_in};
use crate::{
    planted::{self, Fault},
    store::key::{self, Cell},
};
use rollcall_presence::{
    Command, Entry, HistoryEntry, Intent, KeyTable, Ledger, ListKind, Outcome, Policy, RULES_VERSION, Refusal,
    Relations, RestoreMark, Restored, Row, UnixMs, UserId, UserRecord, apply,
};
use std::{cell::RefCell, io, sync::Arc};

/// Applies every command of `entry`, committed in `term`.
///
/// # Errors
/// When rows cannot be read; the state must not be used any further then.
pub(crate) fn apply_entry(state: &mut State, term: u64, entry: &Entry) -> io::Result<Vec<Arc<Outcome>>> {
    let mut outcomes = Vec::with_capacity(entry.commands.len());
    for command in &entry.commands {
        let term = if planted::is(Fault::NoTermFence) { command.term } else { term };
        let outcome = if entry.rules > RULES_VERSION {
            unknown_rules(&state.ledger, command, entry.rules)
        } else {
            apply_command(state, term, &entry.policy.under(entry.rules), command)?
        };
        outcomes.push(Arc::new(outcome));
    }
    Ok(outcomes)
}

fn unknown_rules(ledger: &Ledger, command: &Command, rules: u16) -> Outcome {
    Outcome::unchanged(ledger, command, Err(Refusal::UnknownRules(rules)))
}

/// The user's lists and history, read where the rules ask; they cannot be told of a failure, so that it is kept for after.
struct Lists<'a> {
    state: &'a State,
    user: &'a UserId,
    failure: RefCell<Option<ReadError>>,
}

impl Lists<'_> {
    /// What was read; nothing, if that failed.
    fn unless_failed<T: Default>(&self, read: Result<T, ReadError>) -> T {
        read.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl Relations for Lists<'_> {
    fn added_at(&self, list: ListKind, other: &UserId) -> Option<UnixMs> {
        self.unless_failed(self.state.rows.get(&key::listed(self.user, list, other)))
    }

    fn history_at(&self, seq: u64) -> Option<UnixMs> {
        let found = self.state.rows.get::<HistoryEntry>(&key::history(self.user, seq));
        self.unless_failed(found).map(|entry| entry.at)
    }

    fn listed(&self, list: ListKind) -> Vec<UserId> {
        self.unless_failed(listed(self.state, self.user, list))
    }

    fn restoring(&self) -> Option<RestoreMark> {
        self.unless_failed(self.state.rows.get(&key::cell(self.user, Cell::Restoring)))
    }

    fn part(&self, part: u32) -> Option<Restored> {
        self.unless_failed(self.state.rows.get_long(&key::part(self.user, part)))
    }
}

/// Who is on a list.
fn listed(state: &State, user: &UserId, list: ListKind) -> Result<Vec<UserId>, ReadError> {
    let prefix = key::list_rows(user, list);
    state.rows.scan(&prefix, &key::after(&prefix)).map(|row| user_in(&row?.0[prefix.len()..])).collect()
}

fn apply_command(state: &mut State, term: u64, policy: &Policy, command: &Command) -> Result<Outcome, ReadError> {
    let user = &command.user;
    let record_key = key::cell(user, Cell::Record);
    let keys_key = key::cell(user, Cell::Keys);
    let (before, record_pieces) = state.rows.load_long::<UserRecord>(&record_key)?;
    let (keys, keys_pieces) = match command.key.is_some() || command.intent == Intent::DropExpired {
        true => state.rows.load_long::<KeyTable>(&keys_key)?,
        false => (None, Pieces::default()),
    };
    let mut keys = keys.unwrap_or_default();
    let mut ledger = state.ledger;
    let mut record = before.clone();
    let lists = Lists { state, user, failure: RefCell::new(None) };
    let outcome = apply(&mut ledger, term, policy, &mut record, &mut keys, &lists, command);
    if let Some(error) = lists.failure.into_inner() {
        return Err(error);
    }
    state.ledger = ledger;
    let keys_pieces = if outcome.deleted {
        state.rows.remove_all(&key::user(user))?;
        Pieces::default() // the keys went with the rest
    } else {
        keys_pieces
    };
    if outcome.record_changed {
        state.rows.store_long(&record_key, &record_pieces, record.as_ref());
    }
    if outcome.keys_changed {
        state.rows.store_long(&keys_key, &keys_pieces, (!keys.is_empty()).then_some(&keys));
    }
    for row in &outcome.rows {
        store_row(state, user, row)?;
    }
    index_live(state, user, before.as_ref(), record.as_ref())?;
    Ok(outcome)
}

fn store_row(state: &mut State, user: &UserId, row: &Row) -> Result<(), ReadError> {
    match row {
        Row::Listed { list, other, added: Some(added) } => state.rows.set(&key::listed(user, *list, other), added),
        Row::Listed { list, other, added: None } => state.rows.remove(&key::listed(user, *list, other)),
        Row::History(entry) => {
            // Sequences are given out once, and a deleted user's rows go with the record that counts them.
            state.rows.set_new(&key::history(user, entry.seq), entry);
            Ok(())
        }
        Row::HistoryDropped { from, first } => {
            (*from..*first).try_for_each(|seq| state.rows.remove(&key::history(user, seq)))
        }
        Row::Restoring(Some(mark)) => state.rows.set(&key::cell(user, Cell::Restoring), mark),
        Row::Restoring(None) => state.rows.remove(&key::cell(user, Cell::Restoring)),
        Row::Part { part, kept } => state.rows.set_long(&key::part(user, *part), kept.as_deref()),
        Row::Profile(profile) => state.rows.set_long(&key::cell(user, Cell::Profile), profile.as_ref()),
    }
}

/// Keeps the index of users with timers.
fn index_live(
    state: &mut State,
    user: &UserId,
    before: Option<&UserRecord>,
    after: Option<&UserRecord>,
) -> Result<(), ReadError> {
    let timed =
        |record: Option<&UserRecord>| record.is_some_and(|r| !r.sessions.is_empty() || r.setting.expires_at.is_some());
    match (timed(before), timed(after)) {
        (false, true) => state.rows.set(&key::live(user), &()),
        (true, false) => state.rows.remove(&key::live(user)),
        _ => Ok(()),
    }
}
