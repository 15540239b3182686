//! One user's writer: a serial after the other, each with a key, repeated at another node until it is acknowledged.

use super::Shared;
use crate::client::Client;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How long a writer waits for an answer before it asks another node: longer than an election, shorter than a test.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The pause before a failed write is repeated: long enough not to be load of its own, short beside what is measured.
const AGAIN: Duration = Duration::from_millis(25);

/// An acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its number at this user.
    pub serial: usize,
    /// The version it was answered with.
    pub version: u64,
    /// When it was sent for the last time, since the load began.
    pub last_sent: Duration,
    /// When it was acknowledged, since the load began.
    pub at: Duration,
}

/// What a writer did.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Whose status.
    pub user: String,
    /// In order.
    pub acknowledged: Vec<Acknowledged>,
    /// The longest time from a write's first failure, or from its sending if it had no answer, to its acknowledgement.
    pub longest_failing: Duration,
    /// Answers that the contract does not have.
    pub foreign: Vec<String>,
}

/// Writes until it is enough.
pub(super) async fn write(shared: Arc<Shared>, user: String, place: usize, pace: Duration) -> Written {
    let mut written = Written { user: user.clone(), ..Written::default() };
    let mut at = place;
    let mut client = shared.roll.client(at, &user, "user");
    let mut serial = 0;
    while !shared.enough.load(Ordering::Relaxed) {
        let sent = shared.begun.elapsed();
        let mut failed = false;
        loop {
            let last_sent = shared.begun.elapsed();
            match once(&client, serial).await {
                Answer::Acknowledged(version) => {
                    let now = shared.begun.elapsed();
                    written.acknowledged.push(Acknowledged { serial, version, last_sent, at: now });
                    if failed {
                        written.longest_failing = written.longest_failing.max(now.saturating_sub(sent));
                    }
                    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Answer::Foreign(what) if written.foreign.len() < 10 => written.foreign.push(what),
                Answer::Foreign(_) | Answer::None => {}
            }
            failed = true;
            at += 1;
            client = shared.roll.client(at, &user, "user");
            sleep(AGAIN).await;
        }
        serial += 1;
        sleep(pace).await;
    }
    written
}

enum Answer {
    Acknowledged(u64),
    /// No answer, or 503: it may have taken effect or not.
    None,
    Foreign(String),
}

/// Sends the write with its key, once.
async fn once(client: &Client, serial: usize) -> Answer {
    let body = json!({"status": "dnd", "text": text(serial)});
    let key = format!("write-{serial}");
    let headers = [("idempotency-key", key.as_str())];
    let asked = client.try_send("PUT", "/v1/users/me/status", &headers, Some(&body));
    match timeout(ANSWER_MAX, asked).await {
        Ok(Ok(reply)) if reply.status == 200 => match reply.json()["presence"]["version"].as_u64() {
            Some(version) => Answer::Acknowledged(version),
            None => Answer::Foreign(format!("{reply:?}")),
        },
        Ok(Ok(reply)) if reply.status != 503 => Answer::Foreign(format!("{reply:?}")),
        _ => Answer::None,
    }
}

fn text(serial: usize) -> String {
    format!("write {serial}")
}

/// Acknowledged writes that are not in `history` (oldest first) exactly once and in order, with the version that was answered.
pub(super) fn missing(writer: &Written, history: &[Value]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<(usize, u64)>> = BTreeMap::new();
    for (at, entry) in history.iter().enumerate() {
        if entry["reason"] == "status_set" {
            let text = entry["text"].as_str().unwrap_or_default();
            places.entry(text).or_default().push((at, entry["version"].as_u64().unwrap_or(0)));
        }
    }
    // While somebody is offline the history keeps no text: such an entry stands for whichever write it was.
    let mut unnamed = places.remove("").map_or(0, |entries| entries.len());
    let mut faults = Vec::new();
    let mut last = None;
    for write in &writer.acknowledged {
        let text = text(write.serial);
        let fault = match places.get(text.as_str()).map(Vec::as_slice) {
            None if unnamed > 0 => {
                unnamed -= 1;
                continue;
            }
            None => "is gone".to_owned(),
            Some([(_, version)]) if *version != write.version => {
                format!("was answered with version {} and is there with {version}", write.version)
            }
            Some([(at, _)]) if last >= Some(*at) => "is out of order".to_owned(),
            Some([(at, _)]) => {
                last = Some(*at);
                continue;
            }
            Some(more) => format!("is there {} times", more.len()),
        };
        faults.push(format!("{} of {}: {fault}", text, writer.user));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(serial: usize, version: u64) -> Value {
        json!({"reason": "status_set", "text": text(serial), "version": version})
    }

    fn writer(versions: &[u64]) -> Written {
        let at = Duration::ZERO;
        let write = |(serial, version): (usize, &u64)| Acknowledged { serial, version: *version, last_sent: at, at };
        let acknowledged = versions.iter().enumerate().map(write).collect();
        Written { user: "u".into(), acknowledged, ..Written::default() }
    }

    #[test]
    fn each_way_to_lose_an_acknowledged_write_is_seen() {
        let whole = [json!({"reason": "connected", "version": 1}), entry(0, 2), entry(1, 3), entry(2, 4)];
        let writer = writer(&[2, 3]);
        assert_eq!(missing(&writer, &whole), [] as [String; 0], "one without an answer may be there");
        assert!(missing(&writer, &whole[..2])[0].contains("is gone"));
        let offline = json!({"reason": "status_set", "text": null, "version": 2});
        assert_eq!(missing(&writer, &[entry(0, 2), offline]), [] as [String; 0], "set while offline: without a text");
        assert!(missing(&writer, &[entry(1, 3), entry(0, 2)])[0].contains("out of order"));
        assert!(missing(&writer, &[entry(0, 2), entry(1, 3), entry(1, 4)])[0].contains("2 times"));
        assert!(missing(&writer, &[entry(0, 2), entry(1, 9)])[0].contains("with 9"));
    }
}
