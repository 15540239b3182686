//! Publication: what was committed goes, in the order of the log, to the nodes that watch; one note a node and change.
//!
//! Relies on being called once per applied entry, after its rows are readable and before anybody is answered.

use super::{partition::HomePartition, request::NodeNote};
use rollcall_cluster::Observer;
use rollcall_presence::{
    ListKind, Outcome, PartitionId, Row, UserId, Viewer,
    visibility::{Visibility, subject_allows},
};
use std::sync::{Arc, OnceLock};

/// Hears what every partition of this node applies.
#[derive(Default)]
pub struct Fanout {
    partitions: OnceLock<Vec<Arc<HomePartition>>>,
}

impl Fanout {
    /// Publishes from now on. What is applied before has no watcher yet: watches begin when the node serves.
    pub fn begin(&self, partitions: Vec<Arc<HomePartition>>) {
        let _ = self.partitions.set(partitions);
    }
}

impl Observer for Fanout {
    fn applied(&self, partition: PartitionId, _term: u64, outcomes: &[Arc<Outcome>]) {
        let Some(home) = self.partitions.get().and_then(|all| all.get(usize::from(partition.0))) else { return };
        tracing::trace!(target: "rollcall::path", hop = "commit and apply");
        for outcome in outcomes {
            home.publish(outcome);
        }
    }
}

impl HomePartition {
    /// Tells the nodes that watch the outcome's user what changed for them.
    fn publish(&self, outcome: &Outcome) {
        if outcome.presence.is_none() && outcome.rows.is_empty() && !outcome.deleted {
            return;
        }
        let nodes = self.watching.nodes(&outcome.user);
        if nodes.is_empty() {
            return;
        }
        tracing::trace!(target: "rollcall::path", hop = "fan-out");
        let revision = outcome.revision;
        let subject = &outcome.user;
        let mut notes = Vec::new();
        if outcome.deleted {
            let allowed = self.rules.visibility == Visibility::Everyone;
            notes.push(NodeNote::SubjectForgotten { subject: subject.clone(), allowed, revision });
        }
        let viewers = self.decisions(outcome);
        if !viewers.is_empty() {
            notes.push(NodeNote::SubjectDecides { subject: subject.clone(), viewers, revision });
        }
        if let Some(presence) = &outcome.presence {
            notes.push(NodeNote::Presence { presence: presence.clone(), revision });
        }
        for node in &nodes {
            for note in &notes {
                self.nodes.note(node, note.clone());
            }
        }
    }

    /// Whether those whose place on the user's lists changed may see the user now.
    fn decisions(&self, outcome: &Outcome) -> Vec<(UserId, bool)> {
        let changed: Vec<&UserId> = outcome
            .rows
            .iter()
            .filter_map(|row| if let Row::Listed { other, .. } = row { Some(other) } else { None })
            .collect();
        if changed.is_empty() {
            return Vec::new();
        }
        let decisions = self.group.read(|view| {
            let on = |list, other| view.added_at(&outcome.user, list, other);
            changed
                .into_iter()
                .map(|other| {
                    // A store that cannot be read grants nothing.
                    let listed = on(ListKind::Contacts, other).is_ok_and(|a| a.is_some());
                    let blocked = on(ListKind::Blocks, other).map_or(true, |a| a.is_some());
                    let viewer = Viewer { user: other.clone(), service: false };
                    let allowed = subject_allows(self.rules.visibility, &outcome.user, &viewer, listed, blocked);
                    (other.clone(), allowed)
                })
                .collect()
        });
        // A replica that is gone by now is not the home's: another home decides.
        decisions.unwrap_or_default()
    }
}
