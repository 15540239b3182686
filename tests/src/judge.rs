//! What the contract promises of all frames of a connection: fields, one entry a user, versions that never fall save to 0,
//! and nothing twice.
//!
//! Holds what a client would hold by the rules for clients. Pure, so that planted faults can prove that it sees them.

use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// The fields of a presence, sorted.
const PRESENCE_FIELDS: [&str; 9] =
    ["devices", "last_seen", "meta", "since", "stale", "status", "text", "user", "version"];
/// Most presences of a frame.
const FRAME_MAX: usize = 500;

/// What one connection has been told so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    held: HashMap<String, Value>,
}

impl Judge {
    /// What is held of `user`.
    pub(crate) fn held(&self, user: &str) -> Option<&Value> {
        self.held.get(user)
    }

    /// Takes a frame in, or says which promise it breaks.
    pub(crate) fn take(&mut self, frame: &Value) -> Result<(), String> {
        let kind = frame["type"].as_str().ok_or_else(|| format!("no type in {frame}"))?;
        if !matches!(kind, "snapshot" | "presence") {
            return Ok(());
        }
        let entries = frame["presences"].as_array().ok_or_else(|| format!("no presences in {frame}"))?;
        if entries.len() > FRAME_MAX {
            return Err(format!("{} presences in a frame", entries.len()));
        }
        let users: BTreeSet<&str> = entries.iter().filter_map(|p| p["user"].as_str()).collect();
        if users.len() < entries.len() {
            return Err(format!("a user twice, or none, in {frame}"));
        }
        entries.iter().try_for_each(|presence| self.take_one(presence, kind == "snapshot"))
    }

    fn take_one(&mut self, presence: &Value, repeats: bool) -> Result<(), String> {
        let fields: BTreeSet<&str> = presence.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
        if !fields.into_iter().eq(PRESENCE_FIELDS) {
            return Err(format!("not the fields of a presence: {presence}"));
        }
        let user = presence["user"].as_str().unwrap_or_default();
        let version = presence["version"].as_u64().ok_or_else(|| format!("no version in {presence}"))?;
        if let Some(held) = self.held.get(user)
            && version > 0
        {
            let before = held["version"].as_u64().unwrap_or(0);
            let mut same = presence.clone();
            same["stale"] = held["stale"].clone();
            let stale_changed = held["stale"] != presence["stale"];
            let broken = if version < before {
                Some("the version fell")
            } else if version == before && same != *held {
                Some("one version, two states")
            } else if version == before && !repeats && !stale_changed {
                Some("sent twice")
            } else {
                None
            };
            if let Some(broken) = broken {
                return Err(format!("{broken}: {held}, then {presence}"));
            }
        }
        self.held.insert(user.into(), presence.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn presence(user: &str, version: u64, status: &str) -> Value {
        json!({"user": user, "status": status, "text": null, "meta": {}, "since": 1, "last_seen": null, "devices": [],
            "version": version, "stale": false})
    }

    fn frame(kind: &str, presences: &[Value]) -> Value {
        json!({"type": kind, "presences": presences})
    }

    /// Feeds the frames; what the last one is found guilty of.
    fn verdict(frames: &[Value]) -> String {
        let mut judge = Judge::default();
        let (last, before) = frames.split_last().expect("a frame");
        assert!(before.iter().all(|f| judge.take(f).is_ok()), "only the last one is wrong");
        judge.take(last).expect_err("the fault is seen")
    }

    #[test]
    fn a_rightful_history_passes() {
        let mut judge = Judge::default();
        for frame in [
            frame("snapshot", &[presence("a", 3, "online"), presence("b", 0, "offline")]),
            frame("presence", &[presence("a", 4, "away")]),
            frame("snapshot", &[presence("a", 4, "away")]),
            frame("presence", &[presence("a", 0, "offline")]),
            frame("presence", &[presence("a", 4, "away"), presence("b", 1, "online")]),
            json!({"type": "ok", "id": 1}),
        ] {
            assert_eq!(judge.take(&frame), Ok(()));
        }
        assert_eq!(judge.held("a"), Some(&presence("a", 4, "away")));
    }

    #[test]
    fn each_planted_fault_is_seen() {
        let first = frame("snapshot", &[presence("a", 3, "online")]);
        let fallen = frame("presence", &[presence("a", 2, "away")]);
        assert!(verdict(&[first.clone(), fallen]).contains("the version fell"));
        let twice = frame("presence", &[presence("a", 3, "online")]);
        assert!(verdict(&[first.clone(), twice]).contains("sent twice"));
        let two_states = frame("snapshot", &[presence("a", 3, "away")]);
        assert!(verdict(&[first, two_states]).contains("two states"));
        let same_user = frame("presence", &[presence("a", 1, "away"), presence("a", 2, "away")]);
        assert!(verdict(&[same_user]).contains("a user twice"));
        let mut short = presence("a", 1, "away");
        short.as_object_mut().expect("an object").remove("stale");
        assert!(verdict(&[frame("presence", &[short])]).contains("fields"));
    }
}
