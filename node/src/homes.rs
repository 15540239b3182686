//! The way to every user's home: served here when this node leads the partition, asked of its leader otherwise, in one hop.
//!
//! A node that is not the home says so and who may be: one more hop, and the hint is kept; where nothing is known, the nodes that run
//! replicas are asked in turn. Promises that a write that may have
//! been carried out is never sent twice, and that what a replica answers in a home's place says that it is stale.

use crate::{
    backups::readers::Readers,
    bounds::{HOME_DEADLINE_MS, HOME_LOOK_MS, HOME_TRY_MS, HOME_WAIT_MS, STALE_AFTER_MS},
    home::{
        partition::HomePartition,
        reads::may_be_stale,
        request::{HomeError, HomeReply, HomeRequest},
    },
    peers::{
        PeerError, Peers,
        message::{Message, Question, Reply},
    },
    seeking::Seeking,
};
use rollcall_cluster::Role;
use rollcall_presence::{NodeName, PartitionId, UserId, partition_of};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Nodes that are asked for a home in a row before it is waited for: the one known, and the one that it names.
const HOPS_MAX: u32 = 2;

/// All partitions, with the ways to their homes.
pub struct Homes {
    partitions: Vec<Arc<HomePartition>>,
    peers: Arc<Peers>,
    readers: Readers,
    seeking: Seeking,
}

/// What became of one try.
enum Tried {
    Answered(Result<HomeReply, HomeError>),
    /// Nothing was done, as far as that node knows.
    NowhereYet,
    /// It was sent, and may have been done.
    Unanswered,
}

/// The tries of one request.
struct Tries {
    began: Instant,
    /// Whether another node was asked to pass it on; once is enough to find a way around one link.
    passed: bool,
}

impl Tries {
    /// How long the next try may take.
    fn left(&self, request: &HomeRequest) -> Duration {
        let left = Duration::from_millis(HOME_DEADLINE_MS).saturating_sub(self.began.elapsed());
        if may_repeat(request) { left.min(Duration::from_millis(HOME_TRY_MS)) } else { left }
    }
}

/// What a home answered.
fn tried(answer: Result<HomeReply, HomeError>) -> Tried {
    match answer {
        Err(HomeError::NoHome) => Tried::NowhereYet,
        Err(HomeError::Unknown) => Tried::Unanswered,
        answer => Tried::Answered(answer),
    }
}

impl Homes {
    /// The partitions of a cluster in order, and the other nodes.
    #[must_use]
    pub fn new(partitions: Vec<Arc<HomePartition>>, peers: Arc<Peers>) -> Arc<Self> {
        let seeking = Seeking::new(partitions.len());
        Arc::new(Self { partitions, peers, readers: Readers::default(), seeking })
    }

    /// The partition of a user.
    #[must_use]
    pub fn partition_of(&self, user: &UserId) -> PartitionId {
        partition_of(user, u16::try_from(self.partitions.len()).unwrap_or(u16::MAX))
    }

    /// The partitions of this node.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<HomePartition>] {
        &self.partitions
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// The sections that are read at the homes of this node.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// One partition, if there is such a one.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<HomePartition>> {
        self.partitions.get(usize::from(id.0))
    }

    /// Whom to ask for the home: `leader`, or who else may know, if nothing is known here.
    fn asked_first(&self, partition: PartitionId, leader: Option<NodeName>) -> Option<NodeName> {
        leader.or_else(|| self.seeking.next(partition, &self.peers.placement(), &self.peers.this().node))
    }

    /// The leader that `node`, which is none, names: of use only if it is neither that node nor this one, which is none either.
    fn other_than(&self, node: &NodeName, leader: Option<NodeName>) -> Option<NodeName> {
        leader.filter(|leader| leader != node && *leader != self.peers.this().node)
    }

    fn of(&self, user: &UserId) -> &Arc<HomePartition> {
        &self.partitions[usize::from(self.partition_of(user).0)]
    }

    /// Asks the home of `user`, whose partition the request concerns. While there is none, waits for one a little.
    ///
    /// # Errors
    /// [`HomeError`]; only after `Unknown` may a write still take effect.
    pub async fn ask(&self, user: &UserId, request: HomeRequest) -> Result<HomeReply, HomeError> {
        let partition = self.of(user);
        let mut tries = Tries { began: Instant::now(), passed: false };
        let wait_ms = self.wait_ms(&request);
        let mut role = partition.role_changes();
        loop {
            role.mark_unchanged();
            match self.try_home(partition, &request, &mut tries).await {
                Tried::Answered(answer) => return answer,
                Tried::Unanswered if !may_repeat(&request) => return Err(HomeError::Unknown),
                Tried::Unanswered | Tried::NowhereYet => {}
            }
            if tries.began.elapsed() >= Duration::from_millis(wait_ms) {
                return self.without_home(partition, request).await;
            }
            // A way to the home may come without a change of role.
            let _ = tokio::time::timeout(Duration::from_millis(HOME_LOOK_MS), role.changed()).await;
        }
    }

    /// How long `request` waits for a home. What a watch begins with replaces what its client holds, so that it is not taken from
    /// a replica that may lag as long as a home is to be expected.
    fn wait_ms(&self, request: &HomeRequest) -> u64 {
        let begins_watch = matches!(request, HomeRequest::Subscribe { .. });
        let is_reached = *self.peers.links().confirmed().borrow();
        if may_be_stale(request) && !(begins_watch && is_reached) { STALE_AFTER_MS } else { HOME_WAIT_MS }
    }

    /// Tries the home known here, and the one that it names if it is none.
    async fn try_home(&self, partition: &Arc<HomePartition>, request: &HomeRequest, tries: &mut Tries) -> Tried {
        let mut at = match partition.role() {
            Role::Home { .. } => return tried(partition.serve(request.clone()).await),
            Role::Follower { leader } => self.asked_first(partition.id(), leader),
        };
        let question = Question::Home { partition: partition.id(), request: request.clone() };
        for _ in 0..HOPS_MAX {
            let Some(node) = at.take().filter(|node| *node != self.peers.this().node) else {
                return Tried::NowhereYet;
            };
            match self.peers.ask(&node, &question, tries.left(request)).await {
                Ok(Reply::Home(answer)) => {
                    found(partition, node);
                    return tried(answer);
                }
                Ok(Reply::NotHome { leader }) => {
                    let hint = self.other_than(&node, leader);
                    partition.group().heard_hint(hint.clone());
                    at = hint;
                }
                Ok(_) | Err(PeerError::Unanswered) => return Tried::Unanswered,
                Err(PeerError::Busy) => return Tried::Answered(Err(HomeError::Busy)),
                Err(PeerError::Unreachable) if std::mem::replace(&mut tries.passed, true) => return Tried::NowhereYet,
                Err(PeerError::Unreachable) => return self.pass(&node, partition, request, tries).await,
            }
        }
        Tried::NowhereYet
    }

    /// Has another node ask `home`, which this one does not reach: a link of two may be lost while both live.
    async fn pass(&self, home: &NodeName, partition: &HomePartition, request: &HomeRequest, tries: &Tries) -> Tried {
        let others = self.peers.live().into_iter().skip(1).filter(|other| other.node != *home);
        let mut hint = None;
        for other in others {
            let passed = Question::Passed { to: home.clone(), partition: partition.id(), request: request.clone() };
            match self.peers.ask(&other.node, &passed, tries.left(request)).await {
                // What changes at that home does not come here: it is fresh now, and stale from now on.
                Ok(Reply::Home(Ok(HomeReply::Subscribed { grants, revision, .. }))) => {
                    return Tried::Answered(Ok(HomeReply::Subscribed { grants, revision, stale: true }));
                }
                Ok(Reply::Home(answer)) => return tried(answer),
                Ok(Reply::NotHome { leader }) => hint = hint.or(self.other_than(home, leader)),
                Err(PeerError::Unreachable | PeerError::Busy) => {}
                Ok(_) | Err(PeerError::Unanswered) => return Tried::Unanswered,
            }
        }
        // Nobody reaches it, or it is none: another may be by now.
        partition.group().heard_hint(hint);
        Tried::NowhereYet
    }

    /// What can be said while no home is reachable: from a replica's store, here or elsewhere, as stale.
    async fn without_home(&self, partition: &Arc<HomePartition>, request: HomeRequest) -> Result<HomeReply, HomeError> {
        if !may_be_stale(&request) {
            return Err(HomeError::NoHome);
        }
        match partition.read_stale(request.clone()) {
            Err(HomeError::NoHome) => {}
            answer => return answer,
        }
        let question = Question::Replica { partition: partition.id(), request };
        let placement = self.peers.placement();
        for node in placement.replicas_of(partition.id()).filter(|node| **node != self.peers.this().node) {
            let deadline = Duration::from_millis(STALE_AFTER_MS);
            if let Ok(Reply::Home(Ok(answer))) = self.peers.ask(node, &question, deadline).await {
                return Ok(answer);
            }
        }
        Err(HomeError::NoHome)
    }

    /// Puts `question` to the home of `partition`, once and without waiting for one; `None` when it was not answered by a home.
    pub async fn put(&self, partition: PartitionId, question: &Question, deadline: Duration) -> Option<Reply> {
        let home = self.partition(partition)?;
        let mut at = match home.role() {
            Role::Home { .. } => return answered_by_home(self.answer(question.clone()).await).ok(),
            Role::Follower { leader } => self.asked_first(partition, leader)?,
        };
        for _ in 0..HOPS_MAX {
            match answered_by_home(self.peers.ask(&at, question, deadline).await.ok()?) {
                Ok(reply) => {
                    found(home, at);
                    return Some(reply);
                }
                Err(leader) => {
                    let hint = self.other_than(&at, leader);
                    home.group().heard_hint(hint.clone());
                    at = hint?;
                }
            }
        }
        None
    }

    /// Answers what a home or a replica is asked, if this node is that.
    pub async fn answer(&self, question: Question) -> Reply {
        match question {
            Question::Home { partition, request } => {
                let Some(home) = self.partition(partition) else { return Reply::NotHome { leader: None } };
                match home.role() {
                    Role::Home { .. } => Reply::Home(home.serve(request).await),
                    Role::Follower { leader } => Reply::NotHome { leader },
                }
            }
            Question::Replica { partition, request } => {
                let home = self.partition(partition);
                Reply::Home(home.map_or(Err(HomeError::NoHome), |home| home.read_stale(request)))
            }
            Question::Announce { partition, holder, step } => match self.partition(partition) {
                Some(home) => home.announced(&holder, step).await,
                None => Reply::NotHome { leader: None },
            },
            Question::Compare { partition, holder, digest } => match self.partition(partition) {
                Some(home) => home.compare(&holder, digest).await,
                None => Reply::NotHome { leader: None },
            },
            Question::HandOver { partition, heard } => {
                if let Some(home) = self.partition(partition) {
                    home.was_heard(heard, true);
                }
                Reply::Done
            }
            Question::Passed { to, partition, request } => self.passed(&to, partition, request).await,
            Question::Section { partition, backup, ticket } => self.section(partition, backup, ticket).await,
            Question::Report => Reply::Done,
        }
    }

    /// Asks `to` in the place of a node that does not reach it.
    async fn passed(&self, to: &NodeName, partition: PartitionId, request: HomeRequest) -> Reply {
        let question = Question::Home { partition, request };
        if *to == self.peers.this().node {
            return Box::pin(self.answer(question)).await;
        }
        match self.peers.ask(to, &question, Duration::from_millis(HOME_TRY_MS)).await {
            Ok(reply) => reply,
            Err(PeerError::Unanswered) => Reply::Home(Err(HomeError::Unknown)),
            Err(PeerError::Unreachable | PeerError::Busy) => Reply::NotHome { leader: None },
        }
    }

    /// Tells the home of `user` something that needs no answer; lost when there is no way to it.
    pub fn tell(&self, user: &UserId, request: HomeRequest) {
        let partition = self.of(user);
        match partition.role() {
            Role::Home { .. } => partition.take(request),
            Role::Follower { leader: Some(node) } if node != self.peers.this().node => {
                self.peers.tell(&node, &Message::Request { partition: partition.id(), request });
            }
            Role::Follower { .. } => {} // whatever it was, the next home hears of it from the ties
        }
    }

    /// Tells the replicas of the partitions led here when sessions were last heard, as far as they were not told.
    pub fn tell_heard(&self) {
        let placement = self.peers.placement();
        for home in self.partitions.iter().filter(|home| home.tenure().is_some()) {
            let partition = home.id();
            let replicas: Vec<_> =
                placement.replicas_of(partition).filter(|node| **node != self.peers.this().node).collect();
            if replicas.is_empty() {
                continue;
            }
            for heard in home.last_heard(false) {
                for node in &replicas {
                    self.peers.tell(node, &Message::Heard { partition, heard: heard.clone() });
                }
            }
        }
    }

    /// Takes what this node is told as a home.
    pub fn take(&self, partition: PartitionId, request: HomeRequest) {
        if let Some(home) = self.partition(partition)
            && matches!(home.role(), Role::Home { .. })
        {
            home.take(request);
        }
    }
}

/// `node` answered as the home of `partition`.
fn found(partition: &HomePartition, node: NodeName) {
    if matches!(partition.role(), Role::Follower { leader: None }) {
        partition.group().heard_hint(Some(node));
    }
}

/// The reply of a home; otherwise who may be it.
fn answered_by_home(reply: Reply) -> Result<Reply, Option<NodeName>> {
    match reply {
        Reply::NotHome { leader } => Err(leader),
        reply => Ok(reply),
    }
}

/// Whether it does no harm when it is done twice: reads, signs of life, and what the state machine knows by its key.
fn may_repeat(request: &HomeRequest) -> bool {
    !matches!(request, HomeRequest::Write { key: None, .. } | HomeRequest::Connect { .. })
}
