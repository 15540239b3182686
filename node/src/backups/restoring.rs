//! Users put back from a backup: each part a write at its user's home, parts of one user in their order, users beside one another.
//!
//! Promises that nothing is written of a body in which anything is wrong, and that the same body again does no harm.

use crate::{
    bounds::{RESTORED_AT_ONCE, RETRY_AFTER_MS},
    home::request::{HomeError, HomeReply, HomeRequest},
    homes::Homes,
    node::Node,
};
use futures::{StreamExt, TryStreamExt, stream};
use rollcall_api::service::{RestoreCounts, ServiceError};
use rollcall_cluster::backup::Item;
use rollcall_presence::{Answer, Intent, RULES_WITH_RESTORE, Restored, RestoredAs, UnixMs, UserId};

/// Restores the users in `body`, items of a backup one after the other.
///
/// # Errors
/// `Malformed`, with nothing written; `Conflict` while a node of the cluster runs rules without restoring; `Unavailable`: some
/// of it may be restored, and the same again is safe.
pub async fn restore(node: &Node, body: &[u8], overwrite: bool) -> Result<RestoreCounts, ServiceError> {
    let users = users(body, overwrite, node.clock.unix_ms()).map_err(ServiceError::Malformed)?;
    let placement = node.homes.peers().placement();
    if !placement.members.is_empty() && placement.rules < RULES_WITH_RESTORE {
        let why =
            "a node of this cluster runs an older version that cannot restore; restore once every node is renewed";
        return Err(ServiceError::Conflict(why.into()));
    }
    let tasks = users.into_iter().map(|(user, parts)| restore_user(&node.homes, user, parts));
    let done: Vec<RestoredAs> = stream::iter(tasks)
        .buffer_unordered(RESTORED_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .map(|done| done.into_iter().flatten().collect())?;
    let restored = done.iter().filter(|done| **done == RestoredAs::Taken).count() as u64;
    Ok(RestoreCounts { restored, left_alone: done.len() as u64 - restored })
}

/// The parts of each user; why not, if anything is wrong.
fn users(mut body: &[u8], overwrite: bool, now: UnixMs) -> Result<Vec<(UserId, Vec<Restored>)>, String> {
    let mut users: Vec<(UserId, Vec<Restored>)> = Vec::new();
    while !body.is_empty() {
        let (len, item) = Item::split_off(body).map_err(|e| e.to_string())?.ok_or("the last item is cut short")?;
        body = &body[len..];
        let Item::User { user, part } = item else { return Err("only users can be restored".into()) };
        if let Some(fault) = part.fault(now) {
            return Err(format!("{user}: {fault}"));
        }
        let metas = part.last.iter().flat_map(|kept| {
            [Some(&kept.setting.meta), kept.profile.as_ref().map(|profile| &profile.meta)].into_iter().flatten()
        });
        if metas.into_iter().any(|meta| serde_json::from_str::<serde_json::Map<_, _>>(meta.as_json()).is_err()) {
            return Err(format!("{user}: an object is no JSON"));
        }
        let part = Restored { overwrite, ..part };
        match users.last_mut().filter(|(last, _)| *last == user) {
            Some((_, parts)) => parts.push(part),
            None => users.push((user, vec![part])),
        }
    }
    Ok(users)
}

/// Restores the parts of a user; what became of the last one, if it is among them.
async fn restore_user(homes: &Homes, user: UserId, parts: Vec<Restored>) -> Result<Option<RestoredAs>, ServiceError> {
    let mut done = None;
    for part in parts {
        let is_last = part.last.is_some();
        let intent = Intent::Restore(Box::new(part));
        let written = homes.ask(&user, HomeRequest::Write { user: user.clone(), intent, key: None }).await;
        match written {
            Ok(HomeReply::Written(Answer::Restored(as_what))) => done = is_last.then_some(as_what),
            Ok(_) => return Err(ServiceError::Internal),
            Err(HomeError::Unknown) => {
                let why = "a home did not answer; some users may be restored, and the same again is safe";
                return Err(ServiceError::Unavailable { why, after_ms: RETRY_AFTER_MS });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}
