//! What comes in on a connection, told to the judge frame by frame.
//!
//! Owns the reading of snapshots, changes and goodbyes. Promises to tell of every frame in the order it came.

use super::{judge::Turn, script::UserIx, stage::Stage, verdict::Fault};
use crate::program::{
    client::ClientError,
    frame,
    socket::{Event, Socket, SocketError},
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// How long a notification may take before it is missing, and a snapshot before it has failed.
pub(crate) const SIGHT_MAX: Duration = Duration::from_secs(10);
/// Goodbyes that no fault explains: nobody revokes a session here, and everybody reads at once.
const GOODBYES_OF_NO_FAULT: [&str; 2] = ["revoked", "slow"];

/// Asks for what is newer than what `turn` holds. How many snapshots will answer.
pub(crate) async fn ask_for_newer(stage: &Stage, turn: Turn, socket: &mut Socket) -> Result<usize, SocketError> {
    let known = stage.judge().known(turn);
    let frames = known.chunks(rollcall_presence::limits::WATCH_FRAME_MAX_IDS);
    let count = frames.len();
    for known in frames {
        socket.say(watch(stage, known)).await?;
    }
    Ok(count)
}

fn watch(stage: &Stage, known: &[(UserIx, u64)]) -> String {
    #[derive(Serialize)]
    struct Watch<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        id: u64,
        users: BTreeMap<&'a str, u64>,
    }
    let users = known.iter().map(|(user, version)| (stage.name(*user), *version)).collect();
    // A map of strings and numbers always serializes.
    serde_json::to_string(&Watch { kind: "watch", id: 1, users }).unwrap_or_default()
}

/// Reads until `count` snapshots are complete.
pub(crate) async fn take_snapshot(
    stage: &Stage,
    turn: Turn,
    socket: &mut Socket,
    count: usize,
) -> Result<(), SocketError> {
    let broken = |detail: String| SocketError::Broken { url: stage.referee.url().to_string(), detail };
    let mut complete = 0;
    let taken = timeout(SIGHT_MAX, async {
        while complete < count {
            match socket.event().await {
                Event::Text(text) if take(stage, turn, &text, count - complete > 1)? => complete += 1,
                Event::Text(_) | Event::Ping => {}
                Event::Over(code) => return Err(broken(format!("closed with {code:?} before the snapshot"))),
            }
        }
        Ok(())
    });
    taken.await.unwrap_or_else(|_| Err(broken("no snapshot in time".into())))
}

/// Tells the judge of one frame. Whether it completed a snapshot; `others` says that one more is to come anyway.
pub(crate) fn take(stage: &Stage, turn: Turn, text: &str, others: bool) -> Result<bool, SocketError> {
    let frame = frame::read(text)?;
    let mut seen = Vec::with_capacity(frame.presences.len());
    for raw in &frame.presences {
        match stage.sight(raw)? {
            Some(sight) => seen.push(sight),
            None => stage.judge().report(Fault::Wrong, || format!("user #{} was shown a stranger", turn.user)),
        }
    }
    match &*frame.kind {
        "snapshot" => {
            stage.judge().snapshot(turn, &seen, frame.more || others);
            return Ok(!frame.more);
        }
        "presence" => {
            let now_us = stage.now_us();
            if stage.judge().change(turn, &seen, now_us) {
                stage.seen.notify_waiters();
            }
        }
        "error" => {
            let code = frame.code.unwrap_or_default();
            let detail = frame.detail.unwrap_or_default();
            return Err(ClientError::Refused { status: 0, code, detail }.into());
        }
        "goodbye" => {
            let reason = frame.reason.unwrap_or_default();
            if stage.through_faults() && !GOODBYES_OF_NO_FAULT.contains(&&*reason) {
                return Ok(false);
            }
            stage.judge().report(Fault::Lost, || format!("user #{}: goodbye, {reason}", turn.user));
        }
        // Other frame types are for newer clients.
        _ => {}
    }
    Ok(false)
}
