//! Carries out what the ties decide: announces and compares over the way to the homes, and marks what is stale.
//!
//! Events come from anywhere and only change values under a lock; one task acts, with a bounded number of announcements at once.

use super::{
    page::{Mends, What},
    tie::{Effect, Event, Tie},
};
use crate::{
    bounds::{ANNOUNCED_AT_ONCE, SUBJECTS_PER_REQUEST, TIE_DEADLINE_MS},
    clock::Clock,
    home::{
        request::{HomeReply, HomeRequest},
        tenure::Tenure,
    },
    homes::Homes,
    peers::message::{Parcel, Question, Reply, Step},
    planted::{self, Fault},
    sockets::{Sockets, outbox::Outbox},
};
use parking_lot::Mutex;
use rollcall_api::service::GoodbyeReason;
use rollcall_cluster::Role;
use rollcall_presence::{NodeName, PartitionId, UserId, visibility::viewer_allows};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// Everything that this node ties to homes.
pub struct Ties {
    ties: Mutex<Vec<Tie>>,
    /// Users that homes told of although nobody here watches them: the homes are told so.
    strangers: Mutex<HashSet<UserId>>,
    homes: Arc<Homes>,
    sockets: Arc<Sockets>,
    clock: Arc<dyn Clock>,
    at_once: Arc<Semaphore>,
    /// Whether this node was out of reach and not everything is announced since: it may have been taken for dead.
    was_cut_off: AtomicBool,
}

/// The home changed or was lost before it had heard everything.
struct Lost;

impl Ties {
    /// No ties announced yet.
    #[must_use]
    pub fn new(homes: Arc<Homes>, sockets: Arc<Sockets>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let now = clock.monotonic_ms();
        let count = homes.partitions().len() as u64;
        let spread = |n: u64| crate::bounds::COMPARE_EVERY_MS * n / count.max(1);
        Arc::new(Self {
            ties: Mutex::new((0..count).map(|n| Tie::new(now, spread(n))).collect()),
            strangers: Mutex::default(),
            homes,
            sockets,
            clock,
            at_once: Arc::new(Semaphore::new(ANNOUNCED_AT_ONCE)),
            was_cut_off: AtomicBool::new(false),
        })
    }

    fn on(self: &Arc<Self>, partition: PartitionId, event: Event) {
        let mut ties = self.ties.lock();
        let Some(tie) = ties.get_mut(usize::from(partition.0)) else { return };
        // Within the lock: marks that were set in another order than decided would stay wrong.
        for effect in tie.on(event, self.clock.monotonic_ms()) {
            self.carry_out(partition, effect);
        }
    }

    fn on_all(self: &Arc<Self>, event: &Event) {
        for partition in self.homes.partitions() {
            self.on(partition.id(), event.clone());
        }
    }

    /// Takes what a home sent.
    pub fn parcel(self: &Arc<Self>, parcel: Parcel) {
        let Parcel { partition, tenure, number, notes } = parcel;
        let strangers: Vec<UserId> = notes.into_iter().filter_map(|note| self.sockets.take(note)).collect();
        if !strangers.is_empty() {
            self.strangers.lock().extend(strangers);
        }
        if number > 0 {
            self.on(partition, Event::Parcel(tenure, number));
        }
    }

    /// A node says that it is the home of a partition from now on.
    pub fn taken_up(self: &Arc<Self>, partition: PartitionId, tenure: Tenure) {
        self.on(partition, Event::TakenUp(tenure));
    }

    /// A link came or went.
    pub fn linked(self: &Arc<Self>, peer: &NodeName, is: bool) {
        let peer = peer.clone();
        self.on_all(&if is { Event::Linked(peer) } else { Event::Unlinked(peer) });
    }

    /// Whether this node reaches a majority of the cluster has changed.
    pub fn confirmed(self: &Arc<Self>, is: bool) {
        if !is {
            self.was_cut_off.store(true, Ordering::Release);
        }
        self.on_all(&Event::Confirmed(is));
    }

    /// Compares with every home now rather than when its time comes.
    pub fn compare_soon(self: &Arc<Self>) {
        self.on_all(&Event::CompareSoon);
    }

    /// Whether homes that can confirm themselves have heard everything.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.ties.lock().iter().all(Tie::is_settled)
    }

    /// Lets time pass: to be called every [`TICK_MS`](crate::bounds::TICK_MS).
    pub fn tick(self: &Arc<Self>) {
        for partition in self.homes.partitions() {
            let leader = match partition.role() {
                Role::Home { .. } => Some(self.sockets.holder().node.clone()),
                Role::Follower { leader } => leader,
            };
            let (id, tied) = (partition.id(), self.sockets.ties_to(partition.id()));
            self.on(id, Event::Leader(leader));
            if self.sockets.take_doubt(id) {
                self.on(id, Event::Doubted);
            }
            self.on(id, Event::Tick { tied });
        }
        if self.was_cut_off.load(Ordering::Acquire) && self.are_settled() {
            self.was_cut_off.store(false, Ordering::Release);
        }
        for stranger in std::mem::take(&mut *self.strangers.lock()) {
            self.sockets.subjects().unless_watched(&stranger, || {
                let (holder, subjects) = (self.sockets.holder().clone(), vec![stranger.clone()]);
                self.homes.tell(&stranger, HomeRequest::Unsubscribe { holder, subjects });
            });
        }
    }

    fn carry_out(self: &Arc<Self>, partition: PartitionId, effect: Effect) {
        match effect {
            Effect::Stale(stale) => {
                tracing::debug!(%partition, stale, "the partition's home is lost, or back");
                self.sockets.restale(partition, stale);
            }
            Effect::Announce => {
                let this = self.clone();
                tokio::spawn(async move {
                    let Ok(_room) = this.at_once.clone().acquire_owned().await else { return };
                    let event = match this.announce(partition).await {
                        Ok(event) => event,
                        Err(Lost) => Event::NotAnnounced,
                    };
                    this.on(partition, event);
                });
            }
            Effect::Compare => {
                let this = self.clone();
                tokio::spawn(async move {
                    let event = this.compare(partition).await;
                    this.on(partition, event);
                });
            }
        }
    }

    async fn ask(&self, partition: PartitionId, question: Question) -> Result<Reply, Lost> {
        let asked = self.homes.put(partition, &question, Duration::from_millis(TIE_DEADLINE_MS));
        asked.await.ok_or(Lost)
    }

    async fn compare(&self, partition: PartitionId) -> Event {
        let (holder, digest) = (self.sockets.holder().clone(), self.sockets.digest(partition));
        match self.ask(partition, Question::Compare { partition, holder, digest }).await {
            Ok(Reply::Compared { tenure, number, same, stale }) => Event::Compared { tenure, number, same, stale },
            _ => Event::NotCompared,
        }
    }

    async fn announce(self: &Arc<Self>, partition: PartitionId) -> Result<Event, Lost> {
        let holder = self.sockets.holder().clone();
        let step = |step| Question::Announce { partition, holder: holder.clone(), step };
        let Reply::Begun { tenure, number, mut stale } = self.ask(partition, step(Step::Begin)).await? else {
            return Err(Lost);
        };
        if planted::is(Fault::ReAnnounceDropped) {
            return Ok(Event::Announced { tenure, number, stale });
        }
        // Read only now: what was watched before is in it, and what is watched from now on asks a home that has begun.
        let (pages, below) = self.sockets.announcement(partition);
        for page in pages {
            let Reply::Mended(mends) = self.ask(partition, step(Step::Page(tenure.clone(), page))).await? else {
                return Err(Lost);
            };
            stale |= mends.stale;
            self.mend(mends).await?;
        }
        let Reply::Done = self.ask(partition, step(Step::End(tenure.clone(), below))).await? else { return Err(Lost) };
        Ok(Event::Announced { tenure, number, stale })
    }

    async fn mend(&self, mends: Mends) -> Result<(), Lost> {
        // Who was revoked is not to come back; who was lost with a node that was taken for dead is.
        let cut_off = self.was_cut_off.load(Ordering::Acquire);
        let ended = if cut_off { GoodbyeReason::Isolated } else { GoodbyeReason::Revoked };
        for (number, what) in self.sockets.mend(mends, ended) {
            let Some((at, outbox)) = self.sockets.connection(number) else { continue };
            match what {
                What::Vet => self.vet(&outbox).await?,
                What::Follow => {
                    let user = outbox.viewer().user.clone();
                    let request = HomeRequest::Follow { user: user.clone(), at };
                    let Ok(HomeReply::Contacts { contacts, revision }) = self.homes.ask(&user, request).await else {
                        return Err(Lost);
                    };
                    if !outbox.follow_all(contacts, revision) {
                        return Err(Lost); // a change overtook the answer: all is asked again
                    }
                }
                What::Revoked | What::Replaced => {}
            }
        }
        Ok(())
    }

    /// Asks again whom the viewer of a connection blocks of those it watches.
    async fn vet(&self, outbox: &Outbox) -> Result<(), Lost> {
        let viewer = outbox.viewer();
        if viewer.service {
            return Ok(());
        }
        for subjects in outbox.watched().chunks(SUBJECTS_PER_REQUEST) {
            let request = HomeRequest::Vet { viewer: viewer.user.clone(), subjects: subjects.to_vec() };
            let answer = self.homes.ask(&viewer.user, request).await;
            // A replica may not have heard of a block yet.
            let Ok(HomeReply::Vetted { blocked, revision, stale: false }) = answer else {
                return Err(Lost);
            };
            for (subject, blocked) in subjects.iter().zip(blocked) {
                outbox.viewer_decides(subject, viewer_allows(subject, viewer, blocked), revision);
            }
        }
        Ok(())
    }
}
