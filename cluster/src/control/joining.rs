//! A node without a cluster asks to be let into one.
//!
//! It runs no group yet: only its links. Promises that a node that is refused has changed nothing anywhere, and says what to do
//! about it; and that one that is let in twice, because the first answer was lost, is one member.

use super::message::{Answer, JoinRefusal, Question, Welcome};
use crate::{
    limits::JOIN_PAUSE_MS,
    peers::{JoinFailure, PeerLink},
    store::opening::StartError,
};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use rollcall_presence::{Newcomer, PlacementRefusal};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// What a node asks with.
pub(crate) struct Asked<'a> {
    /// Addresses, asked in turn.
    pub(crate) addresses: &'a [String],
    /// The cluster that it belongs to, if it was let in before.
    pub(crate) cluster_id: Option<String>,
    /// How many partitions it is set to.
    pub(crate) partitions: u16,
    /// The node.
    pub(crate) newcomer: &'a Newcomer,
}

/// Asks until it is let in, refused, or `patience` is at its end.
///
/// # Errors
/// [`StartError`], saying what to do.
pub(crate) async fn join(link: &dyn PeerLink, asked: &Asked<'_>, patience: Duration) -> Result<Welcome, StartError> {
    let question = Question::Join {
        cluster_id: asked.cluster_id.clone(),
        partitions: asked.partitions,
        newcomer: asked.newcomer.clone(),
    };
    let question = question.sealed();
    let deadline = Instant::now() + patience;
    let mut said: BTreeMap<&str, String> = BTreeMap::new();
    let mut pause_ms = JOIN_PAUSE_MS.0;
    loop {
        for address in asked.addresses {
            let why = match timeout_at(deadline, link.join(address, question.clone())).await {
                Err(_) => "no answer in time".to_owned(),
                Ok(Err(JoinFailure::WrongKey { address })) => return Err(StartError::WrongKey { address }),
                Ok(Err(JoinFailure::Unreachable { why, .. })) => why,
                Ok(Ok(answer)) => match Answer::opened(&answer) {
                    Some(Answer::Welcome(welcome)) => return Ok(welcome),
                    Some(Answer::NotWelcome(refusal)) => return Err(refused(asked, address, refusal)),
                    Some(_) => "it reaches no leader of its cluster just now".to_owned(),
                    None => "its answer makes no sense; is it of another version?".to_owned(),
                },
            };
            tracing::debug!(address, why, "not let in yet");
            said.insert(address, why);
        }
        let next = Instant::now() + Duration::from_millis(pause_ms);
        if next >= deadline {
            let said = said.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; ");
            return Err(StartError::NeverJoined { patience, said });
        }
        sleep_until(next).await;
        pause_ms = (pause_ms * 2).min(JOIN_PAUSE_MS.1);
    }
}

/// A node that belongs to a cluster says so to the addresses it was given, all at once and for `patience` at most: whoever is
/// there and of another cluster ends the start. That nobody answers is no reason to wait: a whole cluster may be starting.
///
/// # Errors
/// `WrongCluster` and `WrongKey`; nothing was changed anywhere.
pub(crate) async fn greet(link: &dyn PeerLink, asked: &Asked<'_>, patience: Duration) -> Result<(), StartError> {
    let cluster_id = asked.cluster_id.clone().unwrap_or_default();
    let question = Question::Greet { cluster_id }.sealed();
    let mut answers: FuturesUnordered<_> = asked
        .addresses
        .iter()
        .map(|address| link.join(address, question.clone()).map(move |answer| (address, answer)))
        .collect();
    let heard = async {
        while let Some((address, answer)) = answers.next().await {
            match answer {
                Err(JoinFailure::WrongKey { address }) => return Err(StartError::WrongKey { address }),
                Err(JoinFailure::Unreachable { .. }) => {}
                Ok(answer) => match Answer::opened(&answer) {
                    Some(Answer::NotWelcome(refusal @ JoinRefusal::WrongCluster { .. })) => {
                        return Err(refused(asked, address, refusal));
                    }
                    // It is of the same cluster: what else there is to be said comes once the groups run.
                    Some(Answer::Welcome(_) | Answer::NotWelcome(_)) => return Ok(()),
                    _ => {}
                },
            }
        }
        Ok(())
    };
    timeout(patience, heard).await.unwrap_or(Ok(()))
}

fn refused(asked: &Asked<'_>, address: &str, refusal: JoinRefusal) -> StartError {
    let address = address.to_owned();
    match refusal {
        JoinRefusal::WrongCluster { ours } => {
            StartError::WrongCluster { address, theirs: ours, ours: asked.cluster_id.clone().unwrap_or_default() }
        }
        JoinRefusal::Partitions { ours } => StartError::Partitions { founded: ours, asked: asked.partitions },
        JoinRefusal::Placement(PlacementRefusal::NameInUse { name }) => StartError::NameInUse { address, name },
        JoinRefusal::Placement(why @ PlacementRefusal::IncompatibleRules { .. }) => {
            StartError::Incompatible { address, why: why.to_string() }
        }
        JoinRefusal::Removed => StartError::Refused { address, why: "this node was removed from the cluster".into() },
        JoinRefusal::Placement(why) => StartError::Refused { address, why: why.to_string() },
    }
}
