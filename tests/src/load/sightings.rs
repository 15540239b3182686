//! What one watcher was shown over all its connections, judged as it comes.
//!
//! Pure. A person of a load is never offline: whoever is shown so is written down. Versions rise per user over connections
//! too, save to 0, and one version is one state.

use serde_json::Value;
use std::collections::BTreeMap;

/// What a watcher saw.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    held: BTreeMap<String, Value>,
    /// Whoever was shown offline, and how.
    pub offline: Vec<String>,
    /// Versions that fell, and versions with two states.
    pub fallen: Vec<String>,
    /// Presences shown as `stale`.
    pub stale: usize,
    /// Presences shown.
    pub shown: usize,
}

impl Sightings {
    /// Takes what a frame shows.
    pub fn take(&mut self, frame: &Value) {
        for presence in frame["presences"].as_array().into_iter().flatten() {
            self.take_one(presence);
        }
    }

    fn take_one(&mut self, presence: &Value) {
        let Some(user) = presence["user"].as_str() else { return };
        let version = presence["version"].as_u64().unwrap_or(0);
        self.shown += 1;
        self.stale += usize::from(presence["stale"] == true);
        if presence["status"] == "offline" {
            self.offline.push(presence.to_string());
        }
        if let Some(held) = self.held.get(user) {
            let before = held["version"].as_u64().unwrap_or(0);
            let mut same = presence.clone();
            same["stale"] = held["stale"].clone();
            if version < before || (version == before && same != *held) {
                self.fallen.push(format!("{held}, then {presence}"));
            }
        }
        self.held.insert(user.into(), presence.clone());
    }

    /// What is held of `user`.
    #[must_use]
    pub fn held(&self, user: &str) -> Option<&Value> {
        self.held.get(user)
    }

    /// What is held of everybody, by version: what a watch after a reconnect names.
    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        self.held.iter().map(|(user, p)| (user.clone(), p["version"].as_u64().unwrap_or(0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frame(version: u64, status: &str, stale: bool) -> Value {
        json!({"type": "presence", "presences": [{"user": "a", "version": version, "status": status, "stale": stale}]})
    }

    #[test]
    fn a_false_death_a_fall_and_two_states_of_a_version_are_seen() {
        let mut seen = Sightings::default();
        for rightful in [frame(3, "online", false), frame(3, "online", true), frame(4, "dnd", false)] {
            seen.take(&rightful);
        }
        assert!(seen.offline.is_empty() && seen.fallen.is_empty() && seen.stale == 1);
        seen.take(&frame(4, "away", false));
        assert_eq!(seen.fallen.len(), 1, "two states");
        seen.take(&frame(2, "away", false));
        assert_eq!(seen.fallen.len(), 2, "a fall");
        seen.take(&frame(5, "offline", false));
        assert_eq!(seen.offline.len(), 1);
        assert_eq!(seen.versions(), [("a".to_owned(), 5)].into());
    }
}
