//! What the system asks of a node: to stop (SIGTERM, SIGINT), or to read its keys and certificates anew (SIGHUP).
//!
//! SIGHUP is also what a terminal says when it is closed: whoever started a node in it does not want it to go on unseen.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

/// What was asked so far.
pub(crate) struct Signals {
    /// Changes once the node is to stop.
    pub(crate) stop: watch::Receiver<bool>,
    /// Told whenever keys and certificates are to be read anew.
    pub(crate) reload: Arc<Notify>,
}

/// Listens, from now on.
///
/// # Errors
/// The system lets nobody listen.
pub(crate) fn listen() -> io::Result<Signals> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let (told, stop) = watch::channel(false);
    let reload = Arc::new(Notify::new());
    let (asked, before) = (reload.clone(), terminals());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {}
            }
            // A terminal that is gone is none any more.
            if before != terminals() {
                break;
            }
            asked.notify_one();
        }
        let _ = told.send(true);
    });
    Ok(Signals { stop, reload })
}

fn terminals() -> [bool; 3] {
    [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()]
}
