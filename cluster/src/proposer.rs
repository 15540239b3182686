//! Commands on their way into a group's log: gathered into entries, a few entries in flight.
//!
//! A lone command goes at once; under load the next entry gathers while others are in flight. Admission is bounded before
//! anything is queued. Promises that commands keep the order they were proposed in.

use crate::{
    limits::{ENTRIES_IN_FLIGHT, ENTRY_MAX_BYTES, PROPOSE_DEADLINE_MS},
    raft::{
        machine::Machine,
        types::{Proposal, TypeConfig},
    },
};
use openraft::{errors::ClientWriteError, impls::ProgressResponder, raft::ClientWriteResult};
use rollcall_presence::{
    Command, Entry, Intent, NodeName, Outcome, Placement, Policy, RULES_VERSION, limits::ENTRY_MAX_COMMANDS,
};
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// A group.
pub(crate) type Group = openraft::Raft<TypeConfig, Machine>;

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// As many writes as allowed are in flight. Nothing happened.
    #[error("too many writes are in flight")]
    Busy,
    /// This node is not the home of the partition. Nothing happened.
    #[error("this node is not the home of the partition")]
    NotHome {
        /// Who may be.
        leader: Option<NodeName>,
    },
    /// No answer in time, or leadership was lost meanwhile. The command may take effect later.
    #[error("the write was not confirmed; it may take effect later")]
    Unknown,
}

struct Pending {
    command: Command,
    bytes: usize,
    answer: oneshot::Sender<Result<Arc<Outcome>, ProposeError>>,
    _admitted: OwnedSemaphorePermit,
}

/// By what entries are applied.
pub(crate) struct Terms {
    pub(crate) policy: Policy,
    pub(crate) placement: watch::Receiver<Arc<Placement>>,
}

impl Terms {
    /// The rules that all members know: some may run an older program.
    fn rules(&self) -> u16 {
        RULES_VERSION.min(self.placement.borrow().rules.max(1))
    }
}

/// The way in.
pub(crate) struct Proposer {
    admission: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Pending>,
}

impl Proposer {
    /// Starts the task that proposes to `group`; it ends with this value. `writes_in_flight` bounds what is queued.
    #[must_use]
    pub(crate) fn start(group: Group, terms: Terms, writes_in_flight: usize) -> Self {
        // Unbounded itself, and bounded by the permits: one is taken before anything is queued.
        let (queue, pending) = mpsc::unbounded_channel();
        tokio::spawn(propose_all(group, terms, pending));
        Self { admission: Arc::new(Semaphore::new(writes_in_flight)), queue }
    }

    /// Proposes `command`, and waits for its outcome.
    ///
    /// # Errors
    /// [`ProposeError`]; each variant says what may have happened.
    pub(crate) async fn propose(&self, command: Command) -> Result<Arc<Outcome>, ProposeError> {
        let admitted = Arc::clone(&self.admission).try_acquire_owned().map_err(|_| ProposeError::Busy)?;
        let (answer, outcome) = oneshot::channel();
        let bytes = size_of_command(&command);
        let pending = Pending { command, bytes, answer, _admitted: admitted };
        self.queue.send(pending).map_err(|_| ProposeError::NotHome { leader: None })?;
        match tokio::time::timeout(Duration::from_millis(PROPOSE_DEADLINE_MS), outcome).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }
}

/// About how long a command is in its stored form, bytes.
fn size_of_command(command: &Command) -> usize {
    /// Ids, times, tags, a key with its digest.
    const FIXED: usize = 512;
    FIXED
        + match &command.intent {
            Intent::ChangeList(changes) => changes.add.iter().chain(&changes.remove).map(|id| id.len() + 2).sum(),
            Intent::PutStatus { text, meta, .. } => text.as_ref().map_or(0, |t| t.len()) + meta.as_json().len(),
            Intent::PutProfile(profile) => profile.name.as_ref().map_or(0, |n| n.len()) + profile.meta.as_json().len(),
            Intent::Restore(part) => rollcall_presence::codec::encode(part).len(),
            _ => 0,
        }
}

async fn propose_all(group: Group, terms: Terms, mut queue: mpsc::UnboundedReceiver<Pending>) {
    let slots = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT));
    let mut held: Option<Pending> = None;
    loop {
        // First the slot, then the commands: what comes while all slots are taken goes together.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let first = match held.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.bytes;
        let mut gathered = vec![first];
        while gathered.len() < ENTRY_MAX_COMMANDS
            && let Ok(next) = queue.try_recv()
        {
            if bytes + next.bytes > ENTRY_MAX_BYTES {
                held = Some(next);
                break;
            }
            bytes += next.bytes;
            gathered.push(next);
        }
        submit(&group, &terms, gathered, slot).await;
    }
}

type Answer = (oneshot::Sender<Result<Arc<Outcome>, ProposeError>>, OwnedSemaphorePermit);

/// What may stand in an entry under `rules`, and who waits for it. What some member could not even read is refused: whoever
/// proposed it tries again later, when all members may have been renewed.
fn readable(rules: u16, gathered: Vec<Pending>) -> (Vec<Command>, Vec<Answer>) {
    let mut commands = Vec::with_capacity(gathered.len());
    let mut answers = Vec::with_capacity(gathered.len());
    for Pending { command, answer, _admitted, .. } in gathered {
        if command.intent.since_rules() <= rules {
            commands.push(command);
            answers.push((answer, _admitted));
        } else {
            let _ = answer.send(Err(ProposeError::Busy));
        }
    }
    (commands, answers)
}

/// Hands an entry to Raft in its turn, and leaves waiting for its outcome to a task of its own.
async fn submit(group: &Group, terms: &Terms, gathered: Vec<Pending>, slot: OwnedSemaphorePermit) {
    let rules = terms.rules();
    let (commands, answers) = readable(rules, gathered);
    if commands.is_empty() {
        return;
    }
    let entry = Entry { rules, policy: terms.policy.under(rules), commands };
    let (responder, written) = ProgressResponder::complete_only();
    let sent = group.client_write_ff(Proposal::Presence(Arc::new(entry)), Some(responder)).await;
    tokio::spawn(async move {
        let outcome = match sent {
            Ok(()) => written.await.map_err(|_| ProposeError::Unknown).and_then(outcomes),
            Err(_) => Err(ProposeError::Unknown),
        };
        drop(slot);
        match outcome {
            Ok(outcomes) => {
                for ((answer, _admitted), outcome) in answers.into_iter().zip(outcomes) {
                    // A proposer that gave up waiting is no failure.
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(error) => {
                for (answer, _admitted) in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    });
}

fn outcomes(written: ClientWriteResult<TypeConfig>) -> Result<Vec<Arc<Outcome>>, ProposeError> {
    match written {
        Ok(response) => Ok(response.data.outcomes),
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Err(ProposeError::NotHome { leader: forward.leader_node.map(|member| member.name) })
        }
        Err(_) => Err(ProposeError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_carry_the_rules_that_all_members_know() {
        let (placement, seen) = watch::channel(Arc::new(Placement::default()));
        let terms = Terms { policy: Policy::default(), placement: seen };
        assert_eq!(terms.rules(), 1, "there were never older ones");
        let at = |rules| placement.send_replace(Arc::new(Placement { rules, ..Placement::default() }));
        at(RULES_VERSION);
        assert_eq!(terms.rules(), RULES_VERSION);
        at(RULES_VERSION + 1);
        assert_eq!(terms.rules(), RULES_VERSION, "never newer than this program's");
    }

    #[tokio::test]
    async fn what_some_member_cannot_read_is_not_proposed() {
        let permits = Arc::new(Semaphore::new(3));
        let pending = |intent| {
            let (answer, outcome) = oneshot::channel();
            let user = rollcall_presence::UserId::new("alice").unwrap();
            let command = Command { user, term: 1, at: 1, key: None, intent };
            let _admitted = Arc::clone(&permits).try_acquire_owned().unwrap();
            (Pending { command, bytes: 1, answer, _admitted }, outcome)
        };
        let ((newer, refused), (older, _waits)) = (pending(Intent::DropExpired), pending(Intent::ClearStatus));
        let (commands, answers) = readable(1, vec![newer, older]);
        assert_eq!((commands.len(), answers.len()), (1, 1));
        assert_eq!(commands[0].intent, Intent::ClearStatus);
        assert_eq!(refused.await.unwrap(), Err(ProposeError::Busy));
        let (newer, _waits) = pending(Intent::DropExpired);
        assert_eq!(readable(rollcall_presence::RULES_WITH_HISTORY_AGE, vec![newer]).0.len(), 1);
    }
}
