//! The kinds of faults: their names, what each needs of the machine, and how long it lasts.

use crate::history::{CUT_OFF, KILL, PAUSE};
use std::{fmt, str::FromStr};

/// What a fault needs of the machine beyond processes and signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A network namespace a node, and nftables.
    Network,
    /// An ext4 file system a node, on a loop device.
    Volume,
    /// libfaketime.
    Clock,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Kind {
    Kill,
    KillHome,
    KillAll,
    PauseLease,
    PauseTtl,
    CutMinority,
    CutHome,
    CutOneWay,
    CutBridge,
    Loss,
    PowerCut,
    PowerCutAll,
    FullDisk,
    FrozenDisk,
    ClockJump,
    TornTail,
    FlippedBits,
    Wiped,
    RollingRestart,
    JoinAndLeave,
    CutSockets,
    SlowReaders,
}

/// A row of the table.
struct Row {
    kind: Kind,
    name: &'static str,
    /// Its word in a history.
    recorded: &'static str,
    /// How long it lasts at least, ms.
    hold_ms: u64,
    need: Option<Need>,
    what: &'static str,
}

const fn row(
    kind: Kind,
    name: &'static str,
    recorded: &'static str,
    hold_ms: u64,
    need: Option<Need>,
    what: &'static str,
) -> Row {
    Row { kind, name, recorded, hold_ms, need, what }
}

const NETWORK: Option<Need> = Some(Need::Network);
const VOLUME: Option<Need> = Some(Need::Volume);

/// Every kind. The lease of a node is 5 s; the TTL of a run is [`super::TTL_MS`].
const ROWS: [Row; 22] = [
    row(Kind::Kill, "kill", KILL, 4_000, None, "kill -9 of a random node"),
    row(Kind::KillHome, "kill-home", KILL, 4_000, None, "kill -9 of the node that leads most partitions"),
    row(Kind::KillAll, "kill-all", KILL, 500, None, "kill -9 of all nodes at once"),
    row(Kind::PauseLease, "pause-lease", PAUSE, 7_000, None, "SIGSTOP of a node past its lease"),
    row(Kind::PauseTtl, "pause-ttl", PAUSE, 13_000, None, "SIGSTOP of a node past every TTL"),
    row(
        Kind::CutMinority,
        "cut-minority",
        CUT_OFF,
        8_000,
        NETWORK,
        "fewer than half of the nodes cut off from the rest",
    ),
    row(Kind::CutHome, "cut-home", CUT_OFF, 8_000, NETWORK, "the node that leads most partitions cut off"),
    row(Kind::CutOneWay, "cut-one-way", "cut_one_way", 8_000, NETWORK, "a node that is not heard, but hears"),
    row(
        Kind::CutBridge,
        "cut-bridge",
        "cut_bridge",
        8_000,
        NETWORK,
        "two sides that do not hear each other, and one node that hears both",
    ),
    row(Kind::Loss, "loss", "loss", 8_000, NETWORK, "30 % of the packets between nodes lost"),
    row(Kind::PowerCut, "power-cut", KILL, 1_000, VOLUME, "power cut of a node: what was not synced is gone"),
    row(Kind::PowerCutAll, "power-cut-all", KILL, 500, VOLUME, "power cut of all nodes at once"),
    row(Kind::FullDisk, "full-disk", "full_disk", 5_000, VOLUME, "a node's disk is full"),
    row(Kind::FrozenDisk, "frozen-disk", "frozen_disk", 5_000, VOLUME, "a node's disk takes no write for 5 s"),
    row(Kind::ClockJump, "clock-jump", "clock_jump", 6_000, Some(Need::Clock), "a node's wall clock an hour off"),
    row(Kind::TornTail, "torn-tail", KILL, 500, None, "a stopped node's log loses its end"),
    row(Kind::FlippedBits, "flipped-bits", KILL, 500, None, "bits of a stopped node's store are flipped"),
    row(Kind::Wiped, "wiped", KILL, 500, None, "a node loses its directory"),
    row(
        Kind::RollingRestart,
        "rolling-restart",
        "rolling_restart",
        0,
        None,
        "one node after the other stopped and started",
    ),
    row(Kind::JoinAndLeave, "join-leave", "join_leave", 500, None, "a node joins, and is removed again"),
    row(Kind::CutSockets, "cut-sockets", "cut_sockets", 1_000, NETWORK, "all client sockets reset at once"),
    row(Kind::SlowReaders, "slow-readers", "slow_readers", 8_000, None, "watchers that read nothing"),
];

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.row().what
    }

    /// Its word in a history.
    #[must_use]
    pub fn recorded(self) -> &'static str {
        self.row().recorded
    }

    /// What it needs.
    #[must_use]
    pub fn need(self) -> Option<Need> {
        self.row().need
    }

    /// How long it lasts at least, ms.
    #[must_use]
    pub fn hold_ms(self) -> u64 {
        self.row().hold_ms
    }

    /// Whether it must have the cluster for itself: it changes the members, or takes all of them.
    #[must_use]
    pub fn is_alone(self) -> bool {
        matches!(
            self,
            Self::KillAll
                | Self::PowerCutAll
                | Self::TornTail
                | Self::FlippedBits
                | Self::Wiped
                | Self::RollingRestart
                | Self::JoinAndLeave
        )
    }

    /// Whether it is one of those that are there in one moment, and that checkers know by their words.
    #[must_use]
    pub fn takes_effect_at_once(self) -> bool {
        [KILL, PAUSE, CUT_OFF].contains(&self.recorded())
    }

    /// Whether it befalls links between all nodes, each of which may suffer something else besides.
    #[must_use]
    pub fn spares_nodes(self) -> bool {
        matches!(self, Self::Loss | Self::CutSockets | Self::CutBridge)
    }

    /// Whether it may come while `other` is there: of two sets of packet rules, the first taken back would take both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let both_rule = self.need() == Some(Need::Network) && other.need() == Some(Need::Network);
        !self.is_alone() && !other.is_alone() && !both_rule
    }

    /// Whether it leaves a node behind that is started under another name.
    #[must_use]
    pub fn takes_a_place(self) -> bool {
        matches!(self, Self::TornTail | Self::FlippedBits | Self::Wiped | Self::JoinAndLeave)
    }

    /// The kinds of a list such as `kill,loss`, or of `all`.
    ///
    /// # Errors
    /// The word that is no kind.
    pub fn list(words: &str) -> Result<Vec<Self>, String> {
        if words == "all" {
            return Ok(Self::all().collect());
        }
        words.split(',').map(str::parse).collect()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let names = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
        Self::all().find(|kind| kind.name() == word).ok_or_else(|| format!("{word:?} is none of {}", names()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row_and_is_found_by_its_name() {
        for (at, kind) in Kind::all().enumerate() {
            assert_eq!(kind as usize, at, "{kind}");
            assert_eq!(Kind::list(kind.name()), Ok(vec![kind]));
        }
        assert_eq!(Kind::list("all").map(|kinds| kinds.len()), Ok(ROWS.len()));
        assert!(Kind::list("kill,nonsense").is_err_and(|why| why.contains("nonsense")));
    }
}
