//! Signs of life of a user's sessions, and what happens when there are none.
//!
//! A heartbeat only moves a number in memory; the timer that was set goes off as it was, and is set again if life was heard
//! of meanwhile. Times are those of the partition's deadlines, in which a pause of this process does not count.

use super::{
    partition::Due,
    user_actor::{Then, UserMsg, UserState},
};
use ractor::{ActorProcessingErr, ActorRef};
use rollcall_presence::{EndCause, Intent, Session, SessionId, SessionKind, UnixMs};

impl UserState {
    pub(super) fn due(&mut self, myself: &ActorRef<UserMsg>, due: Due) -> Result<(), ActorProcessingErr> {
        let intent = match &due {
            Due::Setting => match self.record.setting.expires_at {
                Some(at) if at <= self.partition.clock.unix_ms() => Intent::ExpireStatus { expires_at: at },
                _ => {
                    self.partition.time_setting(&self.user, &self.record);
                    return Ok(());
                }
            },
            Due::Session(id) => match self.silent(id) {
                Some(intent) => intent,
                None => return Ok(()),
            },
        };
        self.propose(myself, intent, None, Then::Again(due))
    }

    /// The end of a session that fell silent; otherwise its timer is set again, if it needs one.
    fn silent(&mut self, id: &SessionId) -> Option<Intent> {
        let session = self.record.session(id)?.clone();
        let heard = self.partition.last_heard.lock().get(id).cloned();
        let heard_at = heard.as_ref().map_or(session.heard_at, |h| h.unix_ms.max(session.heard_at));
        let mut cause = EndCause::Expired;
        if session.kind == SessionKind::WebSocket {
            // Timed here only when its connection was gone with nobody to end it; resumed meanwhile, its new node judges it.
            match self.partition.gone(&self.user, &session) {
                Some(gone) => cause = gone,
                None => return None,
            }
        } else if let Some(heard) = heard {
            let now = self.partition.clock.monotonic_ms();
            let silent_at = heard.own_ms + self.partition.rules.session_ttl_ms;
            let own_now = self.partition.deadlines.lock().own_time(now);
            if own_now < silent_at {
                let key = (self.user.clone(), Due::Session(id.clone()));
                self.partition.deadlines.lock().set(key, now + (silent_at - own_now));
                return None;
            }
        }
        let attachment = (session.kind == SessionKind::WebSocket).then_some(session.attachment);
        Some(Intent::EndSession { session: session.id, attachment, cause, heard_at })
    }

    /// A sign of life of `session`, now or when told.
    pub(super) fn hear(&mut self, session: &SessionId, at: Option<UnixMs>) {
        if self.record.session(session).is_none() {
            return;
        }
        let own_ms = self.partition.deadlines.lock().own_time(self.partition.clock.monotonic_ms());
        let unix_ms = at.unwrap_or_else(|| self.partition.clock.unix_ms());
        self.partition.last_heard.lock().hear(&self.user, session, own_ms, unix_ms);
    }

    /// Sets the timer of a session that is timed here, from now.
    pub(super) fn time_session(&self, session: &Session) {
        self.partition.time_session(&self.user, session);
    }

    pub(super) fn sessions(&self) -> Vec<(Session, UnixMs)> {
        let last = |s: &Session| {
            let table = self.partition.last_heard.lock();
            table.get(&s.id).map_or(s.heard_at, |h| h.unix_ms.max(s.heard_at))
        };
        self.record.sessions.iter().map(|s| (s.clone(), last(s))).collect()
    }

    /// Brings timers and signs of life in line with the record, which has just changed.
    pub(super) fn time_sessions(&mut self, ended: &[SessionId]) {
        for session in ended {
            self.partition.last_heard.lock().forget(session);
            self.partition.deadlines.lock().clear(&(self.user.clone(), Due::Session(session.clone())));
        }
        for session in self.record.sessions.clone() {
            let heard = self.partition.last_heard.lock().get(&session.id).is_some();
            if !heard {
                self.hear(&session.id, Some(session.heard_at));
                self.time_session(&session);
            }
        }
    }

    pub(super) fn again(&self, due: Due) {
        self.partition.again(self.user.clone(), due);
    }
}
