//! What this node is to a partition: its home, or one that follows.
//!
//! Read from Raft, never guessed. A home is one only once its term's first entry is applied, and no longer than the disk
//! keeps up.

use crate::{proposer::Group, raft::types::TypeConfig};
use openraft::{ServerState, async_runtime::watch::WatchReceiver, metrics::RaftServerMetrics};
use rollcall_presence::NodeName;
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

/// Follows a group's role until the group ends. `applied_term` is the term of the last entry applied.
pub(crate) fn follow(
    group: &Group,
    mut applied_term: watch::Receiver<u64>,
    mut healthy: watch::Receiver<bool>,
) -> watch::Receiver<Role> {
    let mut metrics = group.server_metrics();
    let (role, watched) = watch::channel(Role::Follower { leader: None });
    tokio::spawn(async move {
        loop {
            let applied = *applied_term.borrow_and_update();
            let well = *healthy.borrow_and_update();
            let now = Role::of(&metrics.borrow_watched(), applied, well);
            role.send_if_modified(|known| (*known != now).then(|| *known = now).is_some());
            let alive = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                changed = applied_term.changed() => changed.is_ok(),
                changed = healthy.changed() => changed.is_ok(),
                () = role.closed() => false,
            };
            if !alive {
                role.send_replace(Role::Follower { leader: None });
                return;
            }
        }
    });
    watched
}
