//! The overlay over the disk, in order, from either end.

use super::rows::{Row, Unsynced};
use std::{cmp::Ordering, iter::Peekable, sync::Arc};

/// Two ordered sources as one, in either direction; the overlay has the last word, and may say that a row is gone.
pub(super) struct Merged<D: Iterator, O: Iterator> {
    pub(super) disk: Peekable<D>,
    pub(super) overlay: Peekable<O>,
    pub(super) backwards: bool,
}

impl<'a, D, O> Iterator for Merged<D, O>
where
    D: Iterator<Item = Row>,
    O: Iterator<Item = (&'a Arc<[u8]>, &'a Unsynced)>,
{
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let order = match (self.disk.peek(), self.overlay.peek()) {
                (Some(Err(_)), _) | (_, None) => Ordering::Less,
                (None, _) => Ordering::Greater,
                (Some(Ok((disk, _))), Some((overlay, _))) => {
                    let order = disk.as_slice().cmp(overlay);
                    if self.backwards { order.reverse() } else { order }
                }
            };
            if order == Ordering::Less {
                return self.disk.next();
            }
            if order == Ordering::Equal {
                self.disk.next();
            }
            let (key, unsynced) = self.overlay.next()?;
            if let Some(value) = &unsynced.value {
                return Some(Ok((key.to_vec(), value.to_vec())));
            }
        }
    }
}
