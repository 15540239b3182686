//! The replicas of this node follow the placement: opened where it names this node, dropped where it does not any more.
//!
//! A placement may be old news when it is acted on, and name this node again by now. So a replica that it does not name is first
//! closed to peers; then a quorum has to confirm the placement; and only then, if that names this node still not, it is dropped.
//! Promises that nobody counts on anything that was dropped: whoever lets this node in again does so after the confirmation,
//! and has had no answer since before it.

use super::{Control, standing::Confirmed};
use crate::{
    limits::{FAREWELL_MS, SWEEP_MS},
    peers::PeerAt,
    placement_group::name_of,
};
use rollcall_presence::{NodeName, PartitionId, Placement};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// What this node remembers of what it did.
#[derive(Default)]
struct Kept {
    /// Since when a replica is closed to peers, to be dropped.
    closed: BTreeMap<PartitionId, Instant>,
    /// The members as of the placement before.
    members: BTreeSet<NodeName>,
    /// Whether this node was seen to be a member.
    was_member: bool,
}

impl Control {
    /// Ends only when the node was removed.
    pub(super) async fn keep_replicas(self: Arc<Self>) {
        let mut placement = self.placement();
        let mut confirmed = self.confirmed.subscribe();
        let mut removed = self.removed.subscribe();
        let mut kept = Kept::default();
        let mut farewells: Vec<(Instant, NodeName)> = Vec::new();
        loop {
            let now = placement.borrow_and_update().clone();
            let fresh = *confirmed.borrow_and_update();
            if *removed.borrow_and_update() || (kept.was_member && !now.members.contains_key(self.me())) {
                self.end_for_good().await;
                return;
            }
            if now.is_founded() {
                kept.was_member |= self.is_settled(&now);
                for gone in kept.members.iter().filter(|name| !now.members.contains_key(*name)) {
                    farewells.push((Instant::now() + Duration::from_millis(FAREWELL_MS), gone.clone()));
                }
                kept.members = now.members.keys().cloned().collect();
                self.base.side.look_at(&now, self.is_settled(&now));
                self.hint(&now);
            }
            farewells.retain(|(until, name)| {
                let is_over = *until <= Instant::now() || now.members.contains_key(name);
                if is_over {
                    self.base.side.forget(name);
                }
                !is_over
            });
            self.know_members();
            let done = self.keep_once(&now, fresh, &mut kept).await;
            let patience = if done && farewells.is_empty() { Duration::MAX } else { Duration::from_millis(SWEEP_MS) };
            let changed = async {
                tokio::select! {
                    _ = placement.changed() => {}
                    _ = confirmed.changed(), if !kept.closed.is_empty() => {}
                    _ = removed.changed() => {}
                }
            };
            let _ = timeout(patience, changed).await;
        }
    }

    /// Opens, closes and drops; answers whether all is as it should be.
    async fn keep_once(&self, now: &Placement, fresh: Option<Confirmed>, kept: &mut Kept) -> bool {
        if !now.is_founded() {
            return true;
        }
        let hosting = &self.base.hosting;
        let runs: BTreeSet<PartitionId> = now.runs_on(self.me()).collect();
        let held: BTreeSet<PartitionId> = hosting.held().into_iter().collect();
        let mut done = true;
        for id in runs.difference(&held) {
            if let Err(error) = hosting.open(*id).await {
                tracing::warn!(%error, "a replica could not be opened");
                done = false;
            }
        }
        for id in runs.intersection(&held).filter(|id| kept.closed.remove(id).is_some()) {
            self.close(*id, false);
        }
        for id in held.difference(&runs) {
            let Some(since) = kept.closed.get(id).copied() else {
                self.close(*id, true);
                kept.closed.insert(*id, Instant::now());
                self.pulse_now.notify_one();
                continue;
            };
            if !fresh.is_some_and(|fresh| fresh.asked_at > since && now.epoch >= fresh.epoch) {
                continue;
            }
            match hosting.drop_replica(*id).await {
                Ok(()) => {
                    kept.closed.remove(id);
                }
                Err(error) => {
                    tracing::warn!(group = name_of(*id), %error, "a replica could not be dropped");
                    done = false;
                }
            }
        }
        done
    }

    fn close(&self, id: PartitionId, closed: bool) {
        if let Some(replica) = self.base.hosting.replica(id) {
            replica.close(closed);
        }
    }

    fn hint(&self, placement: &Placement) {
        for partition in self.base.hosting.partitions() {
            let leader = placement.assignment(partition.id()).and_then(|at| at.leader.clone());
            partition.heard_hint(leader.filter(|leader| leader != self.me()));
        }
    }

    /// Tells the links whom to link with.
    pub(super) fn know_members(&self) {
        let placement = self.placement_now();
        let mut members: BTreeMap<NodeName, String> = self.base.side.guests();
        members.extend(self.base.side.members(&placement).into_iter().map(|member| (member.name, member.peer)));
        members.remove(self.me());
        if members.is_empty() && !placement.is_founded() {
            return;
        }
        let members = members.into_iter().map(|(name, address)| PeerAt { name, address }).collect();
        self.base.link.know(&self.base.cluster_id, members);
    }

    async fn end_for_good(&self) {
        tracing::error!(
            "this node was removed from the cluster: it serves nothing any more. To use the machine again, move its data \
             directory away and start it with the address of a member in cluster.join"
        );
        self.removed.send_replace(true);
        self.stand_alone();
        self.base.hosting.stop().await;
        // What it holds is of no use to anybody any more; the data stays on disk.
        for partition in self.base.hosting.partitions() {
            partition.unseat();
        }
    }
}
