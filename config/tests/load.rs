//! Settings are loaded in their order, with origins, and refused by name and place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rollcall_config::{LoadError, Loaded, Origin, Override, Scope, Settings, load};
use std::{ffi::OsString, fs, path::PathBuf};
use tempfile::TempDir;

struct File {
    _dir: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rollcall.toml");
    fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn option(option: &'static str, key: &'static str, value: &str) -> Override {
    Override { option, key, value: value.into() }
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    load(None, variables(pairs), [])
}

#[test]
fn nothing_given_is_all_defaults() {
    let loaded = load(None, variables(&[("PATH", "/bin"), ("HOME", "/")]), []).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.effective.iter().all(|e| e.origin == Origin::Default));
}

#[test]
fn file_environment_and_options_win_in_this_order() {
    let file = file(
        "[presence]\ngrace_ms = 1\nflush_ms = 1\nping_interval_ms = 60\nvisibility = 'everyone'\n[node]\nname = 'file'\n",
    );
    let environment = variables(&[("ROLLCALL_PRESENCE__FLUSH_MS", "2"), ("ROLLCALL_NODE__NAME", "77")]);
    let loaded = load(Some(&file.path), environment, [option("--name", "node.name", "option")]).unwrap();
    assert_eq!(loaded.settings.presence.grace_ms, 1);
    assert_eq!(loaded.settings.presence.flush_ms, 2);
    assert_eq!(loaded.settings.node.name, "option");
    assert_eq!(loaded.origin("presence.grace_ms"), Some(&Origin::File(file.path.clone())));
    assert_eq!(loaded.origin("presence.heartbeat_ms").unwrap().to_string(), "default");
    assert_eq!(loaded.origin("presence.flush_ms").unwrap().to_string(), "environment ROLLCALL_PRESENCE__FLUSH_MS");
    assert_eq!(loaded.origin("node.name").unwrap().to_string(), "option --name");
    let visibility = loaded.effective.iter().find(|e| e.key == "presence.visibility").unwrap();
    assert_eq!(visibility.value, "\"everyone\"");
}

#[test]
fn a_text_that_looks_like_a_number_stays_a_text() {
    let loaded = from_environment(&[("ROLLCALL_NODE__NAME", "77"), ("ROLLCALL_AUTH__ISSUER", "true")]).unwrap();
    assert_eq!(loaded.settings.node.name, "77");
    assert_eq!(loaded.settings.auth.issuer.as_deref(), Some("true"));
}

#[test]
fn lists_are_arrays_or_separated_by_commas() {
    let loaded = load(
        None,
        variables(&[("ROLLCALL_HTTP__ALLOWED_ORIGINS", r#"["https://a.example", "http://localhost:3000"]"#)]),
        [option("--join", "cluster.join", "10.0.0.1:7701,10.0.0.2:7701")],
    )
    .unwrap();
    assert_eq!(loaded.settings.http.allowed_origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(loaded.settings.cluster.join, ["10.0.0.1:7701", "10.0.0.2:7701"]);
    let none = from_environment(&[("ROLLCALL_HTTP__ALLOWED_ORIGINS", "")]).unwrap();
    assert!(none.settings.http.allowed_origins.is_empty());
}

#[test]
fn keys_come_from_files_and_from_the_environment() {
    let text =
        "[[auth.keys]]\nkid = 'a'\nalgorithm = 'EdDSA'\nfile = 'a.pem'\nscopes = ['user', 'admin']\ndefault = true\n";
    let loaded = load(Some(&file(text).path), [], []).unwrap();
    let [key] = &loaded.settings.auth.keys[..] else { panic!("one key") };
    assert!(key.default && key.scopes == [Scope::User, Scope::Admin]);
    let inline = r#"[{kid = "b", algorithm = "HS256", file = "b.key"}]"#;
    let loaded = from_environment(&[("ROLLCALL_AUTH__KEYS", inline)]).unwrap();
    assert_eq!(loaded.settings.auth.keys[0].kid, "b");
    assert_eq!(loaded.settings.auth.keys[0].scopes, [Scope::User]);
}

#[test]
fn an_empty_variable_takes_an_optional_setting_back() {
    let file = file("[auth]\nissuer = 'somebody'\n");
    let loaded = load(Some(&file.path), variables(&[("ROLLCALL_AUTH__ISSUER", "")]), []).unwrap();
    assert_eq!(loaded.settings.auth.issuer, None);
    assert_eq!(loaded.origin("auth.issuer").unwrap().to_string(), "environment ROLLCALL_AUTH__ISSUER");
}

#[test]
fn client_variables_are_no_settings() {
    let loaded = from_environment(&[("ROLLCALL_URL", "http://x"), ("ROLLCALL_TOKEN", "t")]).unwrap();
    assert_eq!(loaded.settings, Settings::default());
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let bad = file("[presence]\ngrace = 5\n");
    let refusal = load(Some(&bad.path), [], []).unwrap_err().to_string();
    assert!(refusal.starts_with(&format!("unknown setting presence.grace (file {})", bad.path.display())), "{refusal}");
    assert!(refusal.contains("[presence] has grace_ms, session_ttl_ms"), "{refusal}");
    let refusal = load(Some(&file("[presense]\ngrace_ms = 5\n").path), [], []).unwrap_err().to_string();
    assert!(refusal.starts_with("unknown setting presense (file"), "{refusal}");
    let refusal = load(Some(&file("node = 5\n").path), [], []).unwrap_err().to_string();
    assert!(refusal.starts_with("unknown setting node (file"), "{refusal}");
    for name in ["ROLLCALL_PRESENCE__GRACE", "ROLLCALL_GRACE_MS", "ROLLCALL_PRESENCE_GRACE_MS", "ROLLCALL_"] {
        let refusal = from_environment(&[(name, "5")]).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(environment {name})")), "{refusal}");
    }
    let key = "[[auth.keys]]\nkid = 'a'\nalgorithm = 'EdDSA'\nfile = 'a.pem'\nscope = ['user']\n";
    let refusal = load(Some(&file(key).path), [], []).unwrap_err().to_string();
    assert!(refusal.contains("scope") && refusal.contains("auth.keys") && refusal.contains("file"), "{refusal}");
}

#[test]
fn a_value_of_another_type_is_named_with_its_place() {
    for (name, value) in [
        ("ROLLCALL_PRESENCE__GRACE_MS", "soon"),
        ("ROLLCALL_PRESENCE__GRACE_MS", "-1"),
        ("ROLLCALL_PRESENCE__GRACE_MS", "1\npartitions = 2"),
        ("ROLLCALL_PRESENCE__VISIBILITY", "nobody"),
        ("ROLLCALL_CLUSTER__PARTITIONS", "70000"),
        ("ROLLCALL_HTTP__ALLOWED_ORIGINS", "[1, 2]"),
        ("ROLLCALL_AUTH__KEYS", "a,b"),
    ] {
        let refusal = from_environment(&[(name, value)]).unwrap_err().to_string();
        assert!(refusal.contains(name), "{name}={value}: {refusal}");
        let key = name.trim_start_matches("ROLLCALL_").replace("__", ".").to_lowercase();
        assert!(refusal.contains(&key), "{refusal}");
    }
    let bad = file("[http]\nlisten = 7700\n");
    let refusal = load(Some(&bad.path), [], []).unwrap_err().to_string();
    assert!(refusal.starts_with("http.listen (file "), "{refusal}");
}

#[test]
fn a_broken_rule_says_where_the_values_come_from() {
    let refusal = from_environment(&[("ROLLCALL_CLUSTER__ELECTION_MS", "300")]).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "cluster.election_ms (300) must be at least 3 × cluster.heartbeat_ms (200)\n  \
         cluster.election_ms comes from environment ROLLCALL_CLUSTER__ELECTION_MS"
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_refused() {
    let missing = PathBuf::from("there-is-no-such-file.toml");
    assert!(matches!(load(Some(&missing), [], []), Err(LoadError::Unreadable { .. })));
    let refusal = load(Some(&file("[presence\n").path), [], []).unwrap_err().to_string();
    assert!(refusal.contains("is not TOML") && refusal.contains("line 1"), "{refusal}");
}

#[test]
fn a_default_heartbeat_follows_a_shorter_ttl() {
    let loaded = from_environment(&[("ROLLCALL_PRESENCE__SESSION_TTL_MS", "1500")]).unwrap();
    assert_eq!(loaded.settings.presence.heartbeat_ms, 500);
    assert_eq!(
        loaded.origin("presence.heartbeat_ms").unwrap().to_string(),
        "default, following presence.session_ttl_ms"
    );
    let both = [("ROLLCALL_PRESENCE__SESSION_TTL_MS", "1500"), ("ROLLCALL_PRESENCE__HEARTBEAT_MS", "750")];
    let refusal = from_environment(&both).unwrap_err().to_string();
    assert!(refusal.contains("session_ttl_ms (1500) must be more than 2 × presence.heartbeat_ms (750)"), "{refusal}");
}

#[test]
fn certificates_of_peers_come_together_or_not_at_all() {
    let refusal = from_environment(&[("ROLLCALL_PEER__CERTIFICATE", "peer.pem")]).unwrap_err().to_string();
    let rule =
        "peer.certificate (\"peer.pem\"), peer.private_key (none), peer.authorities (none) must be given together";
    assert!(refusal.starts_with(rule), "{refusal}");
    let all = ["CERTIFICATE", "PRIVATE_KEY", "AUTHORITIES"].map(|name| format!("ROLLCALL_PEER__{name}"));
    let all: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), "file.pem")).collect();
    assert!(from_environment(&all).is_ok());
}
