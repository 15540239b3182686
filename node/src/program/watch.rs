//! `rollcall watch`: following users without being online.
//!
//! Owns what is printed: a sentence a change, or with `--json` the server's presence as it came, one a line.

use super::{
    Failure,
    client::{ClientError, Credentials},
    command_line::WatchOptions,
    connect::print,
    follower::{Follower, Following, Heard},
    server::Server,
    stop,
};
use rollcall_presence::{InvalidId, UserId, limits::WATCHES_MAX};
use std::io::Write as _;

/// Why following could not begin, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// Nothing was touched.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Nothing was touched.
    #[error("at most {WATCHES_MAX} users can be followed at once, not {0}")]
    TooMany(usize),
    /// Nobody is followed any more.
    #[error("the server refused ({0}): {1}")]
    Refused(String, String),
    /// Nobody is followed any more.
    #[error("the server ended this: {0}")]
    Ended(String),
}

/// Runs until told to stop.
pub(crate) async fn run(options: &WatchOptions) -> Result<(), Failure> {
    for user in &options.user {
        UserId::new(user).map_err(|e| Failure::usage(WatchError::Id(e)))?;
    }
    if options.user.len() > WATCHES_MAX as usize {
        return Err(Failure::usage(WatchError::TooMany(options.user.len())));
    }
    let following = Following {
        server: Server::of(&options.client).map_err(Failure::usage)?,
        credentials: Credentials::of(&options.client).map_err(ClientError::from)?,
        user: "rollcall-watch".into(),
        scope: "service",
        device: None,
        watched: options.user.clone(),
    };
    let mut follower = Follower::start(following).await?;
    let mut stopped = Box::pin(stop::signalled());
    let outcome = loop {
        tokio::select! {
            () = &mut stopped => break Ok(()),
            heard = follower.hear() => match heard {
                Heard::Over(reason) => break Err(WatchError::Ended(reason).into()),
                Heard::Refused(code, detail) => break Err(WatchError::Refused(code, detail).into()),
                Heard::Presence(json) if options.json => {
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{json}").and_then(|()| out.flush()).map_err(Failure::output)?;
                }
                heard => print(&heard, "the watched")?,
            },
        }
    };
    follower.leave().await;
    outcome
}
