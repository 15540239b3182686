//! The rows of a partition as the users of a backup: rows in, in their order, sealed items out.
//!
//! A user of whom more is kept than a part may hold is cut into several. Sessions, idempotency keys and the index of timers are
//! left out: they are of no use in another cluster.

use super::{Item, Totals};
use crate::{
    limits::BACKUP_PART_FILL_BYTES,
    store::{
        envelope::{self, Kind},
        key::{self, Cell},
    },
};
use rollcall_presence::{HistoryEntry, Kept, Profile, Restored, UserId, UserRecord, codec};
use std::io;

/// A user whose rows are coming.
struct Open {
    id: UserId,
    record: Option<UserRecord>,
    profile: Option<Profile>,
    part: Restored,
    /// Bytes of rows in `part`.
    filled: usize,
    /// The pieces of a long value so far.
    pieces: Vec<u8>,
}

/// Takes rows, and gives items.
pub(super) struct Gather {
    backup: u64,
    open: Option<Open>,
    items: Vec<u8>,
    held: Totals,
}

impl Gather {
    /// Gathers for the backup of this number.
    pub(super) fn new(backup: u64) -> Self {
        Self { backup, open: None, items: Vec::new(), held: Totals::default() }
    }

    /// Adds an item that is there already.
    pub(super) fn add(&mut self, item: &Item) {
        self.items.extend_from_slice(&item.sealed());
    }

    /// The items so far, and what they hold.
    pub(super) fn take_items(&mut self) -> (Vec<u8>, Totals) {
        (std::mem::take(&mut self.items), std::mem::take(&mut self.held))
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn row(&mut self, row_key: &[u8], value: &[u8]) -> io::Result<()> {
        let Some(user) = key::user_of(row_key) else { return Ok(()) };
        if self.open.as_ref().is_none_or(|open| open.id.as_bytes() != user) {
            self.end_user();
            self.open = Some(Open::new(self.backup, user)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let prefix = key::users().len() + open.id.len() + 1;
        let Some((cell, rest)) = row_key.get(prefix..).and_then(<[u8]>::split_first) else { return Ok(()) };
        let len = rest.len() + value.len();
        if *cell == Cell::Record as u8 {
            if let Some(record) = open.long::<UserRecord>(value)? {
                (open.part.history_first, open.part.history_next) = (record.history_first, record.history_next);
                open.record = Some(record);
            }
        } else if *cell == Cell::Profile as u8 {
            if let Some(profile) = open.long(value)? {
                open.profile = Some(profile);
            }
        } else if *cell == Cell::Contact as u8 {
            open.part.contacts.push((other(rest)?, opened(value)?));
            open.filled += len;
        } else if *cell == Cell::Block as u8 {
            open.part.blocks.push((other(rest)?, opened(value)?));
            open.filled += len;
        } else if *cell == Cell::History as u8 {
            open.part.history.push(opened::<HistoryEntry>(value)?);
            open.filled += len;
        }
        if open.filled >= BACKUP_PART_FILL_BYTES {
            self.put(None);
        }
        Ok(())
    }

    /// There are no more rows of the user in hand.
    pub(super) fn end_user(&mut self) {
        let last = self.open.as_mut().and_then(|open| Some(Kept::of(open.record.as_ref()?, open.profile.take())));
        // Who has no record was deleted, and only the key of that is left.
        if let Some(kept) = last {
            self.put(Some(kept));
        }
        self.open = None;
    }

    /// Puts out the part in hand.
    fn put(&mut self, last: Option<Kept>) {
        let Some(open) = &mut self.open else { return };
        let next = Restored {
            part: open.part.part.saturating_add(1),
            contacts: Vec::new(),
            blocks: Vec::new(),
            history: Vec::new(),
            last: None,
            ..open.part
        };
        let mut part = std::mem::replace(&mut open.part, next);
        open.filled = 0;
        part.last = last.map(Box::new);
        self.held =
            self.held.plus(Totals { users: u64::from(part.last.is_some()), history: part.history.len() as u64 });
        let item = Item::User { user: open.id.clone(), part };
        self.add(&item);
    }
}

impl Open {
    fn new(backup: u64, user: &[u8]) -> io::Result<Self> {
        let part = Restored {
            backup,
            part: 0,
            overwrite: false,
            history_first: 0,
            history_next: 0,
            contacts: Vec::new(),
            blocks: Vec::new(),
            history: Vec::new(),
            last: None,
        };
        Ok(Self { id: other(user)?, record: None, profile: None, part, filled: 0, pieces: Vec::new() })
    }

    /// Takes a piece of a long value; the value, once all of it is there.
    fn long<T: bincode::Decode<()>>(&mut self, piece: &[u8]) -> io::Result<Option<T>> {
        self.pieces.extend_from_slice(piece);
        let len = envelope::sealed_len(&self.pieces).map_err(damaged)?;
        if self.pieces.len() < len {
            return Ok(None);
        }
        opened(&std::mem::take(&mut self.pieces)).map(Some)
    }
}

fn damaged(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a row is damaged: {why}"))
}

fn opened<T: bincode::Decode<()>>(sealed: &[u8]) -> io::Result<T> {
    codec::decode(envelope::open(Kind::StateRow, sealed).map_err(damaged)?).map_err(damaged)
}

fn other(bytes: &[u8]) -> io::Result<UserId> {
    let text = str::from_utf8(bytes).map_err(damaged)?;
    UserId::new(text).map_err(damaged)
}
