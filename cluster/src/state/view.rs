//! What may be read of a partition's state, all of one moment.

use super::{cell::State, read_error::ReadError};
use crate::store::key::{self, Cell};
use rollcall_presence::{HistoryEntry, KeyTable, Ledger, ListKind, Profile, UnixMs, UserId, UserRecord};

/// What a look for expired rows found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Users of whom something has expired.
    pub users: Vec<UserId>,
    /// The last user that was looked at.
    pub last: Option<UserId>,
    /// Whether there is none after that.
    pub is_end: bool,
}

/// One consistent view: nothing is applied while it is held, so hold it briefly.
pub struct View<'a> {
    state: &'a State,
}

impl<'a> View<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self { state }
    }

    /// What the rules count.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.state.ledger
    }

    /// The user's record, if anything is stored of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self, user: &UserId) -> Result<Option<UserRecord>, ReadError> {
        self.state.rows.get_long(&key::cell(user, Cell::Record))
    }

    /// Since when `other` is on a list of `user`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn added_at(&self, user: &UserId, list: ListKind, other: &UserId) -> Result<Option<UnixMs>, ReadError> {
        self.state.rows.get(&key::listed(user, list, other))
    }

    /// At most `limit` of a list of `user`, after `after`, in byte order, with the time each was added.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(
        &self,
        user: &UserId,
        list: ListKind,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, UnixMs)>, ReadError> {
        let prefix = key::list_rows(user, list);
        let from = after.map_or_else(|| prefix.clone(), |other| just_after(key::listed(user, list, other)));
        let rows = &self.state.rows;
        let mut listed = Vec::new();
        for row in rows.scan(&from, &key::after(&prefix)).take(limit) {
            let (key, sealed) = row?;
            listed.push((user_in(&key[prefix.len()..])?, rows.decode(&sealed)?));
        }
        Ok(listed)
    }

    /// At most `limit` entries of the user's history with `from` ≤ `at` < `to`, newest first; with `before_seq` only
    /// older ones than that.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn history(
        &self,
        user: &UserId,
        from: UnixMs,
        to: UnixMs,
        before_seq: Option<u64>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ReadError> {
        let prefix = key::cell(user, Cell::History);
        let end = before_seq.map_or_else(|| key::after(&prefix), |seq| key::history(user, seq));
        let rows = &self.state.rows;
        let mut entries = Vec::new();
        for row in rows.scan_back(&prefix, &end) {
            let entry: HistoryEntry = rows.decode(&row?.1)?;
            // Time never falls: what is older than `from` has only older ones before it.
            if entry.at < from || entries.len() >= limit {
                break;
            }
            if entry.at < to {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Looks at up to `limit` users after `after`, in byte order, for what [`DropExpired`](rollcall_presence::Intent::DropExpired)
    /// would drop at `now`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn expired(
        &self,
        after: Option<&UserId>,
        limit: usize,
        now: UnixMs,
        history_age_ms: u64,
    ) -> Result<Expired, ReadError> {
        let rows = &self.state.rows;
        let end = key::after(&key::users());
        let mut found = Expired { users: Vec::new(), last: after.cloned(), is_end: true };
        for _ in 0..limit {
            let from = found.last.as_ref().map_or_else(key::users, |user| key::after(&key::user(user)));
            let Some(row) = rows.scan(&from, &end).next().transpose()? else { return Ok(found) };
            let user = user_in(key::user_of(&row.0).unwrap_or_default())?;
            let history = key::cell(&user, Cell::History);
            let oldest = rows.scan(&history, &key::after(&history)).next().transpose()?;
            let oldest = oldest.map(|row| rows.decode::<HistoryEntry>(&row.1)).transpose()?;
            // The record comes first. Who has none was deleted under a key; who has one uses keys again, or ages.
            let keys: Option<KeyTable> = match row.0.starts_with(&key::cell(&user, Cell::Record)) {
                true => None,
                false => rows.get_long(&key::cell(&user, Cell::Keys))?,
            };
            if oldest.is_some_and(|entry| entry.at.saturating_add(history_age_ms) <= now)
                || keys.is_some_and(|keys| keys.has_expired(now))
            {
                found.users.push(user.clone());
            }
            found.last = Some(user);
        }
        Ok(Expired { is_end: false, ..found })
    }

    /// The user's profile, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn profile(&self, user: &UserId) -> Result<Option<Profile>, ReadError> {
        self.state.rows.get_long(&key::cell(user, Cell::Profile))
    }

    /// At most `limit` users after `after` that have a live session or a setting that expires, in byte order: those whose
    /// timers a new home has to set.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn live_users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, ReadError> {
        let prefix = key::live_rows();
        let from = after.map_or_else(|| prefix.clone(), |user| just_after(key::live(user)));
        let to = key::after(&prefix);
        self.state.rows.scan(&from, &to).take(limit).map(|row| user_in(&row?.0[prefix.len()..])).collect()
    }
}

/// The smallest key after `key`.
fn just_after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

pub(super) fn user_in(key: &[u8]) -> Result<UserId, ReadError> {
    let text = str::from_utf8(key).ok().and_then(|text| UserId::new(text).ok());
    text.ok_or_else(|| ReadError::Disk(std::io::Error::new(std::io::ErrorKind::InvalidData, "a key holds no user id")))
}
