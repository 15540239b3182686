//! Plays a script against a server, step by step or as fast as it goes.
//!
//! Owns who is connected, and the pace. Promises that steps of one user follow one another, each begun when the server has
//! acknowledged the one before, and that nothing is left connected at the end.

use super::{
    chain::Shown,
    guest::Guest,
    patience::REPEATED_MAX,
    script::{Action, Step, UserIx},
    sight::SIGHT_MAX,
    stage::Stage,
    verdict::Fault,
    visitor::{Leave, Visitor},
};
use crate::program::{client::ClientError, frame::Status};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};

/// Steps in flight when nothing waits for the one before: fills the server's commits without a queue in front of it.
pub(crate) const STEPS_IN_FLIGHT: usize = 64;
/// The play stops here: a broken server shows more of the same.
const FAULTS_MAX: u64 = 200;
/// Pauses between reads while an ending is not yet visible, ms.
const READ_PAUSES_MS: [u64; 5] = [1, 2, 5, 10, 20];
/// The pause between two looks at whether all states are equal after a fault.
const CONVERGENCE_PAUSE: Duration = Duration::from_millis(100);
/// How long an acknowledged ending is waited for where a session that nobody holds may hide it: the play goes on.
const HIDDEN_MAX: Duration = Duration::from_secs(2);

/// How fast to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// A step waits until every connected contact has seen the last one.
    Lockstep,
    /// As fast as the server takes it.
    Fast,
    /// This many times faster than recorded.
    Speed(f64),
}

/// What the play itself found.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Steps played; fewer than there are if the play was stopped.
    pub(crate) steps: usize,
    /// Pairs of watcher and contact whose states were compared with a read.
    pub(crate) compared: u64,
    /// The most connections held at once.
    pub(crate) held: usize,
    /// Each node's resident memory when the most were online, bytes.
    pub(crate) memory: BTreeMap<String, Option<u64>>,
}

/// See the module.
pub(crate) struct Player {
    stage: Arc<Stage>,
    pace: Pace,
    seats: Arc<Seats>,
}

#[derive(Default)]
struct Seats {
    of: Vec<Mutex<Seat>>,
    connected: AtomicUsize,
    most: AtomicUsize,
}

impl Seats {
    fn take_place(&self, user: UserIx, visitor: Visitor) {
        self.of[user as usize].lock().visitor = Some(visitor);
        let connected = self.connected.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(connected, Ordering::Relaxed);
    }

    fn leave_place(&self, user: UserIx) -> Option<Visitor> {
        let visitor = self.of[user as usize].lock().visitor.take()?;
        self.connected.fetch_sub(1, Ordering::Relaxed);
        Some(visitor)
    }
}

/// A user's place: connected, or to be resumed.
#[derive(Default)]
struct Seat {
    visitor: Option<Visitor>,
    lost: Option<Guest>,
    mobile: bool,
}

impl Player {
    pub(crate) fn new(stage: Arc<Stage>, pace: Pace) -> Self {
        let mut of: Vec<Mutex<Seat>> = stage.script.users.iter().map(|_| Mutex::default()).collect();
        for step in stage.script.steps.iter().filter(|s| s.action == Action::Drop) {
            of[step.user as usize].get_mut().mobile = true;
        }
        Self { stage, pace, seats: Arc::new(Seats { of, ..Seats::default() }) }
    }

    /// Plays every step; `progress` hears how many are done.
    pub(crate) async fn play(&self, progress: impl Fn(usize)) -> Result<Played, ClientError> {
        let script = &self.stage.script;
        let checkpoints = [script.peak().1, script.last_opening()];
        let room = Arc::new(Semaphore::new(STEPS_IN_FLIGHT));
        let mut busy: Vec<Option<JoinHandle<()>>> = script.users.iter().map(|_| None).collect();
        let mut played = Played::default();
        let first_ms = script.steps.first().map_or(0, |s| s.at_ms);
        let started = Instant::now();
        for (index, step) in script.steps.iter().enumerate() {
            if self.stage.judge().faults() >= FAULTS_MAX {
                break;
            }
            if let Pace::Speed(times) = self.pace {
                sleep_until(started + Duration::from_millis(step.at_ms - first_ms).div_f64(times)).await;
            }
            if self.pace == Pace::Lockstep {
                perform(&self.stage, &self.seats, *step, true).await;
            } else {
                if let Some(before) = busy[step.user as usize].take() {
                    // A step that panicked is found by what it left undone.
                    let _ = before.await;
                }
                let Ok(permit) = room.clone().acquire_owned().await else { break };
                let (stage, seats, step) = (self.stage.clone(), self.seats.clone(), *step);
                busy[step.user as usize] = Some(tokio::spawn(async move {
                    perform(&stage, &seats, step, false).await;
                    drop(permit);
                }));
            }
            played.steps = index + 1;
            progress(played.steps);
            if checkpoints.contains(&index) {
                self.quiet(&room).await;
                if index == checkpoints[0] {
                    played.memory = self.stage.memory().await?;
                }
                played.compared += self.compare().await?;
            }
        }
        self.quiet(&room).await;
        self.empty().await;
        played.held = self.seats.most.load(Ordering::Relaxed);
        Ok(played)
    }

    /// Waits until no step is in flight.
    async fn quiet(&self, room: &Semaphore) {
        // The semaphore is never closed, and its permits come back with every step.
        let _ = room.acquire_many(STEPS_IN_FLIGHT as u32).await;
    }

    /// Lets every watcher catch up, then compares what they hold with what the server answers.
    async fn compare(&self) -> Result<u64, ClientError> {
        if self.stage.through_faults() {
            return self.converge().await;
        }
        let deadline = Instant::now() + SIGHT_MAX;
        while !self.stage.judge().all_caught_up() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        let truth = self.stage.read_all().await?;
        Ok(self.stage.judge().compare(&truth))
    }

    /// As [`Player::compare`], where connections come back and faults have consequences: waits until all states are equal.
    async fn converge(&self) -> Result<u64, ClientError> {
        let deadline = Instant::now() + self.stage.sight_max();
        loop {
            let truth = self.stage.read_all().await?;
            {
                let mut judge = self.stage.judge();
                let equal = self.stage.lived.away() == 0 && judge.differences(&truth) == 0;
                if equal || Instant::now() >= deadline {
                    return Ok(judge.compare(&truth));
                }
            }
            sleep(CONVERGENCE_PAUSE).await;
        }
    }

    /// Disconnects whoever is left over by a play that was stopped or went wrong.
    async fn empty(&self) {
        for user in 0..self.seats.of.len() as UserIx {
            if let Some(visitor) = self.seats.leave_place(user) {
                visitor.leave(Leave::Vanish).await;
            }
        }
    }
}

/// Makes one step, and waits until the server has acknowledged it; in lockstep until every connected contact has seen it.
async fn perform(stage: &Arc<Stage>, seats: &Seats, step: Step, lockstep: bool) {
    let seat = &seats.of[step.user as usize];
    let device = if seat.lock().mobile { "mobile" } else { "web" };
    match step.action {
        Action::Open => {
            stage.judge().begin(step.user, Status::Online, stage.now_us());
            match Visitor::arrive(stage, Guest::new(step.user, device)).await {
                Ok(visitor) => seats.take_place(step.user, visitor),
                Err(e) => return failed(stage, step, &e),
            }
            settle(stage, step, Status::Online, lockstep).await;
        }
        Action::End => {
            let Some(visitor) = seats.leave_place(step.user) else { return };
            visitor.leave(Leave::Close).await;
            settle(stage, step, Status::Offline, lockstep).await;
        }
        Action::Drop => {
            let Some(visitor) = seats.leave_place(step.user) else { return };
            let lost = visitor.leave(Leave::Vanish).await;
            seat.lock().lost = lost;
        }
        Action::Resume => {
            let Some(guest) = seat.lock().lost.take() else { return };
            match Visitor::arrive(stage, guest).await {
                Ok(visitor) => seats.take_place(step.user, visitor),
                Err(e) => failed(stage, step, &e),
            }
        }
    }
}

fn failed(stage: &Stage, step: Step, error: &dyn std::fmt::Display) {
    let mut judge = stage.judge();
    if step.action != Action::Resume {
        judge.cancel(step.user);
    }
    judge.report(Fault::Failed, || format!("user #{} {:?}: {error}", step.user, step.action));
}

/// Waits for the sights of a transition, then asks the server for its version.
async fn settle(stage: &Stage, step: Step, status: Status, lockstep: bool) {
    let deadline = Instant::now() + SIGHT_MAX;
    if lockstep && !all_seen(stage, deadline).await {
        stage.judge().give_up();
    }
    let read = match stage.through_faults() {
        true => read_through(stage, step.user, status).await,
        false => read_until(stage, step.user, status, deadline).await,
    };
    match read {
        Ok(truth) => stage.judge().done(step.user, truth, stage.now_us()),
        Err(e) => failed(stage, step, &e),
    }
}

async fn all_seen(stage: &Stage, deadline: Instant) -> bool {
    loop {
        let seen = stage.seen.notified();
        tokio::pin!(seen);
        seen.as_mut().enable();
        if stage.judge().all_seen() {
            return true;
        }
        if timeout_at(deadline, seen).await.is_err() {
            return false;
        }
    }
}

/// Reads `user`'s presence. An opening is durable when it is answered, so the first read must show it; an ending is
/// answered when its close is, and may become visible a moment later.
async fn read_until(stage: &Stage, user: UserIx, status: Status, deadline: Instant) -> Result<Shown, ClientError> {
    let mut pauses_ms = READ_PAUSES_MS.iter().chain(std::iter::repeat(&READ_PAUSES_MS[4]));
    loop {
        let shown = stage.read(user).await?;
        if status == Status::Online || shown.status == status || Instant::now() >= deadline {
            return Ok(shown);
        }
        if let Some(ms) = pauses_ms.next() {
            sleep(Duration::from_millis(*ms)).await;
        }
    }
}

/// As [`read_until`], in a replay through faults: what a fault may delay or hide is waited for.
async fn read_through(stage: &Stage, user: UserIx, status: Status) -> Result<Shown, ClientError> {
    let started = Instant::now();
    let mut pauses_ms = READ_PAUSES_MS.iter().chain(std::iter::repeat(&READ_PAUSES_MS[4]));
    loop {
        let shown = stage.read(user).await?;
        let now_us = stage.now_us();
        let (disturbed, orphans) = {
            let judge = stage.judge();
            (judge.is_disturbed(user, now_us), judge.may_have_orphans(user, now_us))
        };
        let patience = match status {
            Status::Offline if orphans => HIDDEN_MAX,
            // The node may have died when it had answered the close, and before the ending was durable: the grace ends it.
            Status::Offline => stage.sight_max(),
            _ if disturbed => REPEATED_MAX,
            _ => Duration::ZERO,
        };
        if shown.status == status || started.elapsed() >= patience {
            return Ok(shown);
        }
        if let Some(ms) = pauses_ms.next() {
            sleep(Duration::from_millis(*ms)).await;
        }
    }
}
