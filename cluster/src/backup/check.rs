//! Whether items make a whole backup, one after the other: pure, and the same for a file and for what comes over the wire.

use super::{BackupError, Item, Totals};
use rollcall_presence::{UnixMs, UserId};
use std::ops::Range;

/// A user of whom not all parts were there yet.
#[derive(Debug)]
struct Begun {
    user: UserId,
    next: u32,
}

/// A section that is being read.
#[derive(Debug)]
struct Section {
    from: u64,
    held: Totals,
}

/// Takes the items of a backup in their order.
#[derive(Debug, Default)]
pub struct Check {
    begin: Option<(u64, String, UnixMs)>,
    section: Option<Section>,
    user: Option<Begun>,
    held: Totals,
    void: Vec<Range<u64>>,
    bytes: u64,
    has_ended: bool,
}

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The cluster that it was made of.
    pub cluster_id: String,
    /// When it was begun.
    pub taken_at: UnixMs,
    /// What it holds.
    pub totals: Totals,
    /// How long it is.
    pub bytes: u64,
    /// Where in it users stand that count for nothing, in order: a few ranges at most, one a section that began again.
    pub void: Vec<Range<u64>>,
}

impl Check {
    /// Takes the next item, `len` bytes long.
    ///
    /// # Errors
    /// When it does not belong there.
    pub fn take(&mut self, len: usize, item: &Item) -> Result<(), BackupError> {
        let from = self.bytes;
        self.bytes += len as u64;
        if self.has_ended {
            return Err(BackupError::OutOfOrder("something follows the end mark"));
        }
        if self.begin.is_none() && !matches!(item, Item::Begin { .. }) {
            return Err(BackupError::OutOfOrder("it does not begin as a backup does"));
        }
        if self.user.is_some() && !matches!(item, Item::User { .. } | Item::Void | Item::Failed(_)) {
            return Err(BackupError::OutOfOrder("a user is not all there"));
        }
        match item {
            Item::Begin { backup, cluster_id, taken_at } => {
                if self.begin.is_some() {
                    return Err(BackupError::OutOfOrder("it begins twice"));
                }
                self.begin = Some((*backup, cluster_id.clone(), *taken_at));
            }
            Item::Section { .. } => {
                self.end_section();
                self.section = Some(Section { from, held: Totals::default() });
            }
            Item::User { user, part } => {
                if self.begin.as_ref().is_none_or(|(backup, ..)| *backup != part.backup) {
                    return Err(BackupError::OutOfOrder("a user is of another backup"));
                }
                let is_last = part.last.is_some();
                self.user(user, part.part, is_last)?;
                let section = self.section.as_mut().ok_or(BackupError::OutOfOrder("a user is of no partition"))?;
                let held = Totals { users: u64::from(is_last), history: part.history.len() as u64 };
                section.held = section.held.plus(held);
            }
            Item::Void => {
                let section = self.section.take().ok_or(BackupError::OutOfOrder("no partition is there to be void"))?;
                self.user = None;
                self.void.push(section.from..self.bytes);
            }
            Item::Failed(why) => return Err(BackupError::Failed(why.clone())),
            Item::End(marked) => {
                self.end_section();
                self.has_ended = true;
                if *marked != self.held {
                    return Err(BackupError::Counts { marked: *marked, held: self.held });
                }
            }
        }
        Ok(())
    }

    /// A user's parts are there from the first to the last, one after the other.
    fn user(&mut self, user: &UserId, part: u32, is_last: bool) -> Result<(), BackupError> {
        let fits = match &self.user {
            Some(begun) => begun.user == *user && begun.next == part,
            None => part == 0,
        };
        if !fits {
            return Err(BackupError::OutOfOrder("a user is not all there"));
        }
        self.user = (!is_last).then(|| Begun { user: user.clone(), next: part.saturating_add(1) });
        Ok(())
    }

    fn end_section(&mut self) {
        if let Some(section) = self.section.take() {
            self.held = self.held.plus(section.held);
        }
    }

    /// What was checked, once there is nothing more.
    ///
    /// # Errors
    /// When the end mark is missing.
    pub fn finish(self) -> Result<Checked, BackupError> {
        let (true, Some((_, cluster_id, taken_at))) = (self.has_ended, self.begin) else {
            return Err(BackupError::Unfinished);
        };
        Ok(Checked { cluster_id, taken_at, totals: self.held, bytes: self.bytes, void: self.void })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::{Kept, PartitionId, Restored, UserRecord};

    fn user(name: &str, part: u32, is_last: bool) -> Item {
        let kept = || Box::new(Kept::of(&UserRecord::unknown(), None));
        let part = Restored {
            backup: 7,
            part,
            overwrite: false,
            history_first: 0,
            history_next: 0,
            contacts: Vec::new(),
            blocks: Vec::new(),
            history: Vec::new(),
            last: is_last.then(kept),
        };
        Item::User { user: UserId::new(name).unwrap(), part }
    }

    fn begin() -> Item {
        Item::Begin { backup: 7, cluster_id: "c".into(), taken_at: 1 }
    }

    fn section(number: u16) -> Item {
        Item::Section { partition: PartitionId(number), revision: 1 }
    }

    fn end(users: u64) -> Item {
        Item::End(Totals { users, history: 0 })
    }

    fn checked(items: &[Item]) -> Result<Checked, BackupError> {
        let mut check = Check::default();
        items.iter().try_for_each(|item| check.take(10, item))?;
        check.finish()
    }

    #[test]
    fn a_section_that_began_again_counts_once() {
        let items =
            [begin(), section(0), user("a", 0, true), user("b", 0, false), Item::Void, section(0), user("a", 0, true)];
        let whole = checked(&[&items[..], &[section(1), user("c", 0, false), user("c", 1, true), end(2)]].concat());
        let whole = whole.unwrap();
        assert_eq!((whole.totals.users, whole.bytes), (2, 110));
        assert_eq!(whole.void.first(), Some(&(10..50)));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let bad: [&[Item]; 11] = [
            &[],
            &[begin(), section(0), user("a", 0, true)],
            &[section(0), end(0)],
            &[begin(), begin(), end(0)],
            &[begin(), user("a", 0, true), end(1)],
            &[begin(), section(0), user("a", 0, true), end(2)],
            &[begin(), section(0), user("a", 0, false), end(0)],
            &[begin(), section(0), user("a", 0, false), user("b", 1, true), end(1)],
            &[begin(), section(0), user("a", 1, true), end(1)],
            &[begin(), section(0), end(0), section(1)],
            &[begin(), section(0), Item::Failed("no home".into()), end(0)],
        ];
        for items in bad {
            assert!(checked(items).is_err(), "{items:?}");
        }
        assert!(checked(&[begin(), end(0)]).is_ok());
    }
}
