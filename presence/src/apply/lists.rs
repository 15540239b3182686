//! Contacts and blocks: a change of a list, all or nothing.

use super::{Relations, Step};
use crate::{
    command::{ListChanges, ListKind},
    id::UserId,
    outcome::{Answer, Capacity, Refusal, Row},
};
use alloc::{collections::BTreeSet, vec::Vec};

impl<R: Relations> Step<'_, R> {
    pub(super) fn change_list(&mut self, changes: &ListChanges) -> Result<Answer, Refusal> {
        let list = changes.list;
        let add: BTreeSet<&UserId> = changes.add.iter().collect();
        let remove: BTreeSet<&UserId> = changes.remove.iter().filter(|r| !add.contains(r)).collect();
        let added: Vec<&UserId> =
            add.into_iter().filter(|o| self.relations.added_at(list, o).is_none() && **o != *self.user).collect();
        let removed: Vec<&UserId> = remove.into_iter().filter(|o| self.relations.added_at(list, o).is_some()).collect();
        let (what, max, total) = match list {
            ListKind::Contacts => (Capacity::Contacts, self.policy.contacts_max, &mut self.record.contacts),
            ListKind::Blocks => (Capacity::Blocks, self.policy.blocks_max, &mut self.record.blocks),
        };
        let after = u64::from(*total) + added.len() as u64 - (removed.len() as u64).min(u64::from(*total));
        if !added.is_empty() && after > u64::from(max) {
            return Err(Refusal::LimitExceeded { what, max });
        }
        *total = u32::try_from(after).unwrap_or(u32::MAX);
        let total = *total;
        let now = self.now;
        let row = |other: &UserId, added| Row::Listed { list, other: other.clone(), added };
        self.rows.extend(removed.into_iter().map(|o| row(o, None)));
        self.rows.extend(added.into_iter().map(|o| row(o, Some(now))));
        Ok(Answer::Total(total))
    }
}
