//! Asking the placement leader, whoever that is now.
//!
//! Every question may be asked twice without harm, so that it is asked until it is answered or time is up.

use super::{
    Control,
    message::{Answer, Question},
};
use crate::{
    limits::ASK_AGAIN_MS,
    peers::{LinkError, Peer},
};
use rollcall_presence::NodeName;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No placement leader was reached. Nothing was changed.
    NoLeader,
    /// One was, and it is not known what came of it.
    Unsure,
}

impl Control {
    /// Asks the placement leader, for `patience` at most.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) async fn ask_leader(&self, question: &Question, patience: Duration) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + patience;
        let mut sent = false;
        let mut hint = None;
        loop {
            let leader = hint.take().or_else(|| self.placement_leader());
            if let Some(leader) = leader.clone() {
                match timeout_at(deadline, self.ask_node(&leader, question, deadline)).await {
                    Ok(Ok(Answer::NotLeader { leader: other })) => {
                        hint = other.filter(|other| *other != leader);
                    }
                    Ok(Ok(Answer::Unsure)) | Ok(Err(LinkError::Unanswered(_))) | Err(_) => sent = true,
                    Ok(Ok(Answer::Busy)) | Ok(Err(LinkError::Unreachable(_))) => {}
                    Ok(Ok(answer)) => return Ok(answer),
                }
            }
            if Instant::now() >= deadline {
                return Err(if sent { NoAnswer::Unsure } else { NoAnswer::NoLeader });
            }
            if hint.is_none() {
                // Nobody, or the wrong one: it changes with the role, or the link comes.
                let mut role = self.base.hosting.placement_role_watch();
                let changed = timeout(Duration::from_millis(ASK_AGAIN_MS), role.changed());
                let _ = timeout_at(deadline, changed).await;
            }
        }
    }

    /// Asks one node, this one included.
    async fn ask_node(&self, node: &NodeName, question: &Question, deadline: Instant) -> Result<Answer, LinkError> {
        if node == self.me() {
            let me = &self.base.about;
            let from = Peer { name: me.name.clone(), raft_id: me.raft_id, generation: me.generation };
            return Ok(self.answer_as_leader(Some(&from), question.clone()).await);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.base.link.control(node, question.sealed(), left).await?;
        Answer::opened(&answer).ok_or_else(|| LinkError::Unanswered(node.clone()))
    }
}
