//! What must hold of every history, a file a promise, each named as the sentence that it judges.
//!
//! All of it is pure: from a [`History`] to a [`Verdict`]. Each checker is proved beside it: a history that holds passes, and for
//! every way to break the promise a small one is caught. [`judge`] runs all.

mod acknowledged_is_never_lost;
mod each_change_is_in_history_once;
mod judgement;
mod kept;
mod nothing_is_seen_that_nobody_wrote;
#[cfg(test)]
pub(crate) mod planted;
mod validity;
mod verdict;
mod versions_rise_per_watcher;

pub use acknowledged_is_never_lost::acknowledged_is_never_lost;
pub use each_change_is_in_history_once::each_change_is_in_history_once;
pub use judgement::{Finding, Judgement, judge};
pub use nothing_is_seen_that_nobody_wrote::nothing_is_seen_that_nobody_wrote;
pub use validity::validity;
pub use verdict::{Verdict, Violation};
pub use versions_rise_per_watcher::versions_rise_per_watcher;

use crate::history::History;

/// Every checker, in the order of the table.
pub const CHECKERS: &[fn(&History) -> Verdict] = &[
    acknowledged_is_never_lost,
    each_change_is_in_history_once,
    nothing_is_seen_that_nobody_wrote,
    versions_rise_per_watcher,
];
