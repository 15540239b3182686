//! Publication: what was committed goes, in the order of the log, to the nodes that watch; one note a node and change.
//!
//! Relies on being called once per applied entry, after its rows are readable and before anybody is answered.

use super::{partition::HomePartition, request::NodeNote};
use rollcall_cluster::Observer;
use rollcall_presence::{
    Holder, ListKind, Outcome, PartitionId, Row, UserId, Viewer,
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
        home.publish(outcomes);
    }
}

impl HomePartition {
    /// Tells the nodes that watch the outcomes' users what changed for them: one parcel a node and entry.
    fn publish(&self, outcomes: &[Arc<Outcome>]) {
        let mut parcels: Vec<(Holder, Vec<NodeNote>)> = Vec::new();
        for outcome in outcomes {
            if !outcome.ended.is_empty() {
                self.last_heard.lock().ended(&outcome.ended);
            }
            if outcome.presence.is_none() && outcome.rows.is_empty() && !outcome.deleted {
                continue;
            }
            let nodes = self.watching.nodes(&outcome.user);
            if nodes.is_empty() {
                continue;
            }
            tracing::trace!(target: "rollcall::path", hop = "fan-out");
            let notes = self.notes(outcome);
            for node in nodes {
                match parcels.iter_mut().find(|(of, _)| *of == node) {
                    Some((_, held)) => held.extend(notes.iter().cloned()),
                    None => parcels.push((node, notes.clone())),
                }
            }
        }
        for (node, notes) in parcels {
            self.parcel(&node, notes);
        }
    }

    /// What an outcome means for those who watch its user.
    fn notes(&self, outcome: &Outcome) -> Vec<NodeNote> {
        let (subject, revision) = (&outcome.user, outcome.revision);
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
        notes
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
        let read = self.group.read(|view| {
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
        read.unwrap_or_default() // a replica that is gone publishes nothing
    }
}
