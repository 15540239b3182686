//! The reference page and the example file say what the code does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rollcall_config::{Settings, load, reference, table::table};
use std::{fs, path::Path};

const AGAIN: &str = "run: cargo run -p rollcall-config --example write_reference";

fn in_repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_reference_page_is_what_the_declarations_say() {
    assert!(in_repository("../docs/settings.md") == reference::page(), "docs/settings.md is old; {AGAIN}");
}

#[test]
fn the_example_file_is_what_the_declarations_say() {
    assert!(in_repository("rollcall.example.toml") == reference::example(), "the example file is old; {AGAIN}");
}

#[test]
fn the_example_file_loads_as_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rollcall.example.toml");
    assert_eq!(load(Some(&path), [], []).unwrap().settings, Settings::default());
}

#[test]
fn what_the_example_file_comments_out_loads_too() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("rollcall.toml");
    let is_setting = |line: &str| line.starts_with('[') || line.split(' ').nth(1) == Some("=");
    let uncommented: Vec<String> = in_repository("rollcall.example.toml")
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line).to_owned())
        .collect();
    fs::write(&path, uncommented.join("\n")).unwrap();
    let loaded = load(Some(&path), [], []).unwrap();
    assert_eq!(loaded.settings.auth.keys.len(), 1);
    assert!(loaded.effective.iter().all(|e| e.value != "none"), "every optional setting has an example");
}

#[test]
fn every_setting_stands_in_page_and_example() {
    let (page, example) = (in_repository("../docs/settings.md"), in_repository("rollcall.example.toml"));
    for row in table() {
        let default = reference::default_of(row);
        assert!(page.contains(&format!("| `{}` | `{default}` |", row.key)), "{}", row.key);
        assert!(example.contains(row.what.trim()) || row.key == "auth.keys", "{}", row.key);
    }
}
