//! A home's own identity in time, and what it sends to the nodes that hold sockets: numbered parcels, so that a lost one shows.

use super::{partition::HomePartition, request::NodeNote, tenure::Tenure};
use crate::peers::message::Parcel;
use rollcall_presence::Holder;

/// Whether, and as what, a partition is taken up here.
#[derive(Debug, Default)]
pub(super) struct Taking {
    current: Option<Tenure>,
    /// How often it was taken up.
    count: u64,
}

impl Taking {
    /// Taken up in `term` by `holder`; `None` when it already is, in that term.
    fn take_up(&mut self, holder: &Holder, term: u64) -> Option<Tenure> {
        if self.current.as_ref().is_some_and(|tenure| tenure.term == term) {
            return None;
        }
        self.count += 1;
        self.current = Some(Tenure { holder: holder.clone(), term, number: self.count });
        self.current.clone()
    }

    /// Whether what is held here belongs to another term than `term`: the partition's actor has not caught up with it yet.
    pub(super) fn is_behind(&self, term: u64) -> bool {
        self.current.as_ref().is_some_and(|tenure| tenure.term != term)
    }

    /// The home is elsewhere now.
    pub(super) fn lay_down(&mut self) {
        self.current = None;
    }
}

impl HomePartition {
    /// What this home is at the moment; `None` while it is elsewhere or not taken up yet.
    #[must_use]
    pub fn tenure(&self) -> Option<Tenure> {
        let term = self.term()?;
        self.taking.lock().current.clone().filter(|tenure| tenure.term == term)
    }

    /// Takes the partition up as its home in `term`, and tells every node so. `false` if that was done before.
    pub(super) fn take_up(&self, term: u64) -> bool {
        let known = self.taking.lock().current.clone();
        if known.is_some_and(|tenure| tenure.term != term) {
            // Others may have been its home in between: what was told here before is not what is so now.
            self.retire();
        }
        let Some(tenure) = self.taking.lock().take_up(self.nodes.this(), term) else { return false };
        self.nodes.taken_up(self.id(), &tenure);
        true
    }

    /// Tells `holder` one thing.
    pub(super) fn note(&self, holder: &Holder, note: NodeNote) {
        self.parcel(holder, vec![note]);
    }

    /// Tells `holder` all of `notes` at once, if this is still the home. Also a node that is not known to live: it may be back before
    /// the news of it, and what gets lost on the way to it left a number behind that it misses.
    pub(super) fn parcel(&self, holder: &Holder, notes: Vec<NodeNote>) {
        // What was committed while the home was laid down reaches the nodes through the next one.
        let Some(tenure) = self.taking.lock().current.clone() else { return };
        if !self.nodes.is_of_now(holder) {
            return;
        }
        let partition = self.id();
        if holder == self.nodes.this() {
            // Nothing is lost on the way to oneself, and no lock may be held: this node's sockets tell homes while they hold theirs.
            self.nodes.send(holder, Parcel { partition, tenure, number: 0, notes });
            return;
        }
        self.watching.send(holder, |number| self.nodes.send(holder, Parcel { partition, tenure, number, notes }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::NodeName;

    #[test]
    fn what_was_taken_up_in_another_term_is_behind_until_it_is_laid_down_or_taken_up_again() {
        let holder = Holder { node: NodeName::new("n1").unwrap(), generation: 1 };
        let mut taking = Taking::default();
        assert!(!taking.is_behind(1));
        assert!(taking.take_up(&holder, 1).is_some());
        assert!(!taking.is_behind(1));
        assert!(taking.is_behind(3));
        assert!(taking.take_up(&holder, 3).is_some());
        assert!(!taking.is_behind(3));
        taking.lay_down();
        assert!(!taking.is_behind(5));
    }
}
