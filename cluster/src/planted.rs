//! Faults planted on purpose, to prove that whoever looks for them finds them.
//!
//! Only with the feature `planted-faults`, and only the one that is named; without the feature nothing of them is there.

/// A fault that may be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The writer answers before its round is synced.
    NoSyncData,
    /// A command of another term's home is applied as if it were this one's.
    NoTermFence,
    /// A home that cannot confirm itself with a quorum answers reads as if it had.
    LeaseReadsWhilePaused,
    /// Each term counts revisions, and with them versions, from the beginning.
    VersionResetAtTakeover,
}

/// All of them, by name.
pub const ALL: [(&str, Fault); 4] = [
    ("no-sync-data", Fault::NoSyncData),
    ("no-term-fence", Fault::NoTermFence),
    ("lease-reads-while-paused", Fault::LeaseReadsWhilePaused),
    ("version-reset-at-takeover", Fault::VersionResetAtTakeover),
];

#[cfg(feature = "planted-faults")]
static PLANTED: std::sync::OnceLock<Fault> = std::sync::OnceLock::new();

/// Plants the fault of this name in this process, for good; `false` when there is none, another one is, or faults are not built
/// in.
#[must_use]
pub fn plant(name: &str) -> bool {
    let found = ALL.iter().find(|(known, _)| *known == name);
    #[cfg(feature = "planted-faults")]
    return found.is_some_and(|(_, fault)| PLANTED.set(*fault).is_ok());
    #[cfg(not(feature = "planted-faults"))]
    return found.is_some() && IS_BUILT_IN;
}

/// Whether faults can be planted in this build.
pub const IS_BUILT_IN: bool = cfg!(feature = "planted-faults");

/// Whether this fault is there.
#[cfg(feature = "planted-faults")]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(&fault)
}

/// Whether this fault is there: none is, in this build.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
