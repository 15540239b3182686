//! What this node is to a partition: its home, or one that follows.
//!
//! Read from Raft, never guessed; only who leads is taken from hearsay, where no replica knows. A home is one only once its term's first entry is applied, and no longer than the disk
//! keeps up.

use crate::{proposer::Group, raft::types::TypeConfig};
use openraft::{ServerState, async_runtime::watch::WatchReceiver, metrics::RaftServerMetrics};
use parking_lot::Mutex;
use rollcall_presence::NodeName;
use std::sync::Arc;
use tokio::sync::watch;

/// What this node is to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Its home: commands are proposed here, under this term.
    Home {
        /// The term.
        term: u64,
    },
    /// Not its home.
    Follower {
        /// Who may be.
        leader: Option<NodeName>,
    },
}

impl Role {
    fn of(metrics: &RaftServerMetrics<TypeConfig>, applied_term: u64, healthy: bool) -> Self {
        let term = metrics.vote.leader_id().term;
        let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
        if leads && applied_term == term && healthy {
            return Self::Home { term };
        }
        // A node that gave its leadership up has nobody to name but itself.
        let leader = metrics.current_leader.filter(|leader| *leader != metrics.id);
        let leader = leader.and_then(|id| metrics.membership_config.get_node(&id).map(|member| member.name.clone()));
        Self::Follower { leader }
    }
}

/// What this node is to a partition, over all the replicas of it that come and go here.
pub(crate) struct RoleBoard {
    known: Mutex<Known>,
    role: watch::Sender<Role>,
}

struct Known {
    /// Counts replicas: a task that follows an earlier one has no say.
    replica: u64,
    /// As the replica has it.
    own: Option<Role>,
    /// As others have it.
    hint: Option<NodeName>,
}

impl RoleBoard {
    /// The board of a partition of which nothing is known.
    #[must_use]
    pub(crate) fn new() -> Self {
        let known = Known { replica: 0, own: None, hint: None };
        Self { known: Mutex::new(known), role: watch::Sender::new(Role::Follower { leader: None }) }
    }

    /// The role, as it changes.
    #[must_use]
    pub(crate) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The role just now.
    #[must_use]
    pub(crate) fn now(&self) -> Role {
        self.role.borrow().clone()
    }

    /// Who leads, as others say; used while no replica here knows better.
    pub(crate) fn hint(&self, leader: Option<NodeName>) {
        self.change(|known| known.hint = leader);
    }

    /// A replica comes or goes; whoever followed the one before is not listened to any more. Answers the new number.
    pub(crate) fn next_replica(&self) -> u64 {
        self.change(|known| {
            known.replica += 1;
            known.own = None;
            known.replica
        })
    }

    fn set(&self, replica: u64, own: Option<Role>) {
        self.change(|known| {
            if known.replica == replica {
                known.own = own;
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock();
        let answer = change(&mut known);
        let now = match &known.own {
            Some(Role::Follower { leader: None }) | None => Role::Follower { leader: known.hint.clone() },
            Some(own) => own.clone(),
        };
        self.role.send_if_modified(|role| (*role != now).then(|| *role = now).is_some());
        answer
    }
}

/// Follows a group's role until the group ends, and says so on `board` as long as `replica` is the one there.
/// `applied_term` is the term of the last entry applied.
pub(crate) fn follow(
    group: &Group,
    mut applied_term: watch::Receiver<u64>,
    mut healthy: watch::Receiver<bool>,
    board: Arc<RoleBoard>,
) {
    let mut metrics = group.server_metrics();
    let replica = board.next_replica();
    tokio::spawn(async move {
        loop {
            let applied = *applied_term.borrow_and_update();
            let well = *healthy.borrow_and_update();
            let now = Role::of(&metrics.borrow_watched(), applied, well);
            board.set(replica, Some(now));
            let alive = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                changed = applied_term.changed() => changed.is_ok(),
                changed = healthy.changed() => changed.is_ok(),
            };
            if !alive {
                board.set(replica, None);
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_replica_has_no_say_and_the_hint_fills_what_none_knows() {
        let board = RoleBoard::new();
        let role = board.role();
        let name = |text: &str| Some(NodeName::new(text).unwrap());
        let first = board.next_replica();
        board.set(first, Some(Role::Home { term: 1 }));
        assert_eq!(*role.borrow(), Role::Home { term: 1 });
        board.hint(name("n2"));
        assert_eq!(*role.borrow(), Role::Home { term: 1 }, "the replica knows better");
        let second = board.next_replica();
        board.set(first, Some(Role::Home { term: 1 }));
        assert_eq!(*role.borrow(), Role::Follower { leader: name("n2") });
        board.set(second, Some(Role::Follower { leader: name("n3") }));
        assert_eq!(*role.borrow(), Role::Follower { leader: name("n3") });
        board.set(second, Some(Role::Follower { leader: None }));
        assert_eq!(*role.borrow(), Role::Follower { leader: name("n2") });
    }
}
