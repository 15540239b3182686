//! Which placement a leader may act by: none that is older than its leadership.
//!
//! Pure. An earlier leader of the group may have reached a later change already, which this node has not heard of. So the first
//! answer of the placement leader to a question that was asked since says which epoch is needed; later answers change
//! nothing, so that a placement that is applied more slowly than it changes still gets there.

use super::standing::Confirmed;
use rollcall_presence::PartitionId;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// One leadership of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Led {
    term: u64,
    /// Since when it is seen.
    since: Instant,
    /// The epoch that is needed, once it is known.
    needs: Option<u64>,
}

/// How a placement stands to a leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It may be acted by.
    Fresh,
    /// It is not known yet which one may be.
    Unconfirmed,
    /// A later one is on its way.
    Behind,
}

/// The leaderships of this node.
#[derive(Debug, Default)]
pub(super) struct Fence(BTreeMap<PartitionId, Led>);

impl Fence {
    /// This node leads a group in `term`.
    pub(super) fn leads(&mut self, id: PartitionId, term: u64, now: Instant) {
        if self.0.get(&id).is_none_or(|led| led.term != term) {
            self.0.insert(id, Led { term, since: now, needs: None });
        }
    }

    /// It does not.
    pub(super) fn lost(&mut self, id: PartitionId) {
        self.0.remove(&id);
    }

    /// The placement leader has answered.
    pub(super) fn confirmed(&mut self, confirmed: Confirmed) {
        for led in self.0.values_mut().filter(|led| confirmed.asked_at >= led.since) {
            led.needs.get_or_insert(confirmed.epoch);
        }
    }

    /// How a placement of `epoch` stands to the leadership of a group in `term`.
    pub(super) fn freshness(&self, id: PartitionId, term: u64, epoch: u64) -> Freshness {
        match self.0.get(&id).filter(|led| led.term == term).and_then(|led| led.needs) {
            None => Freshness::Unconfirmed,
            Some(needs) if epoch >= needs => Freshness::Fresh,
            Some(_) => Freshness::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ID: PartitionId = PartitionId(0);

    #[test]
    fn the_first_answer_since_says_what_is_needed_and_later_ones_don_t_raise_it() {
        let (mut fence, begun) = (Fence::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        fence.leads(ID, 5, at(10));
        assert_eq!(fence.freshness(ID, 5, 100), Freshness::Unconfirmed);
        fence.confirmed(Confirmed { asked_at: at(9), epoch: 3 });
        assert_eq!(fence.freshness(ID, 5, 100), Freshness::Unconfirmed, "asked before");
        fence.confirmed(Confirmed { asked_at: at(10), epoch: 7 });
        assert_eq!(fence.freshness(ID, 5, 6), Freshness::Behind);
        assert_eq!(fence.freshness(ID, 5, 7), Freshness::Fresh);
        fence.confirmed(Confirmed { asked_at: at(20), epoch: 9 });
        assert_eq!(fence.freshness(ID, 5, 7), Freshness::Fresh);
    }

    #[test]
    fn leadership_that_was_lost_and_came_back_is_another_one() {
        let (mut fence, begun) = (Fence::default(), Instant::now());
        fence.leads(ID, 5, begun);
        fence.confirmed(Confirmed { asked_at: begun, epoch: 7 });
        assert_eq!(fence.freshness(ID, 7, 100), Freshness::Unconfirmed, "nothing is known of that term");
        let later = begun + Duration::from_millis(1);
        fence.leads(ID, 7, later);
        fence.confirmed(Confirmed { asked_at: begun, epoch: 7 });
        assert_eq!(fence.freshness(ID, 7, 100), Freshness::Unconfirmed);
        fence.confirmed(Confirmed { asked_at: later, epoch: 8 });
        assert_eq!(fence.freshness(ID, 7, 8), Freshness::Fresh);
        fence.leads(ID, 7, later + Duration::from_millis(1));
        assert_eq!(fence.freshness(ID, 7, 8), Freshness::Fresh, "still the same");
    }
}
