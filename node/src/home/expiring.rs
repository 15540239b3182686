//! What has outlived its time is dropped from the disk: history entries by their age, and the key that a deletion was asked under.
//!
//! Relies on `apply` for what is dropped, and on the home for when. Promises to look at every user of its partitions in passes that
//! cost the same however many users there are, and to propose nothing where nothing has expired.

use super::partition::HomePartition;
use crate::bounds::{EXPIRED_LOOK_MS, EXPIRED_LOOK_USERS, EXPIRED_PASS_MS};
use futures::future::join_all;
use rollcall_presence::{Command, Intent, UserId};
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;

/// Where a partition's pass is.
#[derive(Debug, Default)]
struct Pass {
    after: Option<UserId>,
    /// When the next one begins, if this one has ended; by the monotonic clock, ms.
    next_ms: Option<u64>,
}

/// Goes through the users of `partitions`, wherever this node is their home, again and again.
pub async fn drop_expired(partitions: Vec<Arc<HomePartition>>) {
    let mut passes: Vec<(Arc<HomePartition>, Pass)> = partitions.into_iter().map(|p| (p, Pass::default())).collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(EXPIRED_LOOK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (partition, pass) in &mut passes {
            partition.drop_some_expired(pass).await;
        }
    }
}

impl HomePartition {
    /// Time between two passes, ms: short beside the age, where that is short.
    fn pass_ms(&self) -> u64 {
        (self.rules.history_age_ms / 8).clamp(EXPIRED_LOOK_MS, EXPIRED_PASS_MS)
    }

    async fn drop_some_expired(&self, pass: &mut Pass) {
        let now_ms = self.clock.monotonic_ms();
        let Some(term) = self.term() else {
            *pass = Pass::default(); // another home goes through them
            return;
        };
        if pass.next_ms.is_some_and(|next| now_ms < next) {
            return;
        }
        let (now, age_ms) = (self.clock.unix_ms(), self.rules.history_age_ms);
        let read = self.group.read(|view| view.expired(pass.after.as_ref(), EXPIRED_LOOK_USERS, now, age_ms));
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return tracing::error!(partition = %self.id(), %error, "expired rows could not be read"),
            Err(_) => return, // the replica is gone, and the home with it
        };
        let drops = found.users.into_iter().map(|user| {
            let command = Command { user, term, at: now, key: None, intent: Intent::DropExpired };
            self.group.clone().propose(command)
        });
        // What fails, or is not all dropped at once, is found again by the next pass.
        join_all(drops).await;
        *pass = match found.is_end {
            true => Pass { after: None, next_ms: Some(now_ms.saturating_add(self.pass_ms())) },
            false => Pass { after: found.last, next_ms: None },
        };
    }
}
