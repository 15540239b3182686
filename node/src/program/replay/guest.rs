//! A user's session over the connections that carry it: opened, taken up again, ended.
//!
//! Owns the resume token, and whether the user holds anything of the contacts. Promises that through faults an opening, a
//! resume and a close are repeated until their outcome is known or the patience is over, and that the judge hears of every
//! outcome that was not.

use super::{
    account::Disturbance,
    judge::Turn,
    patience::{Patience, connection_may_pass, touched_nothing},
    script::UserIx,
    sight::{ask_for_newer, take_snapshot},
    stage::Stage,
    verdict::Fault,
};
use crate::program::{
    frame::Status,
    socket::{Opening, Socket, SocketError, Welcome},
};
use tokio::time::Instant;

/// The close code of a client that leaves for good, which the server repeats when it has read it.
const NORMAL: u16 = 1_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) user: UserIx,
    device: &'static str,
    resume: Option<String>,
    /// Whether no attempt since the last welcome can have changed the session's token.
    certain: bool,
    /// Whether the contacts' presences are held, as of earlier connections.
    knows: bool,
    /// The version of the user's presence that was acknowledged when the last connection ended.
    known: u64,
    node: Option<usize>,
}

impl Guest {
    pub(crate) fn new(user: UserIx, device: &'static str) -> Self {
        Self { user, device, resume: None, certain: true, knows: false, known: 0, node: None }
    }

    /// Connects, and takes in what is newer than what is held of the contacts.
    pub(crate) async fn come(&mut self, stage: &Stage) -> Result<(Turn, Socket), SocketError> {
        let (mut patience, started) = (Patience::new(stage.through_faults()), Instant::now());
        let opening = self.resume.is_none();
        let mut repeated = false;
        loop {
            match self.sit_down(stage).await {
                Err(e) if connection_may_pass(&e) && patience.again().await => repeated = true,
                came => {
                    if opening && repeated && came.is_ok() {
                        stage.lived.opening_repeated(started.elapsed());
                    }
                    return came;
                }
            }
        }
    }

    /// The connection ended without a close, by itself or because the user vanished.
    pub(crate) fn lost(&mut self, stage: &Stage) {
        self.known = stage.judge().chain(self.user).latest();
    }

    /// Ends the session. Whether that was answered, or a read shows it.
    pub(crate) async fn close(&mut self, stage: &Stage, socket: Socket) -> bool {
        let (mut patience, started) = (Patience::new(stage.through_faults()), Instant::now());
        let (mut socket, mut repeated) = (Some(socket), false);
        loop {
            if let Some(socket) = socket.take() {
                let answered = socket.close().await;
                if !stage.through_faults() {
                    return answered.is_some();
                }
                // Any other code is the server's own end of the connection, which came first.
                if answered == Some(NORMAL) {
                    break;
                }
                self.lost(stage);
                stage.judge().disturb(self.user, Disturbance::Unknown, stage.now_us());
            }
            repeated = true;
            if !patience.again().await {
                return false;
            }
            if stage.read(self.user).await.is_ok_and(|shown| shown.status == Status::Offline && !shown.stale) {
                break;
            }
            socket = self.open(stage, false).await.ok();
        }
        if repeated {
            stage.lived.close_repeated(started.elapsed());
        }
        true
    }

    /// One attempt to connect and to take in the contacts.
    async fn sit_down(&mut self, stage: &Stage) -> Result<(Turn, Socket), SocketError> {
        // What is acknowledged from here on may or may not be in the first snapshot.
        let arriving = (!self.knows).then(|| stage.judge().arriving(self.user));
        let mut socket = self.open(stage, !self.knows).await?;
        let taken = match arriving {
            Some(turn) => take_snapshot(stage, turn, &mut socket, 1).await.map(|()| turn),
            None => {
                let turn = stage.judge().resuming(self.user);
                match ask_for_newer(stage, turn, &mut socket).await {
                    Ok(frames) => take_snapshot(stage, turn, &mut socket, frames).await.map(|()| turn),
                    Err(e) => Err(e),
                }
            }
        };
        if taken.is_err() {
            self.lost(stage);
            stage.judge().disturb(self.user, Disturbance::Lost, stage.now_us());
        }
        let turn = taken?;
        self.knows = true;
        Ok((turn, socket))
    }

    /// One attempt to connect.
    async fn open(&mut self, stage: &Stage, contacts: bool) -> Result<Socket, SocketError> {
        let token = stage.token(self.user)?;
        let (node, server) = stage.node(self.node);
        self.node = Some(node);
        let (device, resume) = (Some(self.device), self.resume.as_deref());
        let opening = Opening { server, token: &token, device, contacts, session: true, resume };
        match Socket::open(&opening).await {
            Ok((socket, welcome)) => {
                self.welcomed(stage, welcome);
                Ok(socket)
            }
            Err(e) => {
                if !touched_nothing(&e) {
                    self.certain = false;
                    stage.judge().disturb(self.user, Disturbance::Unknown, stage.now_us());
                }
                Err(e)
            }
        }
    }

    fn welcomed(&mut self, stage: &Stage, welcome: Welcome) {
        let user = self.user;
        let again = self.knows || self.resume.is_some();
        if again {
            stage.lived.took_up(welcome.resumed);
        }
        if again && !welcome.resumed {
            if !stage.through_faults() {
                stage.judge().report(Fault::Lost, || format!("user #{user} was not resumed"));
            } else if self.certain {
                stage.judge().ended(user, self.known, stage.now_us());
                stage.judge().disturb(user, Disturbance::Lost, stage.now_us());
            } else {
                stage.judge().disturb(user, Disturbance::Unknown, stage.now_us());
            }
        }
        self.resume = welcome.resume;
        self.certain = true;
    }
}
