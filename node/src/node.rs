//! One node: the sockets it holds, the homes it leads, and the way to the homes that others lead.

use crate::{
    bounds::{RETRY_AFTER_MS, SUBJECTS_PER_REQUEST},
    clock::Clock,
    doors::Doors,
    home::request::{HomeError, HomeReply, HomeRequest},
    homes::Homes,
    nodes::AllNodes,
    openings::Openings,
    sockets::{Sockets, Why, outbox::Outbox},
};
use futures::future::try_join_all;
use rollcall_api::service::ServiceError;
use rollcall_presence::{PartitionId, Refusal, UserId, Viewer};
use std::{collections::BTreeMap, sync::Arc};

/// The viewer's half of who may see whom.
pub struct Vetted {
    /// Subjects, and whether the viewer blocks each.
    pub subjects: Vec<(UserId, bool)>,
    /// The revision of the viewer's partition.
    pub revision: u64,
    /// Whether the viewer's home could not confirm it.
    pub stale: bool,
}

/// What a node is made of.
pub struct Node {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How presence behaves.
    pub presence: rollcall_config::Presence,
    /// What is bounded.
    pub limits: rollcall_config::Limits,
    /// The way to every user's home.
    pub homes: Arc<Homes>,
    /// The connections of this node.
    pub sockets: Arc<Sockets>,
    /// The nodes that its homes tell.
    pub nodes: Arc<AllNodes>,
    /// Whether connections are taken.
    pub doors: Doors,
    /// How many are opened at once.
    pub openings: Openings,
}

impl Node {
    /// The viewer's half of who may see whom: each subject with whether the viewer blocks it, and the revision of that.
    ///
    /// # Errors
    /// `Unavailable` when the viewer's home does not answer.
    pub async fn vet(&self, viewer: &Viewer, subjects: Vec<UserId>) -> Result<Vetted, ServiceError> {
        if viewer.service {
            let subjects = subjects.into_iter().map(|s| (s, false)).collect();
            return Ok(Vetted { subjects, revision: 0, stale: false });
        }
        let request = HomeRequest::Vet { viewer: viewer.user.clone(), subjects: subjects.clone() };
        match self.homes.ask(&viewer.user, request).await? {
            HomeReply::Vetted { blocked, revision, stale } if blocked.len() == subjects.len() => {
                Ok(Vetted { subjects: subjects.into_iter().zip(blocked).collect(), revision, stale })
            }
            _ => Err(ServiceError::Internal),
        }
    }

    /// Watches subjects that the viewer's home vetted at `revision`, silently until their snapshot is taken. All or nothing.
    ///
    /// # Errors
    /// `Unavailable` when a subject's home does not answer; nothing changed.
    pub async fn watch(
        &self,
        outbox: &Arc<Outbox>,
        vetted: &[(UserId, bool)],
        revision: u64,
        explicit: bool,
    ) -> Result<(), ServiceError> {
        let mut new = Vec::new();
        for (user, _) in vetted {
            if outbox.add(self.sockets.subjects(), user, explicit) {
                new.push(user);
            }
        }
        let granted = self.grants(outbox, vetted, revision).await;
        if granted.is_err() {
            for user in new {
                self.unwatch(outbox, user, if explicit { Why::Asked } else { Why::Contact });
            }
        }
        granted
    }

    /// Asks the homes of subjects that are in the outbox, and takes what they grant.
    async fn grants(&self, outbox: &Outbox, vetted: &[(UserId, bool)], revision: u64) -> Result<(), ServiceError> {
        // What the viewer's home decided after it vetted them, but before they were in the outbox, has passed them by.
        let (vetted, revision) = if outbox.decided_since(revision) {
            let vetted = self.vet(outbox.viewer(), vetted.iter().map(|(user, _)| user.clone()).collect()).await?;
            if vetted.stale {
                self.sockets.doubt(self.homes.partition_of(&outbox.viewer().user));
            }
            (vetted.subjects, vetted.revision)
        } else {
            (vetted.to_vec(), revision)
        };
        let mut by_partition: BTreeMap<PartitionId, Vec<(UserId, bool)>> = BTreeMap::new();
        for (user, blocked) in vetted {
            by_partition.entry(self.homes.partition_of(&user)).or_default().push((user, blocked));
        }
        let requests = by_partition.values().flat_map(|of| of.chunks(SUBJECTS_PER_REQUEST));
        try_join_all(requests.map(|of| self.subscribe(outbox, of, revision))).await?;
        Ok(())
    }

    /// Asks the home of `of`, all of one partition, and takes what it grants.
    async fn subscribe(&self, outbox: &Outbox, of: &[(UserId, bool)], vetted_at: u64) -> Result<(), ServiceError> {
        let Some((first, _)) = of.first() else { return Ok(()) };
        let request = HomeRequest::Subscribe {
            holder: self.sockets.holder().clone(),
            viewer: outbox.viewer().clone(),
            subjects: of.iter().map(|(user, _)| user.clone()).collect(),
        };
        let HomeReply::Subscribed { grants, revision, stale } = self.homes.ask(first, request).await? else {
            return Err(ServiceError::Internal);
        };
        for ((user, blocked), granted) in of.iter().zip(grants) {
            if let Some(subject) = self.sockets.subjects().get(user) {
                subject.publish(&granted.presence, revision, stale);
            }
            let viewer = outbox.viewer();
            let by_viewer = rollcall_presence::visibility::viewer_allows(user, viewer, *blocked);
            outbox.granted(user, (by_viewer, vetted_at), (granted.allowed, revision));
        }
        if stale {
            // Once it is in place: whoever takes the doubt away makes it fresh.
            self.sockets.doubt(self.homes.partition_of(first));
        }
        Ok(())
    }

    /// Stops watching `user` for the reasons given. `true` if it is no longer watched.
    pub fn unwatch(&self, outbox: &Outbox, user: &UserId, why: Why) -> bool {
        outbox.remove(self.sockets.subjects(), user, why, |gone| {
            let request =
                HomeRequest::Unsubscribe { holder: self.sockets.holder().clone(), subjects: vec![gone.clone()] };
            self.homes.tell(gone, request);
        })
    }

    /// Stops watching everybody.
    pub fn unwatch_all(&self, outbox: &Outbox) {
        for user in outbox.watched() {
            self.unwatch(outbox, &user, Why::Any);
        }
    }
}

impl From<HomeError> for ServiceError {
    fn from(error: HomeError) -> Self {
        let unavailable = |why| Self::Unavailable { why, after_ms: RETRY_AFTER_MS };
        match error {
            HomeError::Refused(Refusal::UnknownSession | Refusal::OldAttachment) => Self::UnknownSession,
            HomeError::Refused(Refusal::KeyReused) => Self::KeyReused,
            HomeError::Refused(Refusal::LimitExceeded { what, max }) => Self::capacity(what, max),
            HomeError::Refused(Refusal::Fenced { .. }) => unavailable("the user's home has just changed"),
            HomeError::Refused(Refusal::UnknownRules(_)) => Self::Internal,
            HomeError::Busy => unavailable("too many requests in flight"),
            HomeError::NoHome => unavailable("the user's home is not reachable"),
            HomeError::Unknown => unavailable("the outcome is not known; it may take effect later"),
            HomeError::Storage => Self::Internal,
        }
    }
}
