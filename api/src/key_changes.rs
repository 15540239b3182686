//! The news that keys were replaced, for connections that outlive the check of their token.
//!
//! A look costs one atomic load: a connection leaves its waker once and is woken by the change alone, so that ten thousand idle
//! ones cost nothing. Promises that a change between two looks is never missed, the first look included.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::{Notify, futures::OwnedNotified};

/// Counts the changes of a node's keys.
#[derive(Debug, Default)]
pub(crate) struct KeyChanges {
    count: AtomicU64,
    told: Arc<Notify>,
}

impl KeyChanges {
    /// The keys have changed: everybody who listens is woken.
    pub(crate) fn tell(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.told.notify_waiters();
    }

    /// Somebody who hears of every change from now on, and of one right away: what was checked before may be old already.
    pub(crate) fn hear(self: &Arc<Self>) -> Hearing {
        Hearing { changes: self.clone(), seen: None, waiting: None }
    }
}

/// One connection's ear.
#[derive(Debug)]
pub(crate) struct Hearing {
    changes: Arc<KeyChanges>,
    seen: Option<u64>,
    /// Holds the waker of the connection's task, which stays the same for as long as the task does.
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

impl Hearing {
    /// Ready once after every change, or after several.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            let mut waiting = Box::pin(self.changes.told.clone().notified_owned());
            // The waker is left before the count is read: a change after that wakes.
            if waiting.as_mut().poll(cx).is_pending() {
                self.waiting = Some(waiting);
            }
        }
        let count = self.changes.count.load(Ordering::Acquire);
        if self.seen == Some(count) {
            return Poll::Pending;
        }
        self.seen = Some(count);
        self.waiting = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn every_listener_is_woken_by_a_change_and_by_nothing_else() {
        let changes = Arc::new(KeyChanges::default());
        let mut hearing = changes.hear();
        let waiting = tokio::spawn(async move {
            poll_fn(|cx| hearing.poll(cx)).await;
            poll_fn(|cx| hearing.poll(cx)).await;
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        changes.tell();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_change_before_the_first_look_is_not_missed() {
        let changes = Arc::new(KeyChanges::default());
        let mut hearing = changes.hear();
        changes.tell();
        poll_fn(|cx| hearing.poll(cx)).await;
        assert!(futures::poll!(poll_fn(|cx| hearing.poll(cx))).is_pending());
        changes.tell();
        assert!(futures::poll!(poll_fn(|cx| hearing.poll(cx))).is_ready());
    }
}
