//! Users in memory, changed by the real rules, so that the fake's answers are true.

use rollcall_api::service::ServiceError;
use rollcall_presence::{
    Answer, Command, HistoryEntry, Intent, KeyTable, Ledger, ListKind, Policy, Profile, PublicPresence, Refusal,
    Relations, RequestKey, RestoreMark, Restored, Row, SessionId, UnixMs, UserId, UserRecord, Viewer, Visibility,
    apply,
    visibility::{subject_allows, viewer_allows},
};
use std::collections::BTreeMap;

/// All that is stored of a user.
#[derive(Default)]
pub(crate) struct User {
    pub(crate) record: Option<UserRecord>,
    pub(crate) keys: KeyTable,
    pub(crate) lists: BTreeMap<(ListKind, UserId), UnixMs>,
    pub(crate) history: Vec<HistoryEntry>,
    pub(crate) profile: Option<Profile>,
}

struct Lists(BTreeMap<(ListKind, UserId), UnixMs>);

impl Relations for Lists {
    fn added_at(&self, list: ListKind, other: &UserId) -> Option<UnixMs> {
        self.0.get(&(list, other.clone())).copied()
    }

    fn history_at(&self, _: u64) -> Option<UnixMs> {
        None // nothing lives long enough here to be dropped for its age
    }

    fn listed(&self, list: ListKind) -> Vec<UserId> {
        self.0.keys().filter(|(l, _)| *l == list).map(|(_, other)| other.clone()).collect()
    }

    fn restoring(&self) -> Option<RestoreMark> {
        None // users are restored whole here
    }

    fn part(&self, _: u32) -> Option<Restored> {
        None
    }
}

/// What a write did, as far as connections care.
pub(crate) struct Done {
    pub(crate) answer: Answer,
    pub(crate) ended: Vec<SessionId>,
}

/// The users of one partition.
#[derive(Default)]
pub(crate) struct Users {
    ledger: Ledger,
    users: BTreeMap<UserId, User>,
    pub(crate) policy: Policy,
    pub(crate) visibility: Visibility,
}

impl Users {
    pub(crate) fn user(&self, user: &UserId) -> Option<&User> {
        self.users.get(user)
    }

    pub(crate) fn record(&self, user: &UserId) -> UserRecord {
        self.user(user).and_then(|u| u.record.clone()).unwrap_or_else(UserRecord::unknown)
    }

    pub(crate) fn lists(&self, user: &UserId, list: ListKind) -> Vec<(UserId, UnixMs)> {
        let of_list =
            |((kind, other), at): (&(ListKind, UserId), &UnixMs)| (*kind == list).then(|| (other.clone(), *at));
        self.user(user).map(|u| u.lists.iter().filter_map(of_list).collect()).unwrap_or_default()
    }

    fn listed(&self, user: &UserId, list: ListKind, other: &UserId) -> bool {
        self.user(user).is_some_and(|u| u.lists.contains_key(&(list, other.clone())))
    }

    pub(crate) fn may_see(&self, viewer: &Viewer, subject: &UserId) -> bool {
        let listed = self.listed(subject, ListKind::Contacts, &viewer.user);
        let blocked = self.listed(subject, ListKind::Blocks, &viewer.user);
        subject_allows(self.visibility, subject, viewer, listed, blocked)
            && viewer_allows(subject, viewer, self.listed(&viewer.user, ListKind::Blocks, subject))
    }

    pub(crate) fn seen(&self, viewer: &Viewer, subject: &UserId) -> PublicPresence {
        if self.may_see(viewer, subject) {
            PublicPresence::of(subject, &self.record(subject))
        } else {
            PublicPresence::never_seen(subject.clone())
        }
    }

    pub(crate) fn write(
        &mut self,
        user: &UserId,
        intent: Intent,
        key: Option<RequestKey>,
        at: UnixMs,
    ) -> Result<Done, ServiceError> {
        let stored = self.users.entry(user.clone()).or_default();
        let lists = Lists(stored.lists.clone());
        let command = Command { user: user.clone(), term: 1, at, key, intent };
        let (record, keys) = (&mut stored.record, &mut stored.keys);
        let outcome = apply(&mut self.ledger, 1, &self.policy, record, keys, &lists, &command);
        if outcome.deleted {
            *stored = User { keys: std::mem::take(&mut stored.keys), ..User::default() };
        }
        for row in outcome.rows {
            match row {
                Row::Listed { list, other, added: Some(at) } => drop(stored.lists.insert((list, other), at)),
                Row::Listed { list, other, added: None } => drop(stored.lists.remove(&(list, other))),
                Row::History(entry) => stored.history.push(entry),
                Row::HistoryDropped { first, .. } => stored.history.retain(|e| e.seq >= first),
                Row::Profile(profile) => stored.profile = profile,
                Row::Restoring(_) | Row::Part { .. } => {}
            }
        }
        match outcome.answer {
            Ok(answer) => Ok(Done { answer, ended: outcome.ended }),
            Err(Refusal::UnknownSession | Refusal::OldAttachment) => Err(ServiceError::UnknownSession),
            Err(Refusal::KeyReused) => Err(ServiceError::KeyReused),
            Err(Refusal::LimitExceeded { what, max }) => Err(ServiceError::capacity(what, max)),
            Err(Refusal::Fenced { .. } | Refusal::UnknownRules(_)) => Err(ServiceError::Internal),
        }
    }
}
