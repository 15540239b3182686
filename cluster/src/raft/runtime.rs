//! tokio, with the waiting of all groups on one grid of times.
//!
//! openraft ticks each group on a phase of its own, so that many idle groups wake the process at as many moments. On a grid
//! they wake it together, which costs half as much (decision 0001). Nothing ever wakes early.

use crate::limits::WAKE_GRID_MS;
use openraft::{AsyncRuntime, OptionalSend, TokioInstant, TokioRuntime, async_runtime::Instant};
use std::{future::Future, sync::OnceLock, time::Duration};

/// tokio, but for what is waited for until a given moment: that is rounded up to the grid.
#[derive(Debug)]
pub struct GridRuntime;

/// The next point of the grid that starts at `origin`, from `deadline` on; what lies before `origin` stays as it is.
fn on_grid(origin: TokioInstant, deadline: TokioInstant) -> TokioInstant {
    if deadline <= origin {
        return deadline;
    }
    // To the last nanosecond: whoever is woken a little early, and waits for the same moment again, is woken at once, again and again.
    let past_ns = u64::try_from((deadline - origin).as_nanos()).unwrap_or(u64::MAX);
    let grid_ns = WAKE_GRID_MS * 1_000_000;
    origin + Duration::from_nanos(past_ns.div_ceil(grid_ns).saturating_mul(grid_ns))
}

/// Where the grid starts: the first time that anybody asks.
fn origin() -> TokioInstant {
    static ORIGIN: OnceLock<TokioInstant> = OnceLock::new();
    *ORIGIN.get_or_init(TokioInstant::now)
}

impl AsyncRuntime for GridRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(on_grid(origin(), deadline))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    /// Never called: groups run on the program's own tokio.
    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        TokioRuntime::new(1).block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_nanosecond_past_the_grid_waits_for_the_next_point() {
        let origin = TokioInstant::now();
        let deadline = origin + Duration::from_millis(WAKE_GRID_MS) + Duration::from_nanos(1);
        assert_eq!(on_grid(origin, deadline), origin + Duration::from_millis(2 * WAKE_GRID_MS));
    }

    #[test]
    fn deadlines_meet_on_the_grid_and_are_never_early() {
        let origin = TokioInstant::now();
        let at = |us| origin + Duration::from_micros(us);
        let grid_us = WAKE_GRID_MS * 1_000;
        for (deadline, wanted) in [(1, grid_us), (grid_us, grid_us), (grid_us + 1, 2 * grid_us)] {
            assert!(on_grid(origin, at(deadline)) == at(wanted), "{deadline} µs");
        }
        assert!(on_grid(at(5), at(3)) == at(3), "what lies before the grid stays");
    }
}
