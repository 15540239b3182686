//! The program `rollcall`: its commands, and how each ends.
//!
//! Owns the command line, the client commands and the exit codes: 0 a clean stop, 2 bad usage or configuration, 1 anything
//! else. Relies on the server only through the contract, as any client would.

mod backoff;
mod backup;
mod bench;
mod client;
mod command_line;
mod configuration;
mod connect;
mod dev;
mod follower;
mod frame;
mod latency;
mod open_files;
mod partial;
mod recover;
mod replay;
mod server;
mod socket;
mod status;
mod stop;
mod terminal;
mod token;
mod watch;

use clap::Parser as _;
use command_line::{Command, CommandLine};
use connect::note;
use std::{fmt::Display, process::ExitCode};

/// Exit code of bad usage or configuration. Contract, section 11.
const USAGE: u8 = 2;
/// Exit code of anything else that went wrong. Contract, section 11.
const FAILED: u8 = 1;

/// How a command ended, when not well: what to say, and the exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: Option<String>,
}

impl Failure {
    /// The command was asked for wrongly.
    fn usage(error: impl Display) -> Self {
        Self { code: USAGE, message: Some(error.to_string()) }
    }

    /// The command could not do what was asked.
    fn failed(error: impl Display) -> Self {
        Self { code: FAILED, message: Some(error.to_string()) }
    }

    /// Standard output is gone. A closed pipe is no news: whoever read it has had enough.
    fn output(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self { code: FAILED, message: None },
            _ => Self::failed(format!("standard output: {error}")),
        }
    }
}

macro_rules! fails {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(error)
            }
        })*
    };
}

fails!(
    backup::FileError,
    client::ClientError,
    connect::ConnectError,
    dev::DevError,
    recover::RecoverError,
    replay::ReplayError,
    socket::SocketError,
    token::MintError,
    watch::WatchError
);

/// Runs the program with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    let outcome = match line.command {
        None => serve(&line.serve),
        Some(Command::Serve(options)) => serve(&options),
        Some(Command::Token(options)) => token::print(&options),
        Some(Command::Config(options)) => configuration::print(&options),
        Some(Command::Status(options)) => wait_for(status::run(&options)),
        Some(Command::Connect(options)) => wait_for(connect::run(&options)),
        Some(Command::Dev(options)) => wait_for(dev::run(&options)),
        Some(Command::Recover(options)) => {
            recover::Library::new().map_err(Failure::failed).and_then(|library| recover::run(&options, &library))
        }
        Some(Command::Backup(options)) => wait_for(backup::back_up(&options)),
        Some(Command::Restore(options)) => wait_for(backup::restore(&options)),
        Some(Command::Watch(options)) => wait_for(watch::run(&options)),
        Some(Command::Replay(options)) => wait_for(replay::run(&options)).and_then(faultless),
        Some(Command::Bench(options)) => wait_for(bench::run(&options)).and_then(faultless),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message {
                note(&format!("rollcall: {message}"));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// A run that found a fault has printed it.
fn faultless(found_none: bool) -> Result<(), Failure> {
    if found_none { Ok(()) } else { Err(Failure { code: FAILED, message: None }) }
}

/// Serves a node until it is told to stop.
fn serve(options: &command_line::ServeOptions) -> Result<(), Failure> {
    let loaded = configuration::load(options).map_err(Failure::usage)?;
    crate::logging::begin(&loaded.settings.log).map_err(Failure::usage)?;
    let again = options.clone();
    let source = crate::reloading::Source::new(options.config.clone(), move || {
        configuration::load(&again).map(|loaded| loaded.settings)
    });
    wait_for(async {
        crate::serve::run(loaded.settings, source).await.map_err(|error| {
            let code = if error.is_configuration() { USAGE } else { FAILED };
            Failure { code, message: Some(error.to_string()) }
        })
    })
}

/// Runs a client command on a runtime of its own.
fn wait_for<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let outcome = runtime.block_on(command);
    // The thread that reads standard input may wait for a line that never comes.
    runtime.shutdown_background();
    outcome
}
