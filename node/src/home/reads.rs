//! What a home answers from its store: settings, lists, history, presences, and the halves of who may see whom.

use super::{
    partition::HomePartition,
    request::{Granted, HomeError, HomeReply, HomeRequest},
};
use rollcall_cluster::{NotHeld, ReadError, View};
use rollcall_presence::{
    Holder, ListKind, PublicPresence, UserId, UserRecord, Viewer, limits::CONTACTS_MAX, visibility::subject_allows,
};

impl From<NotHeld> for HomeError {
    fn from(_: NotHeld) -> Self {
        Self::NoHome
    }
}

impl From<ReadError> for HomeError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "a read failed");
        Self::Storage
    }
}

impl HomePartition {
    /// Answers a read at the home. Presences say when the lease could not be confirmed; other reads are refused then.
    pub(super) async fn read(&self, request: HomeRequest) -> Result<HomeReply, HomeError> {
        let stale = self.confirmed().await.is_err();
        match request {
            HomeRequest::Subscribe { holder, viewer, subjects } => self.subscribe(&holder, &viewer, &subjects, stale),
            _ if stale && !may_be_stale(&request) => Err(HomeError::NoHome),
            other => self.read_as(other, stale),
        }
    }

    /// Answers a read from this replica's store, as stale, while no home can be reached.
    ///
    /// # Errors
    /// `NoHome` for what must not be stale, and where no replica is here.
    pub fn read_stale(&self, request: HomeRequest) -> Result<HomeReply, HomeError> {
        if !may_be_stale(&request) {
            return Err(HomeError::NoHome);
        }
        self.read_as(request, true)
    }

    fn read_as(&self, request: HomeRequest, stale: bool) -> Result<HomeReply, HomeError> {
        match request {
            HomeRequest::Presences { viewer, subjects } => {
                let presences = self.group.read(|view| self.presences(view, &viewer, &subjects))??;
                Ok(HomeReply::Presences { presences, stale })
            }
            HomeRequest::Subscribe { viewer, subjects, .. } => self.grants(&viewer, &subjects, stale),
            HomeRequest::Status(user) => {
                let record = self.group.read(|view| view.record(&user))??.unwrap_or_else(UserRecord::unknown);
                let presence = PublicPresence::of(&user, &record);
                Ok(HomeReply::Status { setting: record.setting, presence, stale })
            }
            HomeRequest::Profile { viewer, user } => {
                let profile = self
                    .group
                    .read(|view| if self.allows(view, &viewer, &user)? { view.profile(&user) } else { Ok(None) })??;
                Ok(HomeReply::Profile(profile))
            }
            HomeRequest::History { user, from, to, before, limit } => {
                // What is too old is not shown, dropped from the disk already or not.
                let too_old_before = self.clock.unix_ms().saturating_add(1).saturating_sub(self.rules.history_age_ms);
                let from = from.max(too_old_before);
                let read = |view: &View<'_>| view.history(&user, from, to, before, limit as usize);
                Ok(HomeReply::History(self.group.read(read)??))
            }
            other => Ok(self.group.read(|view| own(view, other, stale))??),
        }
    }

    fn subscribe(
        &self,
        holder: &Holder,
        viewer: &Viewer,
        subjects: &[UserId],
        stale: bool,
    ) -> Result<HomeReply, HomeError> {
        self.make_room(holder);
        // Registered before it is read, so that whatever is applied after the read is published to the node.
        if !self.watching.add(holder, subjects.iter()) {
            return Err(HomeError::Busy);
        }
        self.grants(viewer, subjects, stale)
    }

    fn grants(&self, viewer: &Viewer, subjects: &[UserId], stale: bool) -> Result<HomeReply, HomeError> {
        let (grants, revision) = self.group.read(|view| {
            let grants: Result<Vec<Granted>, ReadError> = subjects
                .iter()
                .map(|subject| {
                    let presence = presence(view, subject)?;
                    Ok(Granted { allowed: self.allows(view, viewer, subject)?, presence })
                })
                .collect();
            (grants, view.ledger().revision)
        })?;
        Ok(HomeReply::Subscribed { grants: grants?, revision, stale })
    }

    fn presences(&self, view: &View<'_>, viewer: &Viewer, of: &[UserId]) -> Result<Vec<PublicPresence>, ReadError> {
        of.iter()
            .map(|user| {
                // Both are read whatever the decision is, so that a refusal takes as long as a grant.
                let presence = presence(view, user)?;
                let allowed = self.allows(view, viewer, user)?;
                Ok(if allowed { presence } else { PublicPresence::never_seen(user.clone()) })
            })
            .collect()
    }

    /// The subject's half of the decision.
    pub(super) fn allows(&self, view: &View<'_>, viewer: &Viewer, subject: &UserId) -> Result<bool, ReadError> {
        let listed = view.added_at(subject, ListKind::Contacts, &viewer.user)?.is_some();
        let blocked = view.added_at(subject, ListKind::Blocks, &viewer.user)?.is_some();
        Ok(subject_allows(self.rules.visibility, subject, viewer, listed, blocked))
    }

    /// The user's contacts, each with whether the user blocks it.
    pub(super) fn contacts(&self, user: &UserId) -> Result<HomeReply, HomeError> {
        let (contacts, revision) = self.group.read(|view| {
            let contacts: Result<Vec<(UserId, bool)>, ReadError> =
                view.list(user, ListKind::Contacts, None, CONTACTS_READ_MAX).and_then(|all| {
                    all.into_iter()
                        .map(|(other, _)| {
                            let blocked = view.added_at(user, ListKind::Blocks, &other)?.is_some();
                            Ok((other, blocked))
                        })
                        .collect()
                });
            (contacts, view.ledger().revision)
        })?;
        Ok(HomeReply::Contacts { contacts: contacts?, revision })
    }
}

/// Most contacts read at once: more than any configured capacity allows in practice.
const CONTACTS_READ_MAX: usize = 20 * CONTACTS_MAX as usize;

/// What may be answered without the home: it says that it may be stale.
#[must_use]
pub fn may_be_stale(request: &HomeRequest) -> bool {
    matches!(
        request,
        HomeRequest::Presences { .. }
            | HomeRequest::Status(_)
            | HomeRequest::Subscribe { .. }
            | HomeRequest::Vet { .. }
    )
}

pub(super) fn presence(view: &View<'_>, user: &UserId) -> Result<PublicPresence, ReadError> {
    Ok(match view.record(user)? {
        Some(record) => PublicPresence::of(user, &record),
        None => PublicPresence::never_seen(user.clone()),
    })
}

/// What a user reads of itself.
fn own(view: &View<'_>, request: HomeRequest, stale: bool) -> Result<HomeReply, ReadError> {
    Ok(match request {
        HomeRequest::Vet { viewer, subjects } => {
            let blocked: Result<Vec<bool>, ReadError> = subjects
                .iter()
                .map(|subject| Ok(view.added_at(&viewer, ListKind::Blocks, subject)?.is_some()))
                .collect();
            HomeReply::Vetted { blocked: blocked?, revision: view.ledger().revision, stale }
        }
        HomeRequest::Privacy(user) => {
            HomeReply::Privacy(view.record(&user)?.map(|record| record.privacy).unwrap_or_default())
        }
        HomeRequest::List { user, list, after, limit } => {
            HomeReply::List(view.list(&user, list, after.as_ref(), limit as usize)?)
        }
        _ => HomeReply::Done,
    })
}
