//! The end of a run: waits until all is equal, or long enough, calls it quiet, and reads what must be compared.

use super::{Entry, FinalRead, Pages, Presence, Record, RecordedWatcher, Recorder};
use crate::{client::Client, load::Roll, wait::looked_for};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// How long nodes and watchers have to become equal. If they don't, it is called quiet all the same, and is judged.
const SETTLING_MAX: Duration = Duration::from_secs(30);
/// How long one answer of the end may take to come: nobody writes any more.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Users of a query. Contract: 500.
const QUERY_MAX: usize = 500;
/// Entries of a page of history. Contract: 1,000.
const PAGE: usize = 1_000;
/// Whose eyes the end is always read with.
pub(super) const SERVICE: &str = "the-service";

/// Waits until every node of the roll and every watcher has the same of every user, none of it stale; calls it quiet; and
/// writes down what each node says and each user's history.
pub(super) async fn settle(recorder: &Recorder, roll: &Roll, users: &[String], watchers: &[RecordedWatcher]) {
    let mut eyes = vec![(SERVICE, "service")];
    for viewer in watchers.iter().map(RecordedWatcher::viewer) {
        if !eyes.contains(&viewer) {
            eyes.push(viewer);
        }
    }
    let readers: Vec<Client> =
        (0..roll.len()).flat_map(|at| eyes.iter().map(move |(viewer, scope)| roll.client(at, viewer, scope))).collect();
    let _ = looked_for(SETTLING_MAX, async || equal(&readers, users, watchers).await.then_some(())).await;
    recorder.quiet();
    for reader in &readers {
        let node = recorder.name_of(&reader.address);
        let read = looked_for(ANSWER_MAX, async || presences(reader, users).await).await.unwrap_or_default();
        for (user, presence) in read {
            let (viewer, node, at) = (reader.id.clone(), node.clone(), recorder.now());
            recorder.push(Record::Read(FinalRead { viewer, user, node, at, presence }));
        }
    }
    for (at, user) in users.iter().enumerate() {
        let client = roll.client(at, user, "user");
        if let Some(entries) = looked_for(ANSWER_MAX, async || history(&client).await).await {
            // Whoever is there from the first entry on was seen to come, or to set a status before.
            let complete = entries.first().is_some_and(|e| matches!(e.reason.as_str(), "connected" | "status_set"));
            let (user, node) = (user.clone(), recorder.name_of(&client.address));
            recorder.push(Record::Pages(Pages { user, node, complete, entries }));
        }
    }
}

/// Whether all nodes say the same to the same eyes, none of it stale, and all watchers hold that.
async fn equal(readers: &[Client], users: &[String], watchers: &[RecordedWatcher]) -> bool {
    let mut first: BTreeMap<&str, BTreeMap<String, Presence>> = BTreeMap::new();
    for reader in readers {
        let Some(said) = presences(reader, users).await else { return false };
        if said.values().any(|p| p.stale) || *first.entry(&reader.id).or_insert_with(|| said.clone()) != said {
            return false;
        }
    }
    watchers.iter().all(|watcher| {
        let mut said = first.get(watcher.viewer().0).into_iter().flatten();
        said.all(|(user, presence)| watcher.holds(user).as_ref() == Some(presence))
    })
}

/// What a node says of all users.
async fn presences(service: &Client, users: &[String]) -> Option<BTreeMap<String, Presence>> {
    let mut said = BTreeMap::new();
    for part in users.chunks(QUERY_MAX) {
        let body = json!({"users": part});
        let answer = service.try_send("POST", "/v1/presence/query", &[], Some(&body)).await.ok()?;
        if answer.status != 200 {
            return None;
        }
        for presence in answer.json()["presences"].as_array()? {
            said.insert(presence["user"].as_str()?.to_owned(), Presence::of(presence)?);
        }
    }
    Some(said)
}

/// A user's history, oldest first; `None` if a page cannot be had.
async fn history(user: &Client) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/users/me/history?limit={PAGE}{cursor}");
        let reply = user.try_send("GET", &path, &[], None).await.ok()?;
        if reply.status != 200 {
            return None;
        }
        let page = reply.json();
        entries.extend(page["entries"].as_array()?.iter().filter_map(entry));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    entries.reverse();
    Some(entries)
}

fn entry(entry: &Value) -> Option<Entry> {
    let word = |name: &str| entry[name].as_str().map(ToOwned::to_owned);
    Some(Entry {
        version: entry["version"].as_u64()?,
        status: word("status")?,
        text: word("text"),
        reason: word("reason")?,
    })
}
