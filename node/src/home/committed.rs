//! What a user's actor does with an outcome: answer, and tell the user's own connections what it means for them.
//!
//! Outcomes may come back in another order than they were applied; so what is told is read from the store as it is now.

use super::{
    connections::Connected,
    request::{HomeError, HomeReply, NodeNote},
    user_actor::{Then, UserMsg, UserState},
};
use ractor::{ActorProcessingErr, ActorRef};
use rollcall_cluster::{ProposeError, ReadError};
use rollcall_presence::{
    Answer, ListKind, Outcome, Refusal, Row, SessionId, UserId, UserRecord, Viewer, visibility::viewer_allows,
};
use std::sync::Arc;

impl From<ProposeError> for HomeError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Busy => Self::Busy,
            ProposeError::NotHome { .. } => Self::NoHome,
            ProposeError::Unknown => Self::Unknown,
        }
    }
}

impl UserState {
    /// Takes what became of a proposal.
    pub(super) fn committed(
        &mut self,
        myself: &ActorRef<UserMsg>,
        result: Result<Arc<Outcome>, ProposeError>,
        then: Then,
    ) -> Result<(), ActorProcessingErr> {
        let answer = match result {
            Ok(outcome) => {
                self.learn(&outcome)?;
                outcome.answer.clone().map_err(HomeError::Refused)
            }
            Err(error) => Err(error.into()),
        };
        match then {
            Then::Reply(reply) => {
                let _ = reply.send(answer.map(HomeReply::Written));
            }
            Then::Again(due) => {
                if matches!(answer, Err(HomeError::Busy | HomeError::NoHome | HomeError::Unknown)) {
                    self.again(due);
                }
            }
            Then::Connected { at, wanted, resumes, reply } => match answer {
                Ok(Answer::Session(session)) => {
                    let held = (session.id.clone(), session.attachment);
                    self.partition.connections.hold(&self.user, &at, |c| c.session = Some(held));
                    self.part_older(&session.id);
                    if reply.send(Ok(HomeReply::Connected { session: Some(session), resumed: resumes })).is_err() {
                        // Nobody waits any more: the node takes it for lost, and ends what this connection holds.
                        self.partition.connections.remove(&self.user, &at);
                    }
                }
                Err(HomeError::Refused(Refusal::UnknownSession)) if resumes => {
                    return self.open_instead(myself, at, wanted, reply); // it ended in between
                }
                other => {
                    let _ = reply.send(other.map(HomeReply::Written));
                }
            },
        }
        Ok(())
    }

    /// Brings what is held in memory up to date, and tells the connections of the user.
    pub(super) fn learn(&mut self, outcome: &Outcome) -> Result<(), ActorProcessingErr> {
        if !outcome.record_changed && !outcome.deleted {
            return Ok(());
        }
        let was = self.record.setting.expires_at;
        self.record = self.partition.group.read(|view| view.record(&self.user))??.unwrap_or_else(UserRecord::unknown);
        self.time_sessions(&outcome.ended);
        if self.record.setting.expires_at != was {
            self.partition.time_setting(&self.user, &self.record);
        }
        self.tell_lists(outcome)?;
        let gone =
            |c: &Connected| outcome.deleted || c.session.as_ref().is_some_and(|(s, _)| outcome.ended.contains(s));
        for connection in self.partition.connections.take(&self.user, gone) {
            let number = connection.at.number;
            self.partition.note(&connection.at.holder, NodeNote::Revoked { number });
        }
        Ok(())
    }

    /// Every connection of a session but its newest hears that it was replaced, and all of them that it was revoked if the session
    /// has ended. The record tells: of outcomes that raced, the older one's may come back last.
    fn part_older(&mut self, session: &SessionId) {
        let newest = self.record.session(session).map(|s| s.attachment);
        let older = |c: &Connected| {
            c.session.as_ref().is_some_and(|(s, held)| s == session && newest.is_none_or(|newest| *held < newest))
        };
        for connection in self.partition.connections.take(&self.user, older) {
            let number = connection.at.number;
            let note = if newest.is_some() { NodeNote::Replaced { number } } else { NodeNote::Revoked { number } };
            self.partition.note(&connection.at.holder, note);
        }
    }

    /// Tells the user's connections which contacts came or went, and whom the user blocks or no longer does.
    fn tell_lists(&self, outcome: &Outcome) -> Result<(), ActorProcessingErr> {
        if outcome.rows.is_empty() {
            return Ok(());
        }
        let connections = self.partition.connections.of(&self.user);
        if connections.is_empty() {
            return Ok(());
        }
        let changed = |wanted: ListKind| -> Vec<UserId> {
            let on = |row: &Row| match row {
                Row::Listed { list, other, .. } if *list == wanted => Some(other.clone()),
                _ => None,
            };
            outcome.rows.iter().filter_map(on).collect()
        };
        let (contacts, blocks) = (changed(ListKind::Contacts), changed(ListKind::Blocks));
        if contacts.is_empty() && blocks.is_empty() {
            return Ok(());
        }
        // Each with whether it is on its list now, and whether the user blocks it.
        let (contacts, blocks, revision) = self.partition.group.read(|view| {
            let on = |list, other: &UserId| view.added_at(&self.user, list, other).map(|a| a.is_some());
            let with = |others: Vec<UserId>, list| -> Result<Vec<(bool, bool, UserId)>, ReadError> {
                others.into_iter().map(|o| Ok((on(list, &o)?, on(ListKind::Blocks, &o)?, o))).collect()
            };
            let contacts = with(contacts, ListKind::Contacts)?;
            Ok::<_, ReadError>((contacts, with(blocks, ListKind::Blocks)?, view.ledger().revision))
        })??;
        let added: Vec<(UserId, bool)> =
            contacts.iter().filter(|(is, _, _)| *is).map(|(_, blocked, o)| (o.clone(), *blocked)).collect();
        let removed: Vec<UserId> = contacts.iter().filter(|(is, _, _)| !*is).map(|(_, _, o)| o.clone()).collect();
        for connection in &connections {
            let (holder, number) = (&connection.at.holder, connection.at.number);
            if connection.follows && !(added.is_empty() && removed.is_empty()) {
                let (added, removed) = (added.clone(), removed.clone());
                self.partition.note(holder, NodeNote::Follow { number, added, removed, revision });
            }
            if !blocks.is_empty() {
                let viewer = Viewer { user: self.user.clone(), service: false };
                let subjects = blocks.iter().map(|(is, _, o)| (o.clone(), viewer_allows(o, &viewer, *is))).collect();
                self.partition.note(holder, NodeNote::ViewerDecides { number, subjects, revision });
            }
        }
        Ok(())
    }
}
