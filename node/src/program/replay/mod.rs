//! `rollcall replay`: plays what real or invented people did, and checks what everybody was shown of it.
//!
//! Owns the command: input, contacts, play, checks, report. Relies on `trace` and `synthetic` for what to play, on `player`
//! to play it, and on `judge`, which is pure, for the verdict. Exit code 1 on any difference.

mod account;
mod chain;
mod ending;
mod guest;
mod judge;
mod lived;
mod patience;
mod player;
mod referee;
mod report;
mod script;
mod sight;
mod stage;
mod synthetic;
mod trace;
mod verdict;
mod visitor;

use super::{
    Failure,
    client::{ClientError, Credentials},
    command_line::ReplayOptions,
    open_files,
    server::Server,
    terminal::bar,
};
use judge::{Judge, Strictness};
use player::{Pace, Played, Player, STEPS_IN_FLIGHT};
use report::Report;
use script::{Script, UserIx};
use stage::Stage;
use std::{
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Open files that are no connections of people: HTTP, the runtime, standard streams, and connections on their way out.
const OTHER_FILES: u64 = 64 + 2 * STEPS_IN_FLIGHT as u64;
/// How often the count of reconnects is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// Why nothing was played, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// Nothing was touched.
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    /// Nothing was touched.
    #[error("{}: {source}", file.display())]
    Trace { file: PathBuf, source: trace::TraceError },
    /// The file may hold a part.
    #[error("{} cannot be written: {source}", file.display())]
    Unwritable { file: PathBuf, source: std::io::Error },
    /// Nothing was touched.
    #[error("a replay acts as everybody in the trace, so it mints tokens: give --auth-key FILE instead of --token")]
    NoKey,
    /// Nothing was touched.
    #[error("the prefix {0:?} makes no valid user ids: {1}")]
    Prefix(String, rollcall_presence::InvalidId),
    /// Nothing was touched.
    #[error("{0} people are online at once, and this process may hold {1} files open: raise the limit (ulimit -n)")]
    FewFiles(usize, u64),
    /// Nothing was touched.
    #[error("at least two people are needed, and open files for their connections (the limit is {0})")]
    TooFew(u64),
    /// Contacts may be loaded; whoever was connected is not any more.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Contacts are loaded, nothing was played.
    #[error("user {0} is online already: give another --prefix, or wait until its sessions have ended")]
    Busy(String),
}

/// Plays, and prints the report. `Ok(false)` if there was a difference.
pub(crate) async fn run(options: &ReplayOptions) -> Result<bool, Failure> {
    let open_files = open_files::raise();
    let (script, what) = script_of(options, open_files)?;
    if let Some(file) = &options.write {
        let text = trace::write(&synthetic::messages(&script, options.seed));
        std::fs::write(file, text).map_err(|source| ReplayError::Unwritable { file: file.clone(), source })?;
        return Ok(true);
    }
    let pace = match options.speed {
        Some(times) => Pace::Speed(times),
        None if options.fast => Pace::Fast,
        None => Pace::Lockstep,
    };
    let prefix = match &options.prefix {
        Some(prefix) => prefix.clone(),
        None => fresh_prefix()?,
    };
    let stage = stage(options, script, &prefix)?;
    let faults = if options.through_faults { ", through faults" } else { "" };
    let title = format!("{what}, {}{faults}, as {prefix}*", said(pace));
    play(stage, pace, title).await
}

fn said(pace: Pace) -> String {
    match pace {
        Pace::Lockstep => "in lockstep".into(),
        Pace::Fast => "fast".into(),
        Pace::Speed(times) => format!("{times} times as fast"),
    }
}

/// What to play, and its name.
fn script_of(options: &ReplayOptions, open_files: u64) -> Result<(Script, String), ReplayError> {
    let Some(users) = options.synthetic else {
        let file = options.file.clone().unwrap_or_default();
        let text =
            std::fs::read_to_string(&file).map_err(|source| ReplayError::Unreadable { file: file.clone(), source })?;
        let messages = trace::messages(&text).map_err(|source| ReplayError::Trace { file: file.clone(), source })?;
        let script = trace::script(&messages);
        let peak = script.peak().0;
        if peak as u64 + OTHER_FILES > open_files {
            return Err(ReplayError::FewFiles(peak, open_files));
        }
        return Ok((script, format!("replay of {}", file.display())));
    };
    let most = u32::try_from(open_files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX);
    let held = if options.write.is_some() { users } else { users.min(most) };
    if held < 2 {
        return Err(ReplayError::TooFew(open_files));
    }
    let mut what = format!("replay of {held} invented people, seed {}", options.seed);
    if held < users {
        what = format!("{what} ({users} were asked for; {open_files} files may be open)");
    }
    Ok((synthetic::script(held, options.seed), what))
}

/// A prefix that no other run has, also one that starts at the same moment.
fn fresh_prefix() -> Result<String, Failure> {
    let mut chosen = [0u8; 6];
    getrandom::fill(&mut chosen).map_err(Failure::failed)?;
    let hexadecimal: String = chosen.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("r{hexadecimal}-"))
}

fn stage(options: &ReplayOptions, script: Script, prefix: &str) -> Result<Stage, Failure> {
    for name in &script.users {
        rollcall_presence::UserId::new(&format!("{prefix}{name}"))
            .map_err(|e| ReplayError::Prefix(prefix.into(), e))?;
    }
    let nodes = Server::all(&options.nodes, &options.client).map_err(Failure::usage)?;
    let credentials = Credentials::of(&options.client).map_err(ClientError::from)?;
    if !credentials.mints() {
        return Err(Failure::usage(ReplayError::NoKey));
    }
    let convergence_max = options.through_faults.then_some(options.convergence_max);
    Ok(Stage::new(script, prefix, credentials, nodes, convergence_max)?)
}

async fn play(stage: Stage, pace: Pace, title: String) -> Result<bool, Failure> {
    let stage = Arc::new(stage);
    let shown = bar("loading contacts", stage.script.users.len());
    stage.load_contacts(|| shown.inc(1)).await?;
    shown.finish_and_clear();
    let before = stage.read_all().await?;
    if let Some(busy) = before.iter().position(|s| s.status != super::frame::Status::Offline) {
        return Err(ReplayError::Busy(stage.name(busy as UserIx).into()).into());
    }
    let strictness = match pace {
        _ if stage.through_faults() => Strictness::ThroughFaults,
        Pace::Lockstep => Strictness::EachTransition,
        Pace::Fast | Pace::Speed(_) => Strictness::LatestState,
    };
    let bases: Vec<u64> = before.iter().map(|s| s.version).collect();
    stage.begin(Judge::new(strictness, stage.script.friends.clone(), &bases));

    let started = Instant::now();
    let played = perform(&stage, pace).await?;
    let wall = started.elapsed();
    // Read before the checks below, which are no part of the play.
    let memory = stage.memory().await?;

    if stage.through_faults() {
        ending::everybody_offline(&stage).await?;
    }
    let shown = bar("checking histories", stage.script.users.len());
    let history = ending::check_histories(&stage, || shown.inc(1)).await?;
    shown.finish_and_clear();
    ending::check_final(&stage, &played, pace).await?;
    let lived = stage.through_faults().then(|| stage.lived.counts());
    let judge = stage.judge();
    let (script, played, verdict, memory) = (&stage.script, &played, &judge.verdict(), &memory);
    let report = Report { title, script, played, verdict, lived, history, latency: judge.latency(), wall, memory };
    write!(std::io::stdout(), "{report}").map_err(Failure::output)?;
    Ok(verdict.faults() == 0)
}

/// Plays, and says how it goes.
async fn perform(stage: &Arc<Stage>, pace: Pace) -> Result<Played, ClientError> {
    let shown = bar("playing", stage.script.steps.len());
    let player = Player::new(stage.clone(), pace);
    let play = player.play(|done| shown.set_position(done as u64));
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(play);
    let played = loop {
        tokio::select! {
            played = &mut play => break played,
            _ = tick.tick(), if stage.through_faults() => {
                let (reconnects, away) = (stage.lived.counts().reconnects, stage.lived.away());
                shown.set_message(format!("playing, {reconnects} reconnects, {away} away"));
            }
        }
    };
    shown.finish_and_clear();
    played
}
