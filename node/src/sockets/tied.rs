//! What the sockets of this node tie to a partition's home, and what the home mends of it.

use super::registry::Sockets;
use crate::{
    bounds::TIES_PER_PAGE,
    home::request::NodeNote,
    ties::page::{ConnectionTie, Contacts, Digest, Mends, Page, SubjectTie, What},
};
use rollcall_api::service::GoodbyeReason;
use rollcall_presence::PartitionId;
use std::sync::atomic::Ordering;

impl Sockets {
    /// Whether anything is tied to the home of a partition.
    #[must_use]
    pub fn ties_to(&self, partition: PartitionId) -> bool {
        self.subjects().watches(partition) || self.serves(partition)
    }

    /// What is tied to the home of a partition, in short.
    #[must_use]
    pub fn digest(&self, partition: PartitionId) -> Digest {
        let mut digest = Digest::default();
        for (number, of) in self.of_partition(partition).0 {
            digest.connection(number, of.session.as_ref(), of.follows);
        }
        self.subjects().of_partition(partition).iter().for_each(|subject| digest.subject(subject.user()));
        digest
    }

    /// All that is tied to the home of a partition, in pages of bounded size; connections from the number on that comes with it
    /// are not in it.
    #[must_use]
    pub fn announcement(&self, partition: PartitionId) -> (Vec<Page>, u64) {
        let (connections, below) = self.of_partition(partition);
        let mut paged = Paged::default();
        for (number, of) in connections {
            let follows = of.follows.then(|| {
                let mut known = Contacts::default();
                of.outbox.contacts().iter().for_each(|user| known.add(user));
                known
            });
            let (user, blocks) = (of.outbox.viewer().user.clone(), of.outbox.has_blocks());
            let tie = ConnectionTie { number, user, session: of.session, follows, blocks, heard_at: of.heard_at };
            paged.with(1).connections.push(tie);
        }
        for subject in self.subjects().of_partition(partition) {
            let (viewers, version) = (subject.viewers(), subject.latest().map(|held| held.version));
            let mut parts = viewers.chunks(TIES_PER_PAGE);
            // A subject watched by services alone has no viewers to decide about, and is watched all the same.
            let first = parts.next().unwrap_or_default();
            for part in std::iter::once(first).chain(parts) {
                let tie = SubjectTie { user: subject.user().clone(), version, viewers: part.to_vec() };
                paged.with(1 + part.len()).subjects.push(tie);
            }
        }
        (paged.pages, below)
    }

    /// The home of a partition was lost, or is back: its users say so to their watchers.
    pub fn restale(&self, partition: PartitionId, stale: bool) {
        self.subjects().of_partition(partition).iter().for_each(|subject| subject.restale(stale));
    }

    /// A presence of a partition's user was taken that no home confirmed: its home is to be told of everything again.
    pub fn doubt(&self, partition: PartitionId) {
        if let Some(doubt) = self.doubts.get(usize::from(partition.0)) {
            doubt.store(true, Ordering::Release);
        }
    }

    /// Whether there was such a presence since this was asked last.
    #[must_use]
    pub fn take_doubt(&self, partition: PartitionId) -> bool {
        self.doubts.get(usize::from(partition.0)).is_some_and(|doubt| doubt.swap(false, Ordering::AcqRel))
    }

    /// Takes what a home answered to a page; `ended` is said to connections whose session has ended. What is left to be asked, by
    /// connection.
    #[must_use]
    pub fn mend(&self, mends: Mends, ended: GoodbyeReason) -> Vec<(u64, What)> {
        let revision = mends.revision;
        for mend in mends.subjects {
            let Some(subject) = self.subjects().get(&mend.user) else { continue };
            if let Some(presence) = mend.presence {
                subject.publish(&presence, revision, mends.stale);
            }
            if !mend.decisions.is_empty() {
                self.take(NodeNote::SubjectDecides { subject: mend.user, viewers: mend.decisions, revision });
            }
        }
        let mut left = Vec::new();
        for mend in mends.connections {
            match mend.what {
                What::Revoked => self.part(mend.number, ended),
                What::Replaced => self.part(mend.number, GoodbyeReason::Replaced),
                What::Follow | What::Vet => left.push((mend.number, mend.what)),
            }
        }
        left
    }
}

/// Pages under way, each of at most so many ties.
#[derive(Default)]
struct Paged {
    pages: Vec<Page>,
    /// Ties of the last page.
    held: usize,
}

impl Paged {
    /// The page that takes `more` ties.
    fn with(&mut self, more: usize) -> &mut Page {
        if self.pages.is_empty() || self.held + more > TIES_PER_PAGE {
            self.pages.push(Page::default());
            self.held = 0;
        }
        self.held += more;
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }
}
