//! `rollcall connect`: being online in a terminal.
//!
//! Owns the commands on standard input and what is printed. End of input ends the session on a terminal (Ctrl-D); in a pipe
//! it does not, so that `echo away | rollcall connect bob` stays away until it is interrupted, and `quit` ends it.

use super::{
    Failure,
    client::{Client, ClientError, Credentials},
    command_line::ConnectOptions,
    follower::{Follower, Following, Heard},
    frame::Presence,
    server::Server,
    stop, terminal,
};
use rollcall_presence::{Device, InvalidId, UserId};
use serde_json::json;
use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Commands typed ahead: a person's, or a small script's. The reader of standard input waits when it is full.
const TYPED_AHEAD_MAX: usize = 16;

/// Why the session could not begin, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nothing was touched.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Contacts may have been added.
    #[error("{0} cannot be made a contact of {1}: {2}")]
    Contacts(String, String, ClientError),
    /// The session is over.
    #[error("the server ended this session: {0}")]
    Ended(String),
}

/// What is typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Frame(String),
    Quit,
    Unknown(String),
}

fn typed(line: &str) -> Option<Typed> {
    let line = line.trim();
    let (word, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let text = text.trim();
    let status = |status: &str| {
        let text = if text.is_empty() { serde_json::Value::Null } else { text.into() };
        Typed::Frame(json!({"type": "status", "id": 1, "status": status, "text": text}).to_string())
    };
    match word {
        "" => None,
        "online" | "away" | "dnd" | "invisible" => Some(status(word)),
        "quit" => Some(Typed::Quit),
        _ => Some(Typed::Unknown(line.into())),
    }
}

/// Runs until told to stop.
pub(crate) async fn run(options: &ConnectOptions) -> Result<(), Failure> {
    let user = UserId::new(&options.user).map_err(|e| Failure::usage(ConnectError::Id(e)))?;
    Device::new(&options.device).map_err(|e| Failure::usage(ConnectError::Id(e)))?;
    let friends = options.friend.iter().map(|f| UserId::new(f)).collect::<Result<Vec<_>, _>>();
    let friends = friends.map_err(|e| Failure::usage(ConnectError::Id(e)))?;
    let server = Server::of(&options.client).map_err(Failure::usage)?;
    let credentials = Credentials::of(&options.client).map_err(ClientError::from)?;
    befriend(&Client::new(server.clone())?, &credentials, &user, &friends).await?;

    let following = Following {
        server,
        credentials,
        user: user.to_string(),
        scope: "user",
        device: Some(options.device.clone()),
        watched: Vec::new(),
    };
    let mut follower = Follower::start(following).await?;
    if std::io::stdin().is_terminal() {
        note(&format!("you are {user} now; say online, away, dnd TEXT, invisible or quit"));
    }
    let (sender, mut lines) = mpsc::channel(TYPED_AHEAD_MAX);
    read_input(sender);
    let mut stopped = Box::pin(stop::signalled());
    let mut input_open = true;
    let outcome = loop {
        tokio::select! {
            () = &mut stopped => break Ok(()),
            line = lines.recv(), if input_open => match line.as_deref().map(typed) {
                None if std::io::stdin().is_terminal() => break Ok(()),
                None => input_open = false,
                Some(None) => {}
                Some(Some(Typed::Quit)) => break Ok(()),
                Some(Some(Typed::Frame(frame))) => {
                    if !follower.say(frame).await {
                        note("not connected just now: say it again later");
                    }
                }
                Some(Some(Typed::Unknown(line))) => {
                    note(&format!("{line:?} is no command: online, away, dnd TEXT, invisible, quit"));
                }
            },
            heard = follower.hear() => match heard {
                Heard::Over(reason) => break Err(ConnectError::Ended(reason).into()),
                heard => print(&heard, user.as_str())?,
            },
        }
    };
    follower.leave().await;
    outcome
}

/// Makes the user and each friend contacts of one another.
async fn befriend(
    client: &Client,
    credentials: &Credentials,
    user: &UserId,
    friends: &[UserId],
) -> Result<(), Failure> {
    let friends: Vec<&str> = friends.iter().filter(|f| *f != user).map(UserId::as_str).collect();
    if friends.is_empty() {
        return Ok(());
    }
    let service = credentials.service().map_err(ClientError::from)?;
    let failed = |of: &str, other: &str, error: ClientError| match error {
        error @ (ClientError::Unreachable { .. }
        | ClientError::Unbelieved { .. }
        | ClientError::Unauthenticated { .. }) => Failure::from(error),
        error => ConnectError::Contacts(other.into(), of.into(), error).into(),
    };
    client.add_contacts(&service, user, &friends).await.map_err(|e| failed(user, &friends.join(", "), e))?;
    for friend in friends {
        client.add_contacts(&service, friend, &[user]).await.map_err(|e| failed(friend, user, e))?;
    }
    Ok(())
}

/// Standard input has no asynchronous read that can be given up, so a thread of its own reads it.
fn read_input(lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
}

/// Prints what was heard: presences on standard output, all else on standard error.
pub(crate) fn print(heard: &Heard, user: &str) -> Result<(), Failure> {
    match heard {
        Heard::Presence(json) => {
            let Ok(presence) = serde_json::from_str::<Presence<'_>>(json) else { return Ok(()) };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            let mut out = anstream::stdout();
            writeln!(out, "{}", terminal::line(&presence, now_ms)).map_err(Failure::output)?;
            out.flush().map_err(Failure::output)?;
        }
        Heard::Unwatched(users) => note(&format!("no contact of {user} any more: {}", users.join(", "))),
        Heard::Refused(code, detail) => note(&format!("the server refused that ({code}): {detail}")),
        Heard::Lost(wait) => {
            note(&format!("the connection is lost; trying again in {:.1} s", wait.as_secs_f64()));
        }
        Heard::Back(true) => note("connected again"),
        Heard::Back(false) => note("connected again, with a new session"),
        Heard::Over(reason) => note(&format!("the server ended this: {reason}")),
    }
    Ok(())
}

pub(crate) fn note(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_a_frame() {
        let frame = |line: &str| match typed(line) {
            Some(Typed::Frame(json)) => serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            frame(" dnd  in a meeting \n"),
            json!({"type":"status","id":1,"status":"dnd","text":"in a meeting"})
        );
        assert_eq!(frame("online")["text"], serde_json::Value::Null);
        assert_eq!((typed(""), typed("quit")), (None, Some(Typed::Quit)));
        assert_eq!(typed("hello there"), Some(Typed::Unknown("hello there".into())));
    }
}
