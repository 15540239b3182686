//! The way to every user's home: served here when this node leads the partition, asked of its leader otherwise, in one hop.
//!
//! A node that is not the home says so and who may be: one more hop, and the hint is kept. Promises that a write that may have
//! been carried out is never sent twice, and that what a replica answers in a home's place says that it is stale.

use crate::{
    bounds::{HOME_DEADLINE_MS, HOME_LOOK_MS, HOME_WAIT_MS, STALE_AFTER_MS},
    home::{
        partition::HomePartition,
        reads::may_be_stale,
        request::{HomeError, HomeReply, HomeRequest},
    },
    peers::{
        PeerError, Peers,
        message::{Message, Question, Reply},
    },
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
}

/// What became of one try.
enum Tried {
    Answered(Result<HomeReply, HomeError>),
    /// Nothing was done, as far as that node knows.
    NowhereYet,
    /// It was sent, and may have been done.
    Unanswered,
}

impl Homes {
    /// The partitions of a cluster in order, and the other nodes.
    #[must_use]
    pub fn new(partitions: Vec<Arc<HomePartition>>, peers: Arc<Peers>) -> Arc<Self> {
        Arc::new(Self { partitions, peers })
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

    /// One partition, if there is such a one.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<HomePartition>> {
        self.partitions.get(usize::from(id.0))
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
        let began = Instant::now();
        let wait_ms = if may_be_stale(&request) { STALE_AFTER_MS } else { HOME_WAIT_MS };
        let mut role = partition.role_changes();
        loop {
            role.mark_unchanged();
            match self.try_home(partition, &request, began).await {
                Tried::Answered(answer) => return answer,
                Tried::Unanswered if !may_repeat(&request) => return Err(HomeError::Unknown),
                Tried::Unanswered | Tried::NowhereYet => {}
            }
            if began.elapsed() >= Duration::from_millis(wait_ms) {
                return self.without_home(partition, request).await;
            }
            // A way to the home may come without a change of role.
            let _ = tokio::time::timeout(Duration::from_millis(HOME_LOOK_MS), role.changed()).await;
        }
    }

    /// Tries the home known here, and the one that it names if it is none.
    async fn try_home(&self, partition: &Arc<HomePartition>, request: &HomeRequest, began: Instant) -> Tried {
        let mut at = match partition.role() {
            Role::Home { .. } => match partition.serve(request.clone()).await {
                Err(HomeError::NoHome) => return Tried::NowhereYet,
                answer => return Tried::Answered(answer),
            },
            Role::Follower { leader } => leader,
        };
        let question = Question::Home { partition: partition.id(), request: request.clone() };
        for _ in 0..HOPS_MAX {
            let Some(node) = at.take().filter(|node| *node != self.peers.this().node) else {
                return Tried::NowhereYet;
            };
            let left = Duration::from_millis(HOME_DEADLINE_MS).saturating_sub(began.elapsed());
            match self.peers.ask(&node, &question, left).await {
                Ok(Reply::Home(Err(HomeError::NoHome))) => return Tried::NowhereYet,
                Ok(Reply::Home(answer)) => return Tried::Answered(answer),
                Ok(Reply::NotHome { leader }) => {
                    let hint = leader.filter(|leader| *leader != node);
                    partition.group().heard_hint(hint.clone());
                    at = hint;
                }
                Ok(_) | Err(PeerError::Unanswered) => return Tried::Unanswered,
                Err(PeerError::Busy) => return Tried::Answered(Err(HomeError::Busy)),
                Err(PeerError::Unreachable) => return Tried::NowhereYet,
            }
        }
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
            Role::Follower { leader } => leader?,
        };
        for _ in 0..HOPS_MAX {
            if at == self.peers.this().node {
                return None;
            }
            match answered_by_home(self.peers.ask(&at, question, deadline).await.ok()?) {
                Ok(reply) => return Some(reply),
                Err(leader) => {
                    home.group().heard_hint(leader.clone());
                    at = leader?;
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
            Question::Report => Reply::Done,
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

/// The reply of a home; otherwise who may be it.
fn answered_by_home(reply: Reply) -> Result<Reply, Option<NodeName>> {
    match reply {
        Reply::NotHome { leader } => Err(leader),
        reply => Ok(reply),
    }
}

/// Whether it does no harm when it is done twice.
fn may_repeat(request: &HomeRequest) -> bool {
    !matches!(
        request,
        HomeRequest::Write { .. } | HomeRequest::Connect { .. } | HomeRequest::Heartbeat { key: Some(_), .. }
    )
}
