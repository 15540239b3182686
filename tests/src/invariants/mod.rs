//! What must hold of every history, a file a promise, each named as the sentence that it judges.
//!
//! All of it is pure: from a [`History`] to a [`Verdict`]. Each checker is proved beside it: a history that holds passes, and for
//! every way to break the promise a small one is caught. [`judge`] runs all.

mod acknowledged_is_never_lost;
mod all_is_equal_after_quiescence;
mod each_change_is_in_history_once;
mod each_user_is_linearizable;
mod it_heals_without_help;
mod judgement;
mod kept;
mod no_gap_follows_a_snapshot;
mod no_ghost_stays_after_healing;
mod no_revoked_view_is_revived;
mod nobody_alive_is_shown_offline;
mod nothing_is_seen_that_nobody_wrote;
mod one_home_commits_per_partition_and_term;
#[cfg(test)]
pub(crate) mod planted;
mod reads_see_acknowledged_writes;
mod resources_return;
mod the_cut_off_side_acknowledges_nothing;
mod the_dead_are_shown_offline_once;
mod validity;
mod verdict;
mod versions_rise_per_watcher;
mod watches;

pub use acknowledged_is_never_lost::acknowledged_is_never_lost;
pub use all_is_equal_after_quiescence::all_is_equal_after_quiescence;
pub use each_change_is_in_history_once::each_change_is_in_history_once;
pub use each_user_is_linearizable::each_user_is_linearizable;
pub use it_heals_without_help::it_heals_without_help;
pub use judgement::{Finding, Judgement, judge};
pub use no_gap_follows_a_snapshot::no_gap_follows_a_snapshot;
pub use no_ghost_stays_after_healing::no_ghost_stays_after_healing;
pub use no_revoked_view_is_revived::no_revoked_view_is_revived;
pub use nobody_alive_is_shown_offline::nobody_alive_is_shown_offline;
pub use nothing_is_seen_that_nobody_wrote::nothing_is_seen_that_nobody_wrote;
pub use one_home_commits_per_partition_and_term::one_home_commits_per_partition_and_term;
pub use reads_see_acknowledged_writes::reads_see_acknowledged_writes;
pub use resources_return::resources_return;
pub use the_cut_off_side_acknowledges_nothing::the_cut_off_side_acknowledges_nothing;
pub use the_dead_are_shown_offline_once::the_dead_are_shown_offline_once;
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
    no_gap_follows_a_snapshot,
    no_revoked_view_is_revived,
    reads_see_acknowledged_writes,
    each_user_is_linearizable,
    one_home_commits_per_partition_and_term,
    the_dead_are_shown_offline_once,
    nobody_alive_is_shown_offline,
    no_ghost_stays_after_healing,
    all_is_equal_after_quiescence,
    the_cut_off_side_acknowledges_nothing,
    resources_return,
    it_heals_without_help,
];
