//! The signals that ask the program to stop: Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the program is asked to stop. Never, where the system lets nobody listen.
pub(crate) async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Returns when the terminal that the program runs in is gone.
pub(crate) async fn hung_up() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    hangup.recv().await;
}
