//! Nodes announce what they tie to a home: it rebuilds its tables from that, and answers with whatever is newer here.
//!
//! Relies on the node beginning anew with every tenure. Promises that what a complete announcement did not name is forgotten, and
//! that no session is called ended by a home that cannot confirm that it is one.

use super::{partition::HomePartition, partition_actor::PartitionMsg, reads::presence};
use crate::{
    peers::message::{Reply, Step},
    ties::page::{ConnectionMend, ConnectionTie, Contacts, Digest, Mends, Page, SubjectMend, SubjectTie, What},
};
use rollcall_cluster::{ReadError, Role, View};
use rollcall_presence::{
    ConnectionAt, Holder, ListKind, Session, SessionKind, UserRecord, Viewer, limits::CONTACTS_MAX,
};
use std::sync::Arc;

impl HomePartition {
    fn not_home(&self) -> Reply {
        match self.role() {
            Role::Home { .. } => Reply::NotHome { leader: None }, // not taken up yet
            Role::Follower { leader } => Reply::NotHome { leader },
        }
    }

    /// Takes a part of the announcement of `holder`.
    pub async fn announced(self: &Arc<Self>, holder: &Holder, step: Step) -> Reply {
        let Some(tenure) = self.tenure() else { return self.not_home() };
        let stale = self.confirmed().await.is_err();
        match step {
            Step::Begin => {
                self.make_room(holder);
                match self.watching.begin(holder) {
                    Some(number) => Reply::Begun { tenure, number, stale },
                    None => Reply::NotHome { leader: None },
                }
            }
            Step::Page(of, page) if of == tenure => self.page(holder, page, stale).unwrap_or_else(|| self.not_home()),
            Step::End(of, below) if of == tenure => self.end(holder, below),
            Step::Page(..) | Step::End(..) => self.not_home(),
        }
    }

    /// Whether what `holder` ties to this home is what is known here.
    pub async fn compare(&self, holder: &Holder, digest: Digest) -> Reply {
        let Some(tenure) = self.tenure() else { return self.not_home() };
        let stale = self.confirmed().await.is_err();
        let mut known = Digest::default();
        self.connections.each_of(holder, |_, c| known.connection(c.at.number, c.session.as_ref(), c.follows));
        self.watching.each_of(holder, |user| known.subject(user));
        Reply::Compared { tenure, number: self.watching.sent(holder), same: known == digest, stale }
    }

    /// Makes room for what `holder` watches, should the table be full.
    pub(super) fn make_room(&self, holder: &Holder) {
        self.watching.make_room(holder, |of| !self.nodes.is_member(of));
    }

    fn end(&self, holder: &Holder, below: u64) -> Reply {
        let Some(named) = self.watching.end(holder, below) else { return Reply::NotHome { leader: None } };
        self.connections.keep(holder, |c| c.at.number >= below || named.connections.contains(&c.at.number));
        self.sweep();
        Reply::Done
    }

    /// Looks for sessions that nobody is there to end: a node was declared dead, or has announced what it has.
    pub fn sweep(&self) {
        if let Some(actor) = self.supervisor() {
            let _ = actor.send_message(PartitionMsg::Sweep); // gone only when the node stops
        }
    }

    fn page(&self, holder: &Holder, page: Page, stale: bool) -> Option<Reply> {
        let mut connections = Vec::new();
        for tie in page.connections {
            self.watching.name(holder, tie.number);
            match self.connection(holder, &tie, stale) {
                Ok(Some(what)) => {
                    connections.extend(what.into_iter().map(|w| ConnectionMend { number: tie.number, what: w }))
                }
                Ok(None) => return None,
                Err(error) => tracing::error!(%error, "an announced connection could not be looked up"),
            }
        }
        if !self.watching.add(holder, page.subjects.iter().map(|tie| &tie.user)) {
            return None;
        }
        let read = self.group.read(|view| {
            let mends: Result<Vec<Option<SubjectMend>>, ReadError> =
                page.subjects.into_iter().map(|tie| self.subject(view, tie)).collect();
            (mends, view.ledger().revision)
        });
        let (mends, revision) = read.ok()?;
        match mends {
            Ok(mends) => {
                let subjects = mends.into_iter().flatten().collect();
                Some(Reply::Mended(Mends { connections, subjects, revision, stale }))
            }
            Err(error) => {
                tracing::error!(%error, "announced watches could not be looked up");
                None
            }
        }
    }

    /// Remembers an announced connection unless it has to go. What has to be done about it; `None` without a replica.
    fn connection(&self, holder: &Holder, tie: &ConnectionTie, stale: bool) -> Result<Option<Vec<What>>, ReadError> {
        let at = ConnectionAt { holder: holder.clone(), number: tie.number };
        // Held before anything is read, so that whatever is applied after the read is told to it.
        self.connections.hold(&tie.user, &at, |c| {
            if tie.session.is_some() {
                c.session.clone_from(&tie.session);
            }
            c.follows |= tie.follows.is_some();
        });
        let what = self.connection_read(tie, stale);
        let goes = |what: &Vec<What>| what.iter().any(|what| matches!(what, What::Revoked | What::Replaced));
        if !matches!(&what, Ok(Some(what)) if !goes(what)) {
            self.connections.remove(&tie.user, &at);
        }
        what
    }

    /// What the store says of an announced connection.
    fn connection_read(&self, tie: &ConnectionTie, stale: bool) -> Result<Option<Vec<What>>, ReadError> {
        let read = self.group.read(|view| {
            let record = view.record(&tie.user)?.unwrap_or_else(UserRecord::unknown);
            let follow = match tie.follows {
                Some(known) if known.count != record.contacts => true,
                Some(known) => {
                    let mut is = Contacts::default();
                    view.list(&tie.user, ListKind::Contacts, None, CONTACTS_MAX as usize * 20)?
                        .iter()
                        .for_each(|(other, _)| is.add(other));
                    is != known
                }
                None => false,
            };
            Ok::<_, ReadError>((record, follow))
        });
        let Ok(read) = read else { return Ok(None) };
        let (record, follow) = read?;
        if let Some((id, attachment)) = &tie.session {
            let held = record.session(id).map(|s: &Session| s.attachment);
            // A home that cannot confirm itself may not have heard of a session yet.
            match held {
                None if !stale => return Ok(Some(vec![What::Revoked])),
                Some(held) if held > *attachment && !stale => return Ok(Some(vec![What::Replaced])),
                _ => {}
            }
            if record.session(id).is_some_and(|s| s.kind == SessionKind::WebSocket) {
                let own_ms = self.deadlines.lock().own_time(self.clock.monotonic_ms());
                self.last_heard.lock().hear(&tie.user, id, own_ms, tie.heard_at);
            }
        }
        let mut what = Vec::new();
        if follow {
            what.push(What::Follow);
        }
        if record.blocks > 0 || tie.blocks {
            what.push(What::Vet);
        }
        Ok(Some(what))
    }

    /// What is newer about a watched user, or decided otherwise.
    fn subject(&self, view: &View<'_>, tie: SubjectTie) -> Result<Option<SubjectMend>, ReadError> {
        let is = presence(view, &tie.user)?;
        let mut decisions = Vec::new();
        for (user, told) in tie.viewers {
            let viewer = Viewer { user, service: false };
            let allowed = self.allows(view, &viewer, &tie.user)?;
            if allowed != told {
                decisions.push((viewer.user, allowed));
            }
        }
        let presence = (tie.version != Some(is.version)).then_some(is);
        let differs = presence.is_some() || !decisions.is_empty();
        Ok(differs.then_some(SubjectMend { user: tie.user, presence, decisions }))
    }
}
