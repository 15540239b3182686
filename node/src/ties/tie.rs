//! One partition's tie: events and the time in, effects out. When to announce, when to compare, and when what is held is stale.
//!
//! Promises to go on until a home that can confirm itself has heard everything, and never to take silence for anything but
//! staleness.

use crate::{
    bounds::{COMPARE_AGAIN_MS, COMPARE_EVERY_MS, HOME_LOST_MS, TIE_RETRY_MS},
    home::tenure::Tenure,
};
use rollcall_presence::NodeName;

/// Comparisons that differ in a row before all is announced again: what is under way at the moment differs too.
const STRIKES_MAX: u8 = 3;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another node leads, or none, as far as is known here.
    Leader(Option<NodeName>),
    /// A node says that it is the home from now on.
    TakenUp(Tenure),
    /// A parcel came, with its number; 0 from this very node.
    Parcel(Tenure, u64),
    /// The link to a node is there again.
    Linked(NodeName),
    /// The link to a node is lost.
    Unlinked(NodeName),
    /// Whether this node reaches a majority of the cluster has changed.
    Confirmed(bool),
    /// Everything was announced.
    Announced {
        /// To this home.
        tenure: Tenure,
        /// The number of the last parcel before.
        number: u64,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// The home was not reached, or changed meanwhile.
    NotAnnounced,
    /// The home compared.
    Compared {
        /// The home.
        tenure: Tenure,
        /// The number of the last parcel.
        number: u64,
        /// Whether it knows the same ties.
        same: bool,
        /// Whether the home could not confirm its lease.
        stale: bool,
    },
    /// The home did not answer.
    NotCompared,
    /// A presence was taken that no home confirmed: by way of another node, from a replica, or from a home without its lease.
    Doubted,
    /// There is a reason to compare before it is time.
    CompareSoon,
    /// Time passes.
    Tick {
        /// Whether anything is tied: otherwise there is nothing to compare.
        tied: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Announce everything.
    Announce,
    /// Compare digests.
    Compare,
    /// What is held of the partition's users is stale, or no longer.
    Stale(bool),
}

/// The parcels of one home: without a gap from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parcels {
    tenure: Tenure,
    first: u64,
    last: u64,
}

/// A partition's tie.
#[derive(Debug)]
pub struct Tie {
    leader: Option<NodeName>,
    tenure: Option<Tenure>,
    parcels: Option<Parcels>,
    confirmed: bool,
    /// Whether everything is to be announced, and since when it may be.
    wants_at: Option<u64>,
    busy: bool,
    compare_at: u64,
    comparing: bool,
    strikes: u8,
    lost_at: Option<u64>,
    stale: bool,
    /// When what is held is marked once more: what came from a home meanwhile, before everything was announced to it, is not marked.
    mark_at: Option<u64>,
}

impl Tie {
    /// Nothing is announced yet; `spread_ms` keeps partitions from comparing all at once.
    #[must_use]
    pub fn new(now: u64, spread_ms: u64) -> Self {
        Self {
            leader: None,
            tenure: None,
            parcels: None,
            confirmed: true,
            wants_at: None,
            busy: false,
            compare_at: now + COMPARE_EVERY_MS + spread_ms,
            comparing: false,
            strikes: 0,
            lost_at: Some(now),
            stale: false,
            mark_at: None,
        }
    }

    /// Whether a home that can confirm itself has heard everything.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.wants_at.is_none() && !self.busy && self.lost_at.is_none()
    }

    /// Takes an event.
    pub fn on(&mut self, event: Event, now: u64) -> Vec<Effect> {
        match event {
            Event::Leader(leader) => self.leads(leader, now),
            Event::TakenUp(tenure) => {
                if self.tenure.as_ref() != Some(&tenure) {
                    self.leader = Some(tenure.holder.node);
                    self.wants_at = Some(now);
                }
            }
            Event::Parcel(tenure, number) => self.parcel(tenure, number, now),
            Event::Linked(peer) if self.leader.as_ref() == Some(&peer) => self.wants_at = Some(now),
            Event::Unlinked(peer) if self.leader.as_ref() == Some(&peer) => self.lose(now),
            // It may be the home by now, of which nobody could tell.
            Event::Linked(_) => self.compare_at = now,
            Event::Unlinked(_) => {}
            Event::Confirmed(confirmed) => {
                self.confirmed = confirmed;
                if confirmed {
                    self.wants_at = Some(now);
                } else {
                    self.lose(now);
                }
            }
            Event::Announced { tenure, number, stale } => return self.announced(tenure, number, stale, now),
            Event::NotAnnounced => {
                self.busy = false;
                self.wants_at = Some(now + TIE_RETRY_MS);
                self.lose(now);
            }
            Event::Compared { tenure, number, same, stale } => self.compared(&tenure, number, same, stale, now),
            Event::NotCompared => {
                self.comparing = false;
                self.compare_at = now + COMPARE_AGAIN_MS;
                self.lose(now);
                self.wants_at = self.wants_at.or(Some(now + TIE_RETRY_MS));
            }
            Event::Doubted => {
                self.lose(now);
                self.wants_at = self.wants_at.or(Some(now + TIE_RETRY_MS));
            }
            Event::CompareSoon => self.compare_at = now,
            Event::Tick { tied } => return self.tick(tied, now),
        }
        Vec::new()
    }

    fn lose(&mut self, now: u64) {
        self.lost_at = self.lost_at.or(Some(now));
        if self.stale {
            self.mark_at = self.mark_at.or(Some(now + HOME_LOST_MS));
        }
    }

    fn leads(&mut self, leader: Option<NodeName>, now: u64) {
        if self.leader == leader {
            return;
        }
        match &leader {
            Some(_) => self.wants_at = Some(now),
            None => {
                self.lose(now);
                // Whoever is to be found.
                self.wants_at = self.wants_at.or(Some(now + TIE_RETRY_MS));
            }
        }
        self.leader = leader;
    }

    fn parcel(&mut self, tenure: Tenure, number: u64, now: u64) {
        if number == 0 {
            return;
        }
        let gap = match &mut self.parcels {
            Some(parcels) if parcels.tenure == tenure => {
                let gap = number > parcels.last + 1;
                parcels.last = parcels.last.max(number);
                gap
            }
            _ => {
                self.parcels = Some(Parcels { tenure, first: number, last: number });
                // Judged once the home has said where its numbers stand.
                !self.busy
            }
        };
        if gap {
            self.wants_at = Some(now);
        }
    }

    fn announced(&mut self, tenure: Tenure, number: u64, stale: bool, now: u64) -> Vec<Effect> {
        self.busy = false;
        self.comparing = false;
        self.strikes = 0;
        self.compare_at = now + COMPARE_EVERY_MS;
        match &self.parcels {
            // Between what the home had sent by then and the first that came is a gap, or there is none.
            Some(parcels) if parcels.tenure == tenure && parcels.first <= number + 1 => {}
            None => self.parcels = Some(Parcels { tenure: tenure.clone(), first: number + 1, last: number }),
            Some(_) => {
                self.parcels = Some(Parcels { tenure: tenure.clone(), first: number + 1, last: number });
                self.wants_at = Some(now + TIE_RETRY_MS);
            }
        }
        self.leader = Some(tenure.holder.node.clone());
        self.tenure = Some(tenure);
        if stale || !self.confirmed {
            self.lose(now);
            self.wants_at = self.wants_at.or(Some(now + COMPARE_AGAIN_MS));
            return Vec::new();
        }
        self.lost_at = None;
        self.mark_at = None;
        // Also when the partition as a whole was not stale: one user's presence may have come from a replica.
        self.stale = false;
        vec![Effect::Stale(false)]
    }

    fn compared(&mut self, tenure: &Tenure, number: u64, same: bool, stale: bool, now: u64) {
        self.comparing = false;
        self.compare_at = now + COMPARE_EVERY_MS;
        if stale {
            self.lose(now);
            self.compare_at = now + COMPARE_AGAIN_MS;
        } else if self.lost_at.is_some() || self.tenure.as_ref() != Some(tenure) {
            self.wants_at = Some(now);
        }
        let known = self.parcels.as_ref().filter(|p| p.tenure == *tenure).map_or(0, |p| p.last);
        if same && known >= number {
            self.strikes = 0;
            return;
        }
        self.strikes += 1;
        self.compare_at = now + COMPARE_AGAIN_MS;
        if self.strikes >= STRIKES_MAX {
            self.strikes = 0;
            self.wants_at = Some(now);
        }
    }

    fn tick(&mut self, tied: bool, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.busy && self.wants_at.is_some_and(|at| at <= now) {
            self.wants_at = None;
            self.busy = true;
            self.parcels = None;
            effects.push(Effect::Announce);
        } else if tied && !self.busy && !self.comparing && self.leader.is_some() && self.compare_at <= now {
            self.comparing = true;
            effects.push(Effect::Compare);
        }
        let is_lost = !self.stale && self.lost_at.is_some_and(|at| now.saturating_sub(at) >= HOME_LOST_MS);
        if is_lost || self.mark_at.is_some_and(|at| at <= now) {
            (self.stale, self.mark_at) = (true, None);
            effects.push(Effect::Stale(true));
        }
        effects
    }
}

#[cfg(test)]
#[path = "tie_tests.rs"]
mod tests;
