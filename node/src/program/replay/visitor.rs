//! One connection of a replay: a user's socket, and the task that reads it.
//!
//! Owns the socket from the upgrade to the close. Promises to tell the judge of every frame in the order it came, and to
//! leave only when everything acknowledged before has been seen, or the wait for it is over.

use super::{judge::Turn, script::UserIx, stage::Stage, verdict::Fault};
use crate::program::{
    client::ClientError,
    frame,
    frame::Status,
    socket::{Event, Opening, Socket, SocketError},
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// How long a notification may take before it is missing, and a snapshot before it has failed.
pub(crate) const SIGHT_MAX: Duration = Duration::from_secs(10);

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// By a close with 1000: the session ends.
    Close,
    /// By vanishing: the session waits for its resume.
    Vanish,
}

/// A user who is connected.
#[derive(Debug)]
pub(crate) struct Visitor {
    leave: oneshot::Sender<Leave>,
    task: JoinHandle<()>,
    resume: Option<String>,
}

impl Visitor {
    /// Connects `user` anew, and takes in the snapshot of the contacts.
    pub(crate) async fn arrive(stage: &Arc<Stage>, user: UserIx, device: &str) -> Result<Self, SocketError> {
        let token = stage.token(user)?;
        let turn = stage.judge().arriving(user);
        let opening = Opening {
            url: stage.url(),
            token: &token,
            device: Some(device),
            contacts: true,
            session: true,
            resume: None,
        };
        let (mut socket, welcome) = Socket::open(&opening).await?;
        take_snapshot(stage, turn, &mut socket, 1).await?;
        Ok(Self::sit(stage, turn, socket, welcome.resume))
    }

    /// Connects `user` again with `resume`, and asks for what is newer than what was held.
    pub(crate) async fn resume(
        stage: &Arc<Stage>,
        user: UserIx,
        device: &str,
        resume: Option<&str>,
    ) -> Result<Self, SocketError> {
        let token = stage.token(user)?;
        let opening =
            Opening { url: stage.url(), token: &token, device: Some(device), contacts: false, session: true, resume };
        let (mut socket, welcome) = Socket::open(&opening).await?;
        if !welcome.resumed {
            stage.judge().report(Fault::Lost, || format!("user #{user} was not resumed"));
        }
        let turn = stage.judge().resuming(user);
        let known = stage.judge().known(turn);
        let frames = known.chunks(rollcall_presence::limits::WATCH_FRAME_MAX_IDS);
        let count = frames.len();
        for known in frames {
            socket.say(watch(stage, known)).await?;
        }
        take_snapshot(stage, turn, &mut socket, count).await?;
        Ok(Self::sit(stage, turn, socket, welcome.resume))
    }

    fn sit(stage: &Arc<Stage>, turn: Turn, socket: Socket, resume: Option<String>) -> Self {
        let (leave, order) = oneshot::channel();
        let task = tokio::spawn(sit(stage.clone(), turn, socket, order));
        Self { leave, task, resume }
    }

    /// Ends the connection, and gives the resume token back.
    pub(crate) async fn leave(self, how: Leave) -> Option<String> {
        // A task that is over has told the judge why.
        let _ = self.leave.send(how);
        let _ = self.task.await;
        self.resume
    }
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
async fn take_snapshot(stage: &Stage, turn: Turn, socket: &mut Socket, count: usize) -> Result<(), SocketError> {
    let broken = |detail: String| SocketError::Broken { url: stage.client.url().to_string(), detail };
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
fn take(stage: &Stage, turn: Turn, text: &str, others: bool) -> Result<bool, SocketError> {
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
            stage.judge().report(Fault::Lost, || format!("user #{}: goodbye, {reason}", turn.user));
        }
        // Other frame types are for newer clients.
        _ => {}
    }
    Ok(false)
}

/// Reads until told to leave.
async fn sit(stage: Arc<Stage>, turn: Turn, mut socket: Socket, mut order: oneshot::Receiver<Leave>) {
    loop {
        tokio::select! {
            biased;
            how = &mut order => {
                return match how {
                    Ok(Leave::Close) => close(&stage, turn, socket).await,
                    // Without a player there is nobody to resume for; dropping the socket is all that is left.
                    Ok(Leave::Vanish) | Err(_) => stage.judge().left(turn, None),
                };
            }
            event = socket.event() => {
                if !heard(&stage, turn, event) {
                    stage.judge().left(turn, None);
                    return;
                }
            }
        }
    }
}

/// Tells the judge of what came in. Whether the connection still stands.
fn heard(stage: &Stage, turn: Turn, event: Event) -> bool {
    let fault = match event {
        Event::Ping => return true,
        Event::Text(text) => match take(stage, turn, &text, false) {
            Ok(_) => return true,
            Err(e) => e.to_string(),
        },
        Event::Over(code) => format!("the connection ended by itself, code {code:?}"),
    };
    stage.judge().report(Fault::Lost, || format!("user #{}: {fault}", turn.user));
    false
}

/// Leaves cleanly, once everything acknowledged so far has been seen.
async fn close(stage: &Stage, turn: Turn, mut socket: Socket) {
    let due = stage.judge().due(turn);
    let deadline = Instant::now() + SIGHT_MAX;
    while !stage.judge().caught_up(turn, &due) {
        let event = timeout_at(deadline, socket.event()).await;
        if !event.is_ok_and(|event| heard(stage, turn, event)) {
            break;
        }
    }
    stage.judge().left(turn, Some(&due));
    stage.judge().begin(turn.user, Status::Offline, stage.now_us());
    if !socket.close().await {
        stage.judge().report(Fault::Lost, || format!("user #{}: the close was not answered", turn.user));
    }
}
