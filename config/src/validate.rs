//! What a set of settings must keep: each value its bound, and values together their rules.
//!
//! Promises that a refusal names every broken rule with the offending values, so that one run repairs a file.

use crate::{
    settings::Settings,
    table::{as_toml, table},
};
use std::{collections::BTreeSet, fmt, path::PathBuf};

/// Why settings are refused. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings {
    /// Every broken rule, at least one.
    pub violations: Vec<Violation>,
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.violations.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&violation.rule)?;
        }
        Ok(())
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The settings it is about.
    pub keys: Vec<&'static str>,
    /// The offending values and the rule: `cluster.election_ms (300) must be at least 3 × cluster.heartbeat_ms (200)`.
    pub rule: String,
}

impl Settings {
    /// Checks every rule.
    ///
    /// # Errors
    /// [`InvalidSettings`] with all the rules that do not hold.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        let mut violations = self.out_of_bounds();
        violations.extend(self.bad_pairs());
        let peer = &self.peer;
        let files = [
            ("peer.certificate", &peer.certificate),
            ("peer.private_key", &peer.private_key),
            ("peer.authorities", &peer.authorities),
        ];
        violations.extend(bad_certificates(&files));
        let http = [("http.certificate", &self.http.certificate), ("http.private_key", &self.http.private_key)];
        violations.extend(bad_certificates(&http));
        violations.extend(self.unreachable_peer());
        violations.extend(self.bad_keys());
        if violations.is_empty() { Ok(()) } else { Err(InvalidSettings { violations }) }
    }

    fn out_of_bounds(&self) -> Vec<Violation> {
        let values = self.as_value();
        let mut violations = Vec::new();
        for row in table() {
            let value = values.find_ref(row.key);
            if value.is_some_and(|v| row.bound.holds(v)) {
                continue;
            }
            let found = value.map_or_else(|| "unreadable".into(), as_toml);
            violations.push(Violation {
                keys: vec![row.key],
                rule: format!("{} ({found}) must be {}", row.key, row.bound.rule()),
            });
        }
        violations
    }

    fn bad_pairs(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut demand = |holds: bool, keys: [&'static str; 2], rule: String| {
            if !holds {
                violations.push(Violation { keys: keys.to_vec(), rule });
            }
        };
        let (election, heartbeat) = (self.cluster.election_ms, self.cluster.heartbeat_ms);
        demand(
            election >= heartbeat.saturating_mul(3),
            ["cluster.election_ms", "cluster.heartbeat_ms"],
            format!("cluster.election_ms ({election}) must be at least 3 × cluster.heartbeat_ms ({heartbeat})"),
        );
        let (ttl, heartbeat) = (self.presence.session_ttl_ms, self.presence.heartbeat_ms);
        demand(
            ttl > heartbeat.saturating_mul(2),
            ["presence.session_ttl_ms", "presence.heartbeat_ms"],
            format!("presence.session_ttl_ms ({ttl}) must be more than 2 × presence.heartbeat_ms ({heartbeat})"),
        );
        let (http, peer) = (&self.http.listen, &self.peer.listen);
        demand(
            http != peer || http.ends_with(":0"),
            ["http.listen", "peer.listen"],
            format!("http.listen ({http:?}) must be another address than peer.listen ({peer:?})"),
        );
        let ops = self.http.ops_listen.as_ref();
        demand(
            ops != Some(peer) || peer.ends_with(":0"),
            ["http.ops_listen", "peer.listen"],
            format!("http.ops_listen ({peer:?}) must be another address than peer.listen ({peer:?})"),
        );
        violations
    }

    /// Other nodes cannot dial "every address of this machine".
    fn unreachable_peer(&self) -> Option<Violation> {
        let (listen, join) = (&self.peer.listen, &self.cluster.join);
        let everywhere = ["0.0.0.0:", "[::]:"].iter().any(|any| listen.starts_with(any));
        if !everywhere || join.is_empty() || self.peer.advertise.is_some() {
            return None;
        }
        let rule = format!(
            "peer.listen ({listen:?}) is no address that others can dial: peer.advertise (none) must be given with cluster.join ({join:?})"
        );
        Some(Violation { keys: vec!["peer.listen", "peer.advertise", "cluster.join"], rule })
    }

    fn bad_keys(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut refuse = |rule: String| violations.push(Violation { keys: vec!["auth.keys"], rule });
        let mut seen = BTreeSet::new();
        for (i, key) in self.auth.keys.iter().enumerate() {
            let kid = &key.kid;
            if kid.is_empty() || kid.len() > KID_MAX_BYTES || !kid.bytes().all(|b| b.is_ascii_graphic()) {
                refuse(format!("auth.keys[{i}].kid ({kid:?}) must be 1 to {KID_MAX_BYTES} visible ASCII characters"));
            }
            if !seen.insert(kid) {
                refuse(format!("auth.keys[{i}].kid ({kid:?}) must be unique; an earlier key has it"));
            }
            if key.file.as_os_str().is_empty() {
                refuse(format!("auth.keys[{i}].file (\"\") must be a path"));
            }
            if key.scopes.is_empty() {
                refuse(format!("auth.keys[{i}].scopes ([]) must name at least one scope"));
            }
            if kid == "local" && self.auth.key_file.is_some() {
                refuse(format!("auth.keys[{i}].kid (\"local\") must not be \"local\" when auth.key_file is given"));
            }
        }
        let default: Vec<&str> = self.auth.keys.iter().filter(|k| k.default).map(|k| k.kid.as_str()).collect();
        if let [first, second, ..] = default[..] {
            refuse(format!(
                "auth.keys: at most one key may be the default; {first:?} and {second:?} both have default = true"
            ));
        }
        violations
    }
}

/// The files of a certificate come together or not at all.
fn bad_certificates(files: &[(&'static str, &Option<PathBuf>)]) -> Option<Violation> {
    let given = files.iter().filter(|(_, file)| file.is_some()).count();
    if given == 0 || given == files.len() {
        return None;
    }
    let value = |file: &Option<PathBuf>| file.as_ref().map_or_else(|| "none".into(), |f| format!("{f:?}"));
    let found: Vec<String> = files.iter().map(|(key, file)| format!("{key} ({})", value(file))).collect();
    let rule = format!("{} must be given together or not at all", found.join(", "));
    Some(Violation { keys: files.iter().map(|(key, _)| *key).collect(), rule })
}

/// Longest `kid`, bytes: it stands in every token's header.
const KID_MAX_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Algorithm, AuthKey, Scope};

    fn refusal(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn a_refusal_names_both_values_and_the_rule() {
        assert_eq!(
            refusal(|s| s.cluster.election_ms = 300),
            "cluster.election_ms (300) must be at least 3 × cluster.heartbeat_ms (200)"
        );
        assert_eq!(
            refusal(|s| s.presence.session_ttl_ms = 60_000),
            "presence.session_ttl_ms (60000) must be more than 2 × presence.heartbeat_ms (30000)"
        );
        assert_eq!(
            refusal(|s| s.peer.listen = "127.0.0.1:7700".into()),
            "http.listen (\"127.0.0.1:7700\") must be another address than peer.listen (\"127.0.0.1:7700\")"
        );
    }

    #[test]
    fn a_node_that_joins_says_where_it_can_be_dialled() {
        let join = |s: &mut Settings| {
            s.peer.listen = "0.0.0.0:7701".into();
            s.cluster.join = vec!["10.0.0.1:7701".into()];
        };
        let refusal = refusal(join);
        assert!(refusal.contains("\"0.0.0.0:7701\"") && refusal.contains("10.0.0.1:7701"), "{refusal}");
        let mut settings = Settings::default();
        join(&mut settings);
        settings.peer.advertise = Some("10.0.0.2:7701".into());
        assert_eq!(settings.validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bound() {
        assert_eq!(refusal(|s| s.cluster.partitions = 1_025), "cluster.partitions (1025) must be 1 to 1024");
        assert_eq!(refusal(|s| s.cluster.partitions = 0), "cluster.partitions (0) must be 1 to 1024");
        assert_eq!(refusal(|s| s.cluster.replication = 2), "cluster.replication (2) must be 1 or 3");
        assert_eq!(refusal(|s| s.presence.grace_ms = 3_600_001), "presence.grace_ms (3600001) must be 0 to 3600000 ms");
        assert_eq!(refusal(|s| s.http.listen = "7700".into()), "http.listen (\"7700\") must be host:port");
        assert_eq!(
            refusal(|s| s.node.name = "node one".into()),
            "node.name (\"node one\") must be 1 to 64 bytes of A-Z a-z 0-9 . _ -"
        );
        assert!(refusal(|s| s.cluster.join = vec!["n2".into()]).starts_with("cluster.join ([\"n2\"]) must be"));
        assert!(refusal(|s| s.http.allowed_origins = vec!["https://a/".into()]).starts_with("http.allowed_origins ("));
    }

    #[test]
    fn every_broken_rule_is_named_at_once() {
        let refusal = refusal(|s| {
            s.limits.sessions = 0;
            s.cluster.replication = 5;
            s.log.filter = String::new();
        });
        assert_eq!(refusal.lines().count(), 3, "{refusal}");
    }

    #[test]
    fn the_files_of_a_certificate_come_together() {
        let alone = refusal(|s| s.http.certificate = Some("c.pem".into()));
        assert_eq!(alone, "http.certificate (\"c.pem\"), http.private_key (none) must be given together or not at all");
        assert!(refusal(|s| s.peer.private_key = Some("k".into())).contains("peer.authorities (none)"));
    }

    #[test]
    fn keys_have_one_name_each_and_one_default_at_most() {
        let key = |kid: &str, default| AuthKey {
            kid: kid.into(),
            algorithm: Algorithm::HS256,
            file: "k".into(),
            scopes: vec![Scope::User],
            default,
        };
        assert!(refusal(|s| s.auth.keys = vec![key("a", false), key("a", false)]).contains("must be unique"));
        assert!(refusal(|s| s.auth.keys = vec![key("a", true), key("b", true)]).contains("\"a\" and \"b\""));
        assert!(refusal(|s| s.auth.keys = vec![key("", false)]).contains("auth.keys[0].kid (\"\")"));
        let both = refusal(|s| {
            s.auth.keys = vec![key("local", false)];
            s.auth.key_file = Some("k".into());
        });
        assert!(both.contains("auth.key_file"), "{both}");
    }
}
