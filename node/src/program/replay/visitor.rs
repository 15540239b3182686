//! A user who is connected in a replay: the task that reads the socket, and how it is told to leave.
//!
//! Owns the socket from the upgrade to the close; through faults also from one socket to the next. Promises to leave only
//! when everything acknowledged before has been seen, or the wait for it is over.

use super::{
    account::Disturbance, guest::Guest, judge::Turn, patience::connection_may_pass, sight::take, stage::Stage,
    verdict::Fault,
};
use crate::program::{
    frame::Status,
    socket::{Event, Socket, SocketError},
};
use std::sync::Arc;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

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
    task: JoinHandle<Guest>,
}

impl Visitor {
    /// Connects `guest`, anew or again, and takes in the snapshot of the contacts.
    pub(crate) async fn arrive(stage: &Arc<Stage>, mut guest: Guest) -> Result<Self, SocketError> {
        let (turn, socket) = guest.come(stage).await?;
        let (leave, order) = oneshot::channel();
        let task = tokio::spawn(sit(stage.clone(), guest, turn, socket, order));
        Ok(Self { leave, task })
    }

    /// Ends the connection; the guest may come again.
    pub(crate) async fn leave(self, how: Leave) -> Option<Guest> {
        // A task that is over has told the judge why.
        let _ = self.leave.send(how);
        self.task.await.ok()
    }
}

/// Reads until told to leave.
async fn sit(
    stage: Arc<Stage>,
    mut guest: Guest,
    mut turn: Turn,
    mut socket: Socket,
    mut order: oneshot::Receiver<Leave>,
) -> Guest {
    loop {
        tokio::select! {
            biased;
            how = &mut order => {
                match how {
                    Ok(Leave::Close) => close(&stage, &mut guest, turn, socket).await,
                    // Without a player there is nobody to resume for; dropping the socket is all that is left.
                    Ok(Leave::Vanish) | Err(_) => {
                        stage.judge().left(turn, None);
                        guest.lost(&stage);
                    }
                }
                return guest;
            }
            event = socket.event() => {
                if heard(&stage, turn, event) {
                    continue;
                }
                // An order that comes meanwhile is heard when the outcome of the attempt is known.
                match recover(&stage, &mut guest, turn).await {
                    Some(came) => (turn, socket) = came,
                    None => return guest,
                }
            }
        }
    }
}

/// Tells the judge of what came in. Whether the connection still stands.
fn heard(stage: &Stage, turn: Turn, event: Event) -> bool {
    let (fault, expected) = match event {
        Event::Ping => return true,
        Event::Text(text) => match take(stage, turn, &text, false) {
            Ok(_) => return true,
            Err(e) => (e.to_string(), connection_may_pass(&e)),
        },
        Event::Over(code) => (format!("the connection ended by itself, code {code:?}"), true),
    };
    if !(stage.through_faults() && expected) {
        stage.judge().report(Fault::Lost, || format!("user #{}: {fault}", turn.user));
    }
    false
}

/// `turn` ended by itself: through faults its user comes again.
async fn recover(stage: &Stage, guest: &mut Guest, turn: Turn) -> Option<(Turn, Socket)> {
    stage.judge().left(turn, None);
    if !stage.through_faults() {
        return None;
    }
    let started = Instant::now();
    stage.lived.lost();
    guest.lost(stage);
    stage.judge().disturb(turn.user, Disturbance::Lost, stage.now_us());
    let came = guest.come(stage).await;
    stage.lived.found(started.elapsed(), came.is_ok());
    if let Err(e) = &came {
        stage.judge().report(Fault::Lost, || format!("user #{} could not come back: {e}", turn.user));
    }
    came.ok()
}

/// Leaves cleanly, once everything acknowledged so far has been seen.
async fn close(stage: &Stage, guest: &mut Guest, mut turn: Turn, mut socket: Socket) {
    let due = stage.judge().due(turn);
    let mut deadline = Instant::now() + stage.sight_max();
    while !stage.judge().caught_up(turn, &due) {
        let Ok(event) = timeout_at(deadline, socket.event()).await else { break };
        if heard(stage, turn, event) {
            continue;
        }
        if !stage.through_faults() {
            break;
        }
        let Some(came) = recover(stage, guest, turn).await else { break };
        (turn, socket) = came;
        deadline = Instant::now() + stage.sight_max();
    }
    stage.judge().left(turn, Some(&due));
    stage.judge().begin(turn.user, Status::Offline, stage.now_us());
    if !guest.close(stage, socket).await {
        stage.judge().report(Fault::Lost, || format!("user #{}: the close was not answered", turn.user));
    }
}
