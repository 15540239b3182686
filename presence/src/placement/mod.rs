//! The placement: which nodes are members, which of them keep which partition, and what to do next about it.
//!
//! A small Raft group commits [`PlacementCommand`]s; [`apply_placement`] is the one function that applies them, and
//! [`plan_moves`] says the next few steps from the committed state alone, so that a crash at any step loses nothing.
//! The ring proposes, evenness disposes, and what was committed is the truth.

mod apply;
mod assignment;
mod command;
mod leaders;
mod member;
mod plan;
mod repair;
mod seats;
mod shares;
mod state;
mod voters;

pub use apply::{Applied, apply_placement};
pub use assignment::{Assignment, Target};
pub use command::{Newcomer, PlacementCommand, PlacementRefusal};
pub use member::{Member, MemberState, Standing};
pub use plan::{Move, View, plan_moves};
pub use state::{Incoming, Placement};
pub use voters::placement_voters;
