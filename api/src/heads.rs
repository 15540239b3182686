//! Connections that have not sent a whole first head: bounded, and the oldest gives way to the newest.
//!
//! A half-open connection costs a file and a place. Whoever has said what it wants is not counted here any more, so that a flood
//! of silent ones only ever costs other silent ones.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::AbortHandle;

/// Set once a connection has sent its first head, or has ended.
pub(crate) type Spoken = Arc<AtomicBool>;

/// The silent connections of a listener, oldest first.
#[derive(Debug)]
pub(crate) struct Heads {
    max: usize,
    waiting: Mutex<VecDeque<(Spoken, AbortHandle)>>,
}

/// Marks its connection as one that waits no more when it ends, however it ends.
#[derive(Debug)]
pub(crate) struct Silence(pub(crate) Spoken);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Heads {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, waiting: Mutex::default() }
    }

    /// A connection was accepted: beyond the bound the oldest silent one ends.
    pub(crate) fn wait_for(&self, spoken: Spoken, connection: AbortHandle) {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|(spoken, _)| spoken.load(Ordering::Relaxed)) {
            waiting.pop_front();
        }
        if waiting.len() >= self.max {
            // Those that spoke while an older one was silent are still in it.
            waiting.retain(|(spoken, _)| !spoken.load(Ordering::Relaxed));
            Self::drop_oldest(&mut waiting, self.max);
        }
        waiting.push_back((spoken, connection));
    }

    /// Ends the oldest silent ones, a part of all: there are no file descriptors left.
    pub(crate) fn make_room(&self) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|(spoken, _)| !spoken.load(Ordering::Relaxed));
        let keep = waiting.len() / 2 + 1;
        Self::drop_oldest(&mut waiting, keep);
    }

    /// Leaves room for one below `max`.
    fn drop_oldest(waiting: &mut VecDeque<(Spoken, AbortHandle)>, max: usize) {
        while waiting.len() >= max {
            let Some((_, oldest)) = waiting.pop_front() else { break };
            oldest.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(heads: &Heads) -> (Spoken, tokio::task::JoinHandle<()>) {
        let (spoken, task) = (Spoken::default(), tokio::spawn(std::future::pending()));
        heads.wait_for(spoken.clone(), task.abort_handle());
        (spoken, task)
    }

    #[tokio::test]
    async fn the_oldest_silent_connection_gives_way_and_one_that_spoke_does_not() {
        let heads = Heads::new(2);
        let (first, second) = (silent(&heads), silent(&heads));
        first.0.store(true, Ordering::Relaxed);
        let third = silent(&heads);
        let fourth = silent(&heads);
        assert!(second.1.await.unwrap_err().is_cancelled());
        assert!(![&first.1, &third.1, &fourth.1].iter().any(|task| task.is_finished()));
        assert!(heads.waiting.lock().len() <= 2);
        [first.1, third.1, fourth.1].iter().for_each(tokio::task::JoinHandle::abort);
    }
}
