//! What this node answers when it is asked about the cluster itself.
//!
//! Only the placement leader answers; a newcomer that asks somebody else is led to it. Promises that a lease is answered only
//! once a quorum has confirmed the leadership.

use super::{
    Control,
    message::{Answer, Introduced, JoinRefusal, Lease, Leased, Question, Welcome},
};
use crate::{
    limits::{ASK_LEADER_MS, LEASE_ANSWER_MS},
    peers::Peer,
    proposer::ProposeError,
};
use openraft::ReadPolicy;
use rollcall_presence::{Newcomer, Placement, PlacementCommand};
use std::time::Duration;

impl Control {
    /// A member asks.
    pub(crate) async fn answer_member(&self, from: &Peer, question: Vec<u8>) -> Option<Vec<u8>> {
        let question = Question::opened(&question)?;
        let Ok(_room) = self.room.try_acquire() else { return Some(Answer::Busy.sealed()) };
        if let Question::Relayed { name, .. } = &question
            && *name == from.name
            && !self.leads_placement()
        {
            return Some(self.pass_on(&question).await.sealed());
        }
        Some(self.answer_as_leader(Some(from), question).await.sealed())
    }

    /// Passes a sign of life on to the placement leader, once: what was passed on already goes no further.
    async fn pass_on(&self, question: &Question) -> Answer {
        let Some(leader) = self.placement_leader().filter(|leader| leader != self.me()) else {
            return Answer::NotLeader { leader: None };
        };
        let patience = Duration::from_millis(LEASE_ANSWER_MS);
        let answer = self.base.link.control(&leader, question.sealed(), patience).await;
        answer.ok().and_then(|answer| Answer::opened(&answer)).unwrap_or(Answer::NotLeader { leader: None })
    }

    /// A node that has the cluster key asks to be let in; it is led to the placement leader.
    pub(crate) async fn answer_stranger(&self, question: Vec<u8>) -> Option<Vec<u8>> {
        let question = Question::opened(&question)?;
        if let Question::Greet { cluster_id } = &question {
            let ours = self.base.cluster_id.clone();
            let answer = if *cluster_id == ours {
                self.welcome()
            } else {
                Answer::NotWelcome(JoinRefusal::WrongCluster { ours })
            };
            return Some(answer.sealed());
        }
        if !matches!(question, Question::Join { .. } | Question::Announce { .. }) {
            return None;
        }
        let Ok(_room) = self.room.try_acquire() else { return Some(Answer::Busy.sealed()) };
        let moved = match &question {
            Question::Announce { cluster_id, newcomer } => self.has_moved(cluster_id, newcomer),
            _ => false,
        };
        // It is waited for as long: whom it may ask for a vote comes before who leads.
        let patience = if moved { ASK_LEADER_MS / 2 } else { ASK_LEADER_MS };
        let asked = self.ask_leader(&question, Duration::from_millis(patience)).await;
        let unled = || if moved { self.welcome() } else { Answer::NotLeader { leader: None } };
        Some(asked.unwrap_or_else(|_| unled()).sealed())
    }

    /// Links with a member where it says that it lives now, whether there is a leader or not.
    fn has_moved(&self, cluster_id: &str, newcomer: &Newcomer) -> bool {
        let Newcomer { name, raft_id, generation, peer, .. } = newcomer.clone();
        let member = Introduced { name, raft_id, generation, peer };
        let placement = self.placement_now();
        let moved = cluster_id == placement.cluster_id && self.base.side.has_moved(&placement, &member);
        if moved {
            self.know_members();
        }
        moved
    }

    pub(super) async fn answer_as_leader(&self, from: Option<&Peer>, question: Question) -> Answer {
        if !self.leads_placement() {
            return Answer::NotLeader { leader: self.placement_leader() };
        }
        match question {
            Question::Join { cluster_id, partitions, newcomer } => self.let_in(cluster_id, partitions, newcomer).await,
            Question::Announce { cluster_id, newcomer } => self.let_back_in(&cluster_id, newcomer).await,
            Question::Lease(lease) => match from {
                Some(from) => self.renew(from, &lease).await,
                None => Answer::Unsure,
            },
            Question::Propose(command) => self.commit(command).await,
            Question::Relayed { name, raft_id, lease } => {
                self.renew(&Peer { name, raft_id, generation: lease.generation }, &lease).await
            }
            Question::Greet { .. } => Answer::NotLeader { leader: None },
        }
    }

    async fn let_in(&self, cluster_id: Option<String>, partitions: u16, newcomer: Newcomer) -> Answer {
        let placement = self.placement_now();
        if !placement.is_founded() {
            return Answer::NotLeader { leader: None };
        }
        if cluster_id.is_some_and(|theirs| theirs != placement.cluster_id) {
            return Answer::NotWelcome(JoinRefusal::WrongCluster { ours: placement.cluster_id.clone() });
        }
        let ours = u16::try_from(placement.partitions.len()).unwrap_or(u16::MAX);
        if partitions != ours {
            return Answer::NotWelcome(JoinRefusal::Partitions { ours });
        }
        self.admit(newcomer).await
    }

    async fn let_back_in(&self, cluster_id: &str, newcomer: Newcomer) -> Answer {
        let placement = self.placement_now();
        if !placement.is_founded() {
            return Answer::NotLeader { leader: None };
        }
        if cluster_id != placement.cluster_id {
            return Answer::NotWelcome(JoinRefusal::WrongCluster { ours: placement.cluster_id.clone() });
        }
        let is_known = |placement: &Placement| {
            placement.members.get(&newcomer.name).is_some_and(|member| member.raft_id == newcomer.raft_id)
        };
        if !is_known(&placement) {
            // It ends for good on hearing so: not by what a leader believes that others have left behind.
            if !self.is_confirmed().await {
                return Answer::NotLeader { leader: None };
            }
            if !is_known(&self.placement_now()) {
                return Answer::NotWelcome(JoinRefusal::Removed);
            }
        }
        self.admit(newcomer).await
    }

    /// Whether a quorum confirms that this node leads the placement; what is applied here is then as new as the question.
    async fn is_confirmed(&self) -> bool {
        let Some(group) = self.placement_group() else { return false };
        let confirmed = group.group().ensure_linearizable(ReadPolicy::LeaseRead);
        matches!(tokio::time::timeout(Duration::from_millis(LEASE_ANSWER_MS), confirmed).await, Ok(Ok(_)))
    }

    async fn admit(&self, newcomer: Newcomer) -> Answer {
        let name = newcomer.name.clone();
        match self.commit(PlacementCommand::Admit(newcomer)).await {
            Answer::Done(Ok(applied)) => {
                tracing::info!(node = %name, ?applied, "a node was let in");
                self.welcome()
            }
            Answer::Done(Err(refusal)) => {
                tracing::warn!(node = %name, %refusal, "a node was not let in");
                Answer::NotWelcome(JoinRefusal::Placement(refusal))
            }
            other => other,
        }
    }

    fn welcome(&self) -> Answer {
        let (placement, me) = (self.placement_now(), &self.base.about);
        let mut members = self.base.side.members(&placement);
        if let Some(mine) = members.iter_mut().find(|member| member.raft_id == me.raft_id) {
            (mine.generation, mine.peer) = (me.generation, me.peer.clone());
        }
        Answer::Welcome(Welcome {
            cluster_id: placement.cluster_id.clone(),
            partitions: u16::try_from(placement.partitions.len()).unwrap_or(u16::MAX),
            replication: placement.replication,
            members,
        })
    }

    async fn renew(&self, from: &Peer, lease: &Lease) -> Answer {
        let Some(group) = self.placement_group() else { return Answer::NotLeader { leader: None } };
        if self.hear(from.raft_id, lease) {
            self.lease_news.notify_one();
        }
        if !self.is_confirmed().await {
            return Answer::NotLeader { leader: None };
        }
        let placement = self.placement_now();
        let known = placement.members.get(&from.name);
        if known.is_none_or(|member| member.raft_id != from.raft_id) {
            return Answer::NotWelcome(JoinRefusal::Removed);
        }
        Answer::Leased(Leased {
            term: group.term(),
            epoch: placement.epoch,
            median_unix_ms: self.leases.lock().median_unix_ms((self.base.wall_clock)()),
        })
    }

    fn hear(&self, raft_id: u64, lease: &Lease) -> bool {
        self.leases.lock().hear(raft_id, lease, self.now_ms(), (self.base.wall_clock)())
    }

    /// Proposes `command` to the placement group, which this node leads.
    pub(super) async fn commit(&self, command: PlacementCommand) -> Answer {
        let Some(group) = self.placement_group() else { return Answer::NotLeader { leader: None } };
        tracing::debug!(?command, "the placement is asked for");
        match group.propose(command).await {
            Ok(done) => Answer::Done(done),
            Err(ProposeError::NotHome { leader }) => Answer::NotLeader { leader },
            Err(ProposeError::Busy) => Answer::Busy,
            Err(ProposeError::Unknown) => Answer::Unsure,
        }
    }
}
