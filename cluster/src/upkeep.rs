//! What goes on beside the writes: watching the writer and the groups, and taking snapshots one group after the
//! other, and giving up the logs that hold something of a deleted user.

use crate::{
    hosting::Hosting,
    limits::{
        ERASE_STEP_MS, SNAPSHOT_CHECK_MS, SNAPSHOT_LOG_MAX_BYTES, SNAPSHOT_LOG_MAX_ENTRIES, STALL_CHECK_MS,
        STALL_FATAL_MS, STALL_YIELD_MS,
    },
    placement_group::name_of,
    proposer::Group,
    raft::types::{LogId, TypeConfig},
    replica::Replica,
    store::writer::{OnFatal, Writer},
};
use openraft::{async_runtime::watch::WatchReceiver, errors::Fatal};
use rollcall_presence::PartitionId;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Gives up the leaderships of a node whose writer is stalled, and ends it when it stays so, or when a group of it fell: its
/// partition would be nobody's until somebody looks.
pub(crate) async fn watch_writer(
    writer: Arc<Writer>,
    hosting: Arc<Hosting>,
    healthy: watch::Sender<bool>,
    on_fatal: OnFatal,
) {
    let mut ticks = interval(Duration::from_millis(STALL_CHECK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let busy_ms = writer.busy_ms();
        if busy_ms >= STALL_FATAL_MS {
            on_fatal(&format!("the disk has not answered for {busy_ms} ms"));
            return;
        }
        // A writer that failed has said so itself, and takes all groups along.
        let fallen = hosting.replicas().iter().find_map(|(id, replica)| fallen(*id, replica));
        if let Some(why) = fallen.filter(|_| !writer.queue().is_dead()) {
            on_fatal(&why);
            return;
        }
        let well = busy_ms < STALL_YIELD_MS;
        if *healthy.borrow() != well {
            healthy.send_replace(well);
            if well {
                tracing::warn!("the disk answers again");
            } else {
                tracing::error!(busy_ms, "the disk does not answer: leaderships are given up");
                hand_over(&hosting).await;
            }
        }
    }
}

/// Why the group runs no more, unless it was told to stop.
fn fallen(id: PartitionId, replica: &Replica) -> Option<String> {
    let metrics = replica.group().metrics();
    match &metrics.borrow_watched().running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(fatal) => Some(format!("{} cannot go on: {fatal}", name_of(id))),
    }
}

/// Asks the other voters to take over what this node leads.
async fn hand_over(hosting: &Hosting) {
    for (id, replica) in hosting.replicas() {
        let to = {
            let metrics = replica.group().metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.current_leader == Some(metrics.id);
            metrics.membership_config.voter_ids().find(|voter| leads && *voter != metrics.id)
        };
        if let Some(to) = to
            && let Err(error) = replica.group().trigger().transfer_leader(to).await
        {
            tracing::warn!(group = name_of(id), %error, "leadership could not be handed over");
        }
    }
}

/// Has the state of a group recorded as its snapshot once its log has grown, by `most_entries` at most, or as the limits say, one group at a time.
pub(crate) async fn take_snapshots(hosting: Arc<Hosting>, most_entries: Option<u64>) {
    let most_entries = most_entries.unwrap_or(SNAPSHOT_LOG_MAX_ENTRIES);
    let mut ticks = interval(Duration::from_millis(SNAPSHOT_CHECK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = None;
    loop {
        ticks.tick().await;
        let mut grown = hosting.replicas();
        grown.retain(|(_, replica)| {
            let (bytes, entries) = replica.log().growth();
            bytes >= SNAPSHOT_LOG_MAX_BYTES || entries >= most_entries
        });
        // Each group has its turn, however fast another one grows.
        let next = grown.iter().find(|(id, _)| Some(*id) > turn).or(grown.first());
        if let Some((id, replica)) = next {
            turn = Some(*id);
            replica.log().reset_growth();
            if let Err(error) = replica.group().trigger().snapshot().await {
                tracing::warn!(group = name_of(*id), %error, "a snapshot could not be taken");
            }
        }
    }
}

/// Gives up the logs in which a user was deleted, at half of `within`, one group at a time: the other half is for doing it. Of groups
/// in which nothing else happens too; every replica sees to its own log.
pub(crate) async fn erase(hosting: Arc<Hosting>, within: Duration) {
    let mut ticks = interval(Duration::from_millis(SNAPSHOT_CHECK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (id, replica) in hosting.replicas() {
            let Some(upto) = replica.log().erasure_due(within / 2) else { continue };
            let group = replica.group().clone();
            // Nobody may hold a replica that is to end.
            drop(replica);
            if let Err(error) = erase_log(&group, upto).await {
                tracing::warn!(group = name_of(id), %error, "a log could not be given up; it is tried again");
            }
        }
    }
}

/// Gives up the log up to `upto`, once that is in a snapshot: openraft would purge less otherwise, and say nothing.
async fn erase_log(group: &Group, upto: u64) -> Result<(), Fatal<TypeConfig>> {
    let reached = |id: Option<LogId>| id.is_some_and(|id| id.index >= upto);
    let (applied, snapshot) = {
        let metrics = group.metrics();
        let metrics = metrics.borrow_watched();
        (reached(metrics.last_applied), reached(metrics.snapshot))
    };
    if !applied {
        return Ok(()); // found at the start, and not known to be committed yet
    }
    if !snapshot {
        group.trigger().snapshot().await?;
        let patience = Some(Duration::from_millis(ERASE_STEP_MS));
        if group
            .wait(patience)
            .metrics(|metrics| reached(metrics.snapshot), "a snapshot to erase behind")
            .await
            .is_err()
        {
            return Ok(()); // the next look finds it
        }
    }
    group.trigger().purge_log(upto).await
}
