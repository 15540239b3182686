//! The writer as a task of the runtime: the same rounds, each part of them waited for in the runtime's time.
//!
//! For disks that never block: with simulated ones a whole cluster runs on one thread, and a crash may come between any two parts.

use super::{round_clock::RoundClock, rounds::Rounds, work::Queue};
use crate::options::{Pace, RoundPart};
use std::io;
use tokio::time::sleep;

impl Rounds {
    /// Runs until `queue` is closed and empty.
    ///
    /// # Errors
    /// When the disk fails, or the pace says that it does.
    pub(super) async fn run_paced(&mut self, queue: &Queue, clock: &RoundClock, pace: &Pace) -> io::Result<()> {
        while let Some(taken) = queue.next(self.has_bulk()).await {
            clock.begin();
            let mut round = self.gather(taken)?;
            if !round.is_empty() {
                sleep(pace(RoundPart::Apply)?).await;
                self.apply(&mut round)?;
                sleep(pace(RoundPart::Sync)?).await;
                self.make_durable()?;
                sleep(pace(RoundPart::Mark)?).await;
                self.mark()?;
                sleep(pace(RoundPart::Answer)?).await;
            }
            clock.end();
            round.answer();
        }
        Ok(())
    }
}
