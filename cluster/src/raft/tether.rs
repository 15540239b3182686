//! What tells whether anything of a group may still write: every part that does holds a tether.
//!
//! openraft's tasks end on their own some time after the group was shut down. Promises that once [`Ties::all_gone`] returned,
//! nothing of the group queues any work, so that its rows may be removed.

use tokio::sync::watch;

/// Held by whatever writes for a group.
#[derive(Clone)]
pub(crate) struct Tether(#[allow(dead_code, reason = "being held is all it is for")] watch::Receiver<()>);

/// The other end.
pub(crate) struct Ties(watch::Sender<()>);

/// A tether, to be cloned, and the other end of all its clones.
#[must_use]
pub(crate) fn tie() -> (Tether, Ties) {
    let (ties, tether) = watch::channel(());
    (Tether(tether), Ties(ties))
}

impl Ties {
    /// One more tether. To be taken only while nobody waits for all to be gone.
    #[must_use]
    pub(crate) fn tether(&self) -> Tether {
        Tether(self.0.subscribe())
    }

    /// Returns once no tether is held any more.
    pub(crate) async fn all_gone(&self) {
        self.0.closed().await;
    }
}
