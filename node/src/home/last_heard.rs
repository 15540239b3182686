//! When the sessions of a partition were last heard: at its home from themselves, at its replicas from the home.
//!
//! In memory alone. What replicas are told is coalesced, so that `last_seen` loses at most the time between two tellings when a
//! home dies; what a home hands over before a planned transfer also holds for deadlines.

use super::partition::HomePartition;
use crate::{
    bounds::{HANDED_OVER_MAX_MS, LAST_HEARD_MAX, LAST_HEARD_PER_MESSAGE},
    peers::message::LastHeard,
};
use rollcall_presence::{SessionId, UnixMs, UserId};
use std::{collections::HashMap, sync::Arc};

/// The last sign of life of a session.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    user: UserId,
    /// In the time of the partition's deadlines.
    pub(super) own_ms: u64,
    pub(super) unix_ms: UnixMs,
    /// Whether the replicas have been told.
    told: bool,
}

/// What another home said of a session.
#[derive(Debug)]
struct Said {
    unix_ms: UnixMs,
    /// When it was heard, by this node's monotonic clock, and when that was said; only what was handed over is good for deadlines.
    handed: Option<(u64, u64)>,
}

/// When sessions were last heard.
#[derive(Debug, Default)]
pub(super) struct LastHeardTable {
    here: HashMap<SessionId, Heard>,
    elsewhere: HashMap<SessionId, Said>,
}

impl LastHeardTable {
    pub(super) fn get(&self, session: &SessionId) -> Option<&Heard> {
        self.here.get(session)
    }

    /// A sign of life.
    pub(super) fn hear(&mut self, user: &UserId, session: &SessionId, own_ms: u64, unix_ms: UnixMs) {
        match self.here.get_mut(session) {
            Some(heard) => {
                heard.own_ms = heard.own_ms.max(own_ms);
                heard.told &= unix_ms <= heard.unix_ms;
                heard.unix_ms = heard.unix_ms.max(unix_ms);
            }
            None => {
                self.here.insert(session.clone(), Heard { user: user.clone(), own_ms, unix_ms, told: false });
            }
        }
    }

    /// A sign of life of a session, if it is known here.
    fn hear_known(&mut self, session: &SessionId, own_ms: u64, unix_ms: UnixMs) {
        if let Some(heard) = self.here.get(session) {
            let user = heard.user.clone();
            self.hear(&user, session, own_ms, unix_ms);
        }
    }

    pub(super) fn forget(&mut self, session: &SessionId) {
        self.here.remove(session);
    }

    /// These sessions have ended: what was heard of them, here and by another home, is of no use any more.
    pub(super) fn ended(&mut self, sessions: &[SessionId]) {
        for session in sessions {
            self.elsewhere.remove(session);
            self.here.remove(session);
        }
    }

    /// The home is elsewhere now.
    pub(super) fn lay_down(&mut self) {
        self.here.clear();
    }
}

impl HomePartition {
    /// Takes what the partition's home says of its sessions; more than a replica keeps is dropped.
    pub fn was_heard(&self, heard: Vec<LastHeard>, handed_over: bool) {
        let now = self.clock.monotonic_ms();
        let mut table = self.last_heard.lock();
        for LastHeard { session, at, ago_ms, .. } in heard {
            if table.elsewhere.len() >= LAST_HEARD_MAX && !table.elsewhere.contains_key(&session) {
                continue;
            }
            let handed = handed_over.then(|| (now.saturating_sub(ago_ms), now));
            let said = table.elsewhere.entry(session).or_insert(Said { unix_ms: at, handed });
            said.unix_ms = said.unix_ms.max(at);
            said.handed = handed.or(said.handed);
        }
    }

    /// A sign of life of a session of which this home has heard before.
    pub(super) fn hear_known(&self, session: &SessionId, at: UnixMs) {
        let own_ms = self.deadlines.lock().own_time(self.clock.monotonic_ms());
        self.last_heard.lock().hear_known(session, own_ms, at);
    }

    /// What the home before this one said of a session that is taken over: its last sign of life is remembered. How long ago it was,
    /// if it was handed over just now.
    pub(super) fn recall(&self, user: &UserId, session: &SessionId) -> Option<u64> {
        let now = self.clock.monotonic_ms();
        let own_now = self.deadlines.lock().own_time(now);
        let mut table = self.last_heard.lock();
        let said = table.elsewhere.remove(session)?;
        let ago = said.handed.filter(|(_, at)| now.saturating_sub(*at) <= HANDED_OVER_MAX_MS);
        let ago_ms = ago.map(|(heard, _)| now.saturating_sub(heard));
        table.hear(user, session, own_now.saturating_sub(ago_ms.unwrap_or(0)), said.unix_ms);
        ago_ms
    }

    /// All that was heard before is of sessions that ended meanwhile.
    pub(super) fn recalled(&self) {
        self.last_heard.lock().elsewhere = HashMap::new();
    }

    /// When the sessions here were last heard, in parts that fit a message: all of them, or only what was not told before.
    #[must_use]
    pub fn last_heard(self: &Arc<Self>, all: bool) -> Vec<Vec<LastHeard>> {
        let own_now = self.deadlines.lock().own_time(self.clock.monotonic_ms());
        let mut parts: Vec<Vec<LastHeard>> = Vec::new();
        for (session, heard) in &mut self.last_heard.lock().here {
            if heard.told && !all {
                continue;
            }
            heard.told = true;
            let ago_ms = own_now.saturating_sub(heard.own_ms);
            let told = LastHeard { user: heard.user.clone(), session: session.clone(), at: heard.unix_ms, ago_ms };
            match parts.last_mut().filter(|part| part.len() < LAST_HEARD_PER_MESSAGE) {
                Some(part) => part.push(told),
                None => parts.push(vec![told]),
            }
        }
        parts
    }
}
