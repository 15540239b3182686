//! What is checked when a play is over: histories, and that everybody is gone.
//!
//! Owns the last questions to the server. Relies on nobody being connected any more.

use super::{
    judge::Judge,
    player::{Pace, Played},
    script::UserIx,
    stage::Stage,
    verdict::Fault,
};
use crate::program::{client::ClientError, frame::Status};
use futures::{StreamExt as _, stream};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Histories read at once.
const HISTORIES_IN_FLIGHT: usize = 16;
/// The pause between two looks at whether everybody is offline.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for the ends of sessions that nobody holds: of connections lost, and of openings without an answer.
pub(super) async fn everybody_offline(stage: &Stage) -> Result<(), ClientError> {
    let deadline = Instant::now() + stage.sight_max();
    loop {
        let online: Vec<usize> = {
            let all = stage.read_all().await?;
            all.iter().enumerate().filter(|(_, s)| s.status != Status::Offline).map(|(user, _)| user).collect()
        };
        if online.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let report = |judge: &mut Judge, user: &usize| {
                judge.report(Fault::Wrong, || format!("user #{user} is still online after everybody has left"));
            };
            online.iter().for_each(|user| report(&mut stage.judge(), user));
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// Compares everybody's history with the transitions made. How many entries were compared.
pub(super) async fn check_histories(stage: &Stage, progress: impl Fn()) -> Result<u64, ClientError> {
    let users = 0..stage.script.users.len() as UserIx;
    let histories = stream::iter(users.map(|user| async move {
        let base = stage.judge().chain(user).base();
        (user, stage.history(user, base).await)
    }));
    let mut histories = histories.buffer_unordered(HISTORIES_IN_FLIGHT);
    let mut compared = 0;
    while let Some((user, history)) = histories.next().await {
        let history = history?;
        let mut judge = stage.judge();
        compared += history.entries.len() as u64;
        if stage.through_faults() {
            judge.learn(user, &history);
            drop(judge);
            progress();
            continue;
        }
        let made: Vec<_> = judge.chain(user).made().collect();
        // The server keeps a bounded history: of a very busy user only the latest entries are there.
        let kept = made.len().saturating_sub(rollcall_presence::limits::PAGE_MAX);
        if !made[kept..].iter().copied().eq(history.entries.iter().map(|e| (e.version, e.status))) {
            let (made, told) = (made.len() - kept, history.entries.len());
            judge.report(Fault::Wrong, || format!("user #{user}: {made} transitions, but another history of {told}"));
        }
        drop(judge);
        progress();
    }
    Ok(compared)
}

/// After the whole script everybody is offline, at the version of their last transition.
pub(super) async fn check_final(stage: &Stage, played: &Played, pace: Pace) -> Result<(), ClientError> {
    let truth = stage.read_all().await?;
    let mut judge = stage.judge();
    judge.compare(&truth);
    if pace == Pace::Lockstep && played.steps == stage.script.steps.len() {
        let (expected, counted) = (stage.script.expected(), judge.verdict().expected);
        if expected != counted {
            judge.report(Fault::Wrong, || format!("the script makes {expected} notifications, {counted} were due"));
        }
    }
    if played.steps == stage.script.steps.len() {
        for (shown, user) in truth.iter().zip(0..) {
            let latest = judge.chain(user).latest();
            if shown.version != latest {
                let version = shown.version;
                judge.report(Fault::Wrong, || format!("user #{user} ends at version {version}, not {latest}"));
            }
        }
    }
    Ok(())
}
