//! A member of the cluster, as the placement group knows it.
//!
//! Two questions are asked of its state: whether it keeps what it holds ([`Member::keeps`]), and whether it may be given
//! more ([`Member::takes`]). Death is declared by command alone; nothing here looks at links.

use alloc::string::String;
use bincode::{Decode, Encode};

/// What a member is doing while it is down, and goes on doing when it is heard again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Standing {
    /// It had never been up.
    Joining = 0,
    /// It is expected back, and keeps its replicas.
    Staying = 1,
    /// It was draining or drained; its replicas wait for it.
    Draining = 2,
    /// It was away for too long: its replicas are rebuilt elsewhere. It is welcome to return.
    Gone = 3,
    /// It is being removed for good.
    Removing = 4,
}

/// The state of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum MemberState {
    /// Admitted, and not ready yet: it is given nothing.
    Joining,
    /// Keeps replicas and leads.
    Up,
    /// Keeps its replicas and hands its leaderships over.
    Draining,
    /// Keeps its replicas and leads nothing: it may stop at any time.
    Drained,
    /// Hands over leaderships and replicas, then it is forgotten.
    Removing,
    /// Declared dead: its lease ran out.
    Down(Standing),
}

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Its identity in every Raft group, never used by another.
    pub raft_id: u64,
    /// Rises with every start of the node: a restarted node is somebody new.
    pub generation: u64,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where nodes reach it, `host:port`.
    pub peer: String,
    /// The version of its program, for people.
    pub version: String,
    /// The newest rules that it knows; it knows those before them too.
    pub rules: u16,
    /// What it is doing.
    pub state: MemberState,
}

impl Member {
    /// Whether it was declared dead and has not been heard since.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self.state, MemberState::Down(_))
    }

    /// Whether replicas and leaderships may be given to it.
    #[must_use]
    pub const fn takes(&self) -> bool {
        matches!(self.state, MemberState::Up)
    }

    /// Whether what it holds stays there: also while it drains, and while it is down for less than the replacement time.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        matches!(
            self.state,
            MemberState::Up
                | MemberState::Draining
                | MemberState::Drained
                | MemberState::Down(Standing::Staying | Standing::Draining)
        )
    }

    /// Whether an operator has asked for it to be removed.
    #[must_use]
    pub const fn is_removing(&self) -> bool {
        matches!(self.state, MemberState::Removing | MemberState::Down(Standing::Removing))
    }

    /// What it is, down or not.
    pub(super) const fn standing(&self) -> Standing {
        match self.state {
            MemberState::Joining => Standing::Joining,
            MemberState::Up => Standing::Staying,
            MemberState::Draining | MemberState::Drained => Standing::Draining,
            MemberState::Removing => Standing::Removing,
            MemberState::Down(standing) => standing,
        }
    }

    /// What it is when it is heard again with the generation that was declared dead.
    pub(super) const fn heard(&self) -> MemberState {
        match self.state {
            MemberState::Joining | MemberState::Down(Standing::Joining | Standing::Staying | Standing::Gone) => {
                MemberState::Up
            }
            MemberState::Down(Standing::Draining) => MemberState::Draining,
            MemberState::Down(Standing::Removing) => MemberState::Removing,
            state => state,
        }
    }

    /// What it is when it is admitted again under a newer generation: a drain has served its purpose, a removal goes on.
    pub(super) const fn restarted(&self) -> MemberState {
        match self.standing() {
            Standing::Joining => MemberState::Joining,
            Standing::Staying | Standing::Draining | Standing::Gone => MemberState::Up,
            Standing::Removing => MemberState::Removing,
        }
    }
}
