//! What goes on beside the writes: watching the writer and the groups, and taking snapshots one group after the other.

use crate::{
    limits::{
        SNAPSHOT_CHECK_MS, SNAPSHOT_LOG_MAX_BYTES, SNAPSHOT_LOG_MAX_ENTRIES, STALL_CHECK_MS, STALL_FATAL_MS,
        STALL_YIELD_MS,
    },
    partition::Partition,
    store::writer::{OnFatal, Writer},
};
use openraft::{async_runtime::watch::WatchReceiver, errors::Fatal};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Gives up the leaderships of a node whose writer is stalled, and ends it when it stays so, or when a group of it fell: its
/// partition would be nobody's until somebody looks.
pub(crate) async fn watch_writer(
    writer: Arc<Writer>,
    partitions: Vec<Arc<Partition>>,
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
        let fallen = partitions.iter().find_map(|partition| fallen(partition));
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
                hand_over(&partitions).await;
            }
        }
    }
}

/// Why the group runs no more, unless it was told to stop.
fn fallen(partition: &Partition) -> Option<String> {
    let metrics = partition.group().metrics();
    match &metrics.borrow_watched().running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(fatal) => Some(format!("partition {} cannot go on: {fatal}", partition.id())),
    }
}

/// Asks the other voters to take over what this node leads.
async fn hand_over(partitions: &[Arc<Partition>]) {
    for partition in partitions {
        let group = partition.group();
        let to = {
            let metrics = group.metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.current_leader == Some(metrics.id);
            metrics.membership_config.voter_ids().find(|voter| leads && *voter != metrics.id)
        };
        if let Some(to) = to
            && let Err(error) = group.trigger().transfer_leader(to).await
        {
            tracing::warn!(partition = partition.id().0, %error, "leadership could not be handed over");
        }
    }
}

/// Has the state of a group recorded as its snapshot once its log has grown, one group at a time.
pub(crate) async fn take_snapshots(partitions: Vec<Arc<Partition>>) {
    let mut ticks = interval(Duration::from_millis(SNAPSHOT_CHECK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    loop {
        ticks.tick().await;
        let grown = |partition: &Partition| {
            let (bytes, entries) = partition.log().growth();
            bytes >= SNAPSHOT_LOG_MAX_BYTES || entries >= SNAPSHOT_LOG_MAX_ENTRIES
        };
        // Each group has its turn, however fast another one grows.
        let next = (0..partitions.len()).map(|i| (turn + i) % partitions.len()).find(|i| grown(&partitions[*i]));
        if let Some(next) = next {
            turn = next + 1;
            partitions[next].log().reset_growth();
            if let Err(error) = partitions[next].group().trigger().snapshot().await {
                tracing::warn!(partition = next, %error, "a snapshot could not be taken");
            }
        }
    }
}
