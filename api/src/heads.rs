//! Connections that have not sent a whole first head: bounded, and the oldest gives way to the newest.
//!
//! A half-open connection costs a file and a place. Whoever has said what it wants is not counted here any more, so that a flood
//! of silent ones only ever costs other silent ones. Nobody gives way before it had [`PATIENCE`] to speak: beyond the bound newcomers
//! wait to be accepted, so that a herd of thousands that comes back at once is taken in its order, and not thrown out by itself.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

/// How long whoever connects may be silent before it gives way: a TLS handshake from anywhere on earth. With 2,048 places a flood of
/// silent ones leaves 2,048 newcomers a second to be accepted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The silence of one connection: it ends with its first head, or with the connection.
#[derive(Debug)]
pub(crate) struct Silence {
    over: AtomicBool,
    began: Instant,
    count: Arc<Count>,
}

/// How many are silent, and a sign whenever one is no more.
#[derive(Debug, Default)]
struct Count {
    silent: AtomicUsize,
    fell: Notify,
}

impl Count {
    fn now(&self) -> usize {
        self.silent.load(Ordering::Relaxed)
    }
}

impl Silence {
    /// The connection has spoken, or has ended.
    pub(crate) fn end(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.count.silent.fetch_sub(1, Ordering::Relaxed);
            self.count.fell.notify_one();
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Ends its connection's silence when it is dropped, however the connection ends.
#[derive(Debug)]
pub(crate) struct Connected(pub(crate) Arc<Silence>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The silent connections of a listener, oldest first. What a new one costs does not grow with their number.
#[derive(Debug)]
pub(crate) struct Heads {
    max: usize,
    count: Arc<Count>,
    /// All silent ones, and at most as many as [`Heads::max`] besides that are silent no more.
    waiting: Mutex<VecDeque<(Arc<Silence>, AbortHandle)>>,
}

impl Heads {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, count: Arc::default(), waiting: Mutex::default() }
    }

    /// A connection was accepted, and begins silent.
    pub(crate) fn begin(&self) -> Arc<Silence> {
        self.count.silent.fetch_add(1, Ordering::Relaxed);
        Arc::new(Silence { over: AtomicBool::new(false), began: Instant::now(), count: self.count.clone() })
    }

    /// Waits until one more may be accepted: below the bound, or when the oldest silent one has had its time.
    pub(crate) async fn room(&self) {
        while let Some(until) = self.full_until() {
            // Either way it is looked again.
            let _ = timeout_at(until, self.count.fell.notified()).await;
        }
    }

    /// When the oldest silent one may give way; `None` while there is room, or if that was before.
    fn full_until(&self) -> Option<Instant> {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|(silence, _)| silence.is_over()) {
            waiting.pop_front();
        }
        let oldest = waiting.front().filter(|_| self.count.now() >= self.max)?;
        Some(oldest.0.began + PATIENCE).filter(|until| *until > Instant::now())
    }

    /// Waits for a connection to speak: beyond the bound the oldest silent one ends.
    pub(crate) fn wait_for(&self, silence: Arc<Silence>, connection: AbortHandle) {
        let mut waiting = self.waiting.lock();
        waiting.push_back((silence, connection));
        self.leave(&mut waiting, self.max);
        if waiting.len() > 2 * self.max {
            // Half of them at least: those that spoke while an older one was silent are still in it.
            waiting.retain(|(silence, _)| !silence.is_over());
        }
    }

    /// Ends the oldest silent ones, a half of all: there are no file descriptors left.
    pub(crate) fn make_room(&self) {
        self.leave(&mut self.waiting.lock(), self.count.now() / 2);
    }

    /// Ends the oldest until so many silent ones are left, and forgets those in front that are silent no more.
    fn leave(&self, waiting: &mut VecDeque<(Arc<Silence>, AbortHandle)>, count: usize) {
        while let Some((silence, connection)) = waiting.front() {
            if !silence.is_over() {
                if self.count.now() <= count {
                    return;
                }
                connection.abort();
                silence.end();
            }
            waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinHandle;

    fn silent(heads: &Heads) -> (Arc<Silence>, JoinHandle<()>) {
        let silence = heads.begin();
        let connected = Connected(silence.clone());
        let task = tokio::spawn(async move {
            let _connected = connected;
            std::future::pending().await
        });
        heads.wait_for(silence.clone(), task.abort_handle());
        (silence, task)
    }

    #[tokio::test]
    async fn the_oldest_silent_connection_gives_way_and_one_that_spoke_does_not() {
        let heads = Heads::new(2);
        let (first, second) = (silent(&heads), silent(&heads));
        first.0.end();
        let third = silent(&heads);
        let fourth = silent(&heads);
        assert!(second.1.await.unwrap_err().is_cancelled());
        assert!(![&first.1, &third.1, &fourth.1].iter().any(|task| task.is_finished()));
        assert!(heads.waiting.lock().len() <= 4);
        assert_eq!(heads.count.now(), 2);
        heads.make_room();
        assert!(third.1.await.unwrap_err().is_cancelled());
        assert!(!fourth.1.is_finished());
        [first.1, fourth.1].iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_newcomers_wait_until_one_has_spoken_or_had_its_time() {
        let heads = Heads::new(2);
        let (began, (first, _first)) = (Instant::now(), silent(&heads));
        let (_second, task) = silent(&heads);
        let (_, spoken) = tokio::join!(heads.room(), async {
            tokio::time::sleep(PATIENCE / 4).await;
            first.end();
            began.elapsed()
        });
        assert_eq!(began.elapsed(), spoken, "one has spoken");
        let (_third, _) = silent(&heads);
        heads.room().await;
        assert_eq!(began.elapsed(), PATIENCE, "the second has had its time");
        assert!(!task.is_finished());
        let _fourth = silent(&heads);
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn one_silent_connection_does_not_keep_those_that_spoke_after_it_in_memory() {
        let heads = Heads::new(4);
        let oldest = silent(&heads);
        for _ in 0..100 {
            let (silence, task) = silent(&heads);
            silence.end();
            task.abort();
            assert!(heads.waiting.lock().len() <= 2 * heads.max);
        }
        assert!(!oldest.1.is_finished());
        assert_eq!(heads.count.now(), 1);
        oldest.1.abort();
    }
}
