//! The placement as a row of the placement group's state, and a command applied to it.
//!
//! What a command means is decided by `presence::apply_placement` alone. Promises the same row on every replica, and that a
//! refused command writes nothing.

use super::{cell::State, read_error::ReadError, rows::Rows};
use crate::store::key;
use rollcall_presence::{Applied, Placement, PlacementCommand, PlacementRefusal, apply_placement};
use std::sync::Arc;

/// What a placement command did, and the placement if it changed.
pub(crate) type Placed = (Result<Applied, PlacementRefusal>, Option<Arc<Placement>>);

/// Applies `command`.
///
/// # Errors
/// When the placement cannot be read; the state must not be used any further then.
pub(crate) fn place(state: &mut State, command: &PlacementCommand) -> Result<Placed, ReadError> {
    let key = key::placement();
    let (before, pieces) = state.rows.load_long::<Placement>(&key)?;
    let mut placement = before.unwrap_or_default();
    let done = apply_placement(&mut placement, command);
    if done != Ok(Applied::Changed) {
        return Ok((done, None));
    }
    state.rows.store_long(&key, &pieces, Some(&placement));
    Ok((done, Some(Arc::new(placement))))
}

/// The placement as it was applied so far.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn placement(rows: &Rows) -> Result<Placement, ReadError> {
    Ok(rows.get_long(&key::placement())?.unwrap_or_default())
}
