//! Faults planted on purpose, to prove that whoever looks for them finds them.
//!
//! Only with the feature `planted-faults`, and only the one that is named; without the feature nothing of them is there.

/// A fault that may be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A new home counts the silence of sessions from what was last made durable of them, not from its taking over.
    TtlNotRestartedAtTakeover,
    /// What a node ties to a new home is never told to it, and is taken for told.
    ReAnnounceDropped,
    /// A decision about who may see whom is taken although a newer one was taken before.
    LateFrameAfterRevoke,
    /// The end of a connection ends its session, whatever has taken that over meanwhile.
    AttachmentNumberIgnored,
}

/// All of them, by name.
pub const ALL: [(&str, Fault); 4] = [
    ("ttl-not-restarted-at-takeover", Fault::TtlNotRestartedAtTakeover),
    ("re-announce-dropped", Fault::ReAnnounceDropped),
    ("late-frame-after-revoke", Fault::LateFrameAfterRevoke),
    ("attachment-number-ignored", Fault::AttachmentNumberIgnored),
];

/// Whether faults can be planted in this build.
pub const IS_BUILT_IN: bool = cfg!(feature = "planted-faults");

/// The fault that is there, in all nodes of this process.
#[cfg(feature = "planted-faults")]
static PLANTED: parking_lot::Mutex<Option<Fault>> = parking_lot::Mutex::new(None);

/// A fault that is there until this is dropped.
#[derive(Debug)]
pub struct Planted(());

/// Plants the fault of this name in this process; `None` when there is none, one is planted already, or faults are not built in.
#[must_use]
pub fn plant(name: &str) -> Option<Planted> {
    let (_, fault) = ALL.iter().find(|(known, _)| *known == name)?;
    put(*fault).then_some(Planted(()))
}

#[cfg(feature = "planted-faults")]
fn put(fault: Fault) -> bool {
    let mut planted = PLANTED.lock();
    planted.is_none() && planted.insert(fault) == &fault
}

#[cfg(not(feature = "planted-faults"))]
const fn put(_: Fault) -> bool {
    false
}

impl Drop for Planted {
    fn drop(&mut self) {
        #[cfg(feature = "planted-faults")]
        PLANTED.lock().take();
    }
}

/// Whether this fault is there.
#[cfg(feature = "planted-faults")]
pub(crate) fn is(fault: Fault) -> bool {
    *PLANTED.lock() == Some(fault)
}

/// Whether this fault is there: none is, in this build.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
