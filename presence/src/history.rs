//! Which history entries have outlived their age.

use crate::{
    UnixMs,
    apply::Relations,
    command::{HISTORY_AGE_NEVER, Policy},
};

/// The first of the entries `from..end` that is to be kept at `now`, at most `at_most` after `from`. Time never falls, so that an
/// entry that is kept has only younger ones after it.
pub(crate) fn first_kept(
    relations: &impl Relations,
    policy: &Policy,
    now: UnixMs,
    (from, end): (u64, u64),
    at_most: u64,
) -> u64 {
    if policy.history_age_ms == HISTORY_AGE_NEVER {
        return from;
    }
    let is_expired =
        |seq: &u64| relations.history_at(*seq).is_some_and(|at| at.saturating_add(policy.history_age_ms) <= now);
    let end = end.min(from.saturating_add(at_most));
    (from..end).take_while(is_expired).last().map_or(from, |expired| expired + 1)
}
