//! Which crate may use which, and what the pages name, as the architecture has it.
//!
//! Reads manifests, sources and pages of this repository; nothing is built or run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a crate must never use, and the crates of ours that it may.
struct Rule {
    folder: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

/// `presence ← config ← {cluster, api} ← node ← tests`.
const RULES: [Rule; 6] = [
    Rule { folder: "presence", ours: &[], never: &["tokio", "ractor", "openraft", "sled", "axum", "std"] },
    Rule { folder: "config", ours: &["rollcall-presence"], never: &["tokio", "ractor", "openraft", "sled", "axum"] },
    Rule { folder: "cluster", ours: &["rollcall-presence", "rollcall-config"], never: &["axum", "ractor"] },
    Rule { folder: "api", ours: &["rollcall-presence", "rollcall-config"], never: &["openraft", "sled", "ractor"] },
    Rule {
        folder: "node",
        ours: &["rollcall-presence", "rollcall-config", "rollcall-cluster", "rollcall-api"],
        never: &["axum", "sled"],
    },
    Rule {
        folder: "tests",
        ours: &["rollcall-presence", "rollcall-config", "rollcall-cluster", "rollcall-api", "rollcall-node"],
        never: &[],
    },
];

/// The only crates that the pure rules may stand on.
const PURE: [&str; 4] = ["bincode", "serde", "siphasher", "thiserror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// The crates that `folder`'s manifest names in `table`.
fn dependencies(folder: &str, table: &str) -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(&read(root().join(folder).join("Cargo.toml"))).unwrap();
    manifest.get(table).and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

/// All Rust files under `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Whether a line of code names the crate `name`: as the beginning of a path, or by `use` alone.
fn names(line: &str, name: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    let path = format!("{name}::");
    let begins_word = |at: usize| {
        !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') || code[..at].ends_with(" ::")
    };
    code.match_indices(&path).any(|(at, _)| begins_word(at))
        || [";", " as "].iter().any(|end| code.contains(&format!("use {name}{end}")))
}

/// The manifests of all crates and the root's.
fn manifests() -> Vec<PathBuf> {
    let folders = ["", "presence", "config", "cluster", "api", "node", "tests"];
    folders.into_iter().map(|folder| root().join(folder).join("Cargo.toml")).collect()
}

#[test]
fn no_manifest_names_what_its_crate_must_never_use() {
    for Rule { folder, ours, never } in &RULES {
        for table in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for dependency in dependencies(folder, table) {
                let allowed = !dependency.starts_with("rollcall-") || ours.contains(&dependency.as_str());
                assert!(allowed, "{folder} stands below {dependency}");
                assert!(!never.contains(&dependency.as_str()), "{folder} must never use {dependency}");
            }
        }
    }
}

#[test]
fn no_line_names_what_its_crate_must_never_use() {
    let all = ["rollcall-presence", "rollcall-config", "rollcall-cluster", "rollcall-api", "rollcall-node"];
    for Rule { folder, ours, never } in &RULES {
        let foreign = all.iter().filter(|name| !ours.contains(name) && !name.ends_with(&format!("-{folder}")));
        let forbidden: Vec<String> = never.iter().chain(foreign).map(|name| name.replace('-', "_")).collect();
        for file in sources(&root().join(folder).join("src")) {
            for (number, line) in read(&file).lines().enumerate() {
                let used = forbidden.iter().find(|name| names(line, name));
                assert!(used.is_none(), "{}:{}: {folder} must never use {used:?}", file.display(), number + 1);
            }
        }
    }
}

#[test]
fn a_line_that_names_a_crate_is_recognised() {
    for line in
        ["use sled::Db;", "    sled::open(p)", "use {sled::Db};", "use sled;", "Box<sled::Db>", "x = ::sled::Db"]
    {
        assert!(names(line, "sled"), "{line}");
    }
    for line in ["// sled::Db", "use crate::sled::Db;", "use assled::Db;", "/// sled::Db", "let sled = 1;"] {
        assert!(!names(line, "sled"), "{line}");
    }
}

#[test]
fn the_rules_stand_on_a_few_pure_crates_and_without_std() {
    let used = dependencies("presence", "dependencies");
    assert!(used.iter().all(|d| PURE.contains(&d.as_str())), "{used:?}");
    assert!(read(root().join("presence/src/lib.rs")).contains("\n#![no_std]\n"));
}

#[test]
fn every_version_stands_in_the_root_manifest_only() {
    for Rule { folder, .. } in &RULES {
        let manifest: toml::Table = toml::from_str(&read(root().join(folder).join("Cargo.toml"))).unwrap();
        for table in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                assert_eq!(value.get("workspace"), Some(&toml::Value::Boolean(true)), "{folder}: {name}");
            }
        }
    }
}

/// Longest source file, lines: it is read from top to bottom.
const FILE_MAX_LINES: usize = 400;

#[test]
fn every_file_says_what_it_owns_and_is_short_enough_to_be_read() {
    for Rule { folder, .. } in &RULES {
        for file in sources(&root().join(folder)) {
            let text = read(&file);
            assert!(text.starts_with("//! "), "{} must begin with what it owns", file.display());
            let lines = text.lines().count();
            assert!(lines <= FILE_MAX_LINES, "{} has {lines} lines of {FILE_MAX_LINES} at most", file.display());
        }
    }
}

/// The paths that a page names in backticks: with a slash in it, of this repository's alphabet, not of a URL.
fn paths(page: &str) -> Vec<&str> {
    let is_path = |token: &&str| {
        token.contains('/')
            && !token.starts_with(['/', '.'])
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
    };
    page.split('`').skip(1).step_by(2).filter(is_path).collect()
}

#[test]
fn the_pages_name_only_what_is_there() {
    let mut named = 0;
    for page in ["README.md", "docs/ARCHITECTURE.md"] {
        let text = read(root().join(page));
        for path in paths(&text).into_iter().filter(|path| *path != "blobs/") {
            assert!(root().join(path).exists(), "{page} names {path}, which is not there");
            named += 1;
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let at = root().join(page).parent().unwrap().join(link);
            assert!(link.starts_with("https://") || at.exists(), "{page} links to {link}, which is not there");
        }
    }
    assert!(named > 20, "the pages name folders and files");
}

/// The functions of all crates' sources, tests included.
fn functions() -> BTreeSet<String> {
    let folders = ["presence", "config", "cluster", "api", "node", "tests"];
    let lines = folders.iter().flat_map(|folder| sources(&root().join(folder))).map(read);
    let lines: Vec<String> = lines.collect();
    let named = lines.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ");
        Some(line.strip_prefix("fn ")?.split(['(', '<']).next()?.to_owned())
    });
    named.collect()
}

#[test]
fn the_pages_of_proofs_name_only_tests_that_are_there() {
    let functions = functions();
    let mut named = 0;
    for page in ["docs/security.md"] {
        let text = read(root().join(page));
        let is_sentence = |token: &&str| {
            token.matches('_').count() >= 3 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        for token in text.split('`').skip(1).step_by(2).filter(is_sentence) {
            assert!(functions.contains(token), "{page} names {token}, which is not there");
            named += 1;
        }
    }
    assert!(named > 30, "the page names tests");
}

#[test]
fn every_dependency_is_named_in_a_decision() {
    let manifest: toml::Table = toml::from_str(&read(root().join("Cargo.toml"))).unwrap();
    let table = manifest["workspace"]["dependencies"].as_table().unwrap();
    let records = fs::read_dir(root().join("docs/decisions")).unwrap();
    let records: String = records.map(|entry| read(entry.unwrap().path())).collect();
    for name in table.keys().filter(|name| !name.starts_with("rollcall-")) {
        assert!(records.contains(&format!("`{name}`")), "no decision record names {name}");
    }
}

#[test]
fn planted_faults_are_in_no_program_unless_asked_for() {
    for manifest in manifests() {
        let parsed: toml::Table = toml::from_str(&read(&manifest)).unwrap();
        let features = parsed.get("features").and_then(toml::Value::as_table);
        assert!(features.is_none_or(|f| !f.contains_key("default")), "{} has default features", manifest.display());
        // A dependency that turned them on would do so for the program, too.
        let declared = |line: &&str| line.starts_with("planted-faults = [") || line.starts_with("required-features = ");
        let text = read(&manifest);
        let mut lines = text.lines().filter(|l| !l.starts_with('#') && l.contains("planted-faults"));
        assert!(lines.all(|line| declared(&line)), "{} turns the planted faults on", manifest.display());
    }
}

#[test]
fn every_decision_says_context_measurement_choice_and_what_was_given_up() {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = read(&path);
        for part in ["\n## Context\n", "\n## Measurement\n", "\n## Choice\n", "\n## Given up\n"] {
            assert!(text.contains(part), "{name} lacks {part:?}");
        }
        let number: u32 = name[..4].parse().unwrap();
        assert!(text.starts_with(&format!("# {number:04}: ")), "{name} must begin with its number");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(1..=u32::try_from(numbers.len()).unwrap()), "numbers follow one another");
}
