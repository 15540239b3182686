//! What this node ties to every partition's home: connections of its users, and watches. Soft state of this side.
//!
//! One mechanism repairs whatever was lost: all of a partition's ties are announced again when the home or the link changes or a
//! gap shows, and the home answers with what is newer. `tie` decides and is pure; `shell` carries out.

pub mod page;
pub mod shell;
pub mod tie;

pub use shell::Ties;
