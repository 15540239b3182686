//! The page that says where each sentence of the contract is tested names tests that exist, and all of the suite.
//!
//! Reads sources and `docs/contract.md`; nothing is built or run.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where the tests stand that the page may name.
const FOLDERS: [&str; 4] = ["tests/tests", "api/tests", "node/tests", "cluster/tests"];

/// What a row says instead of a test.
const NOT_TESTED: &str = "not tested: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all tests in the Rust files under `folder`.
fn tests(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.append(&mut tests(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.extend(tests_of(&fs::read_to_string(&path).expect("a source")));
        }
    }
    found
}

/// The names of functions that stand behind a `#[test]` or `#[tokio::test…]`.
fn tests_of(source: &str) -> Vec<String> {
    let behind = source.split("#[test]").skip(1).chain(source.split("#[tokio::test").skip(1));
    let name = |rest: &str| Some(rest.split_once("fn ")?.1.split_once('(')?.0.to_owned());
    behind.filter_map(name).collect()
}

/// The last cell of each row of the page's tables.
fn cells(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && *line != "| what it says | tests |");
    rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next()).collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/contract.md")).expect("the page")
}

#[test]
fn every_row_of_the_page_names_tests_that_exist_or_says_why_none() {
    let existing: BTreeSet<String> = FOLDERS.iter().flat_map(|folder| tests(&root().join(folder))).collect();
    let page = page();
    let cells = cells(&page);
    assert!(cells.len() > 100, "{} rows", cells.len());
    for cell in cells {
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let why = cell.strip_prefix(NOT_TESTED).is_some_and(|why| !why.is_empty());
        assert!(why || !named.is_empty(), "neither a test nor a reason: {cell}");
        for name in named.into_iter().filter(|_| !why) {
            assert!(existing.contains(name), "no test is called {name}");
        }
    }
}

#[test]
fn every_test_of_the_suite_is_on_the_page() {
    let page = page();
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let suite = tests(&root().join("tests/tests/contract"));
    assert!(suite.len() > 200, "{} tests", suite.len());
    let missing: Vec<&String> = suite.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/contract.md does not name {missing:#?}");
}

#[test]
fn tests_are_found_by_their_attributes() {
    let source = "#[tokio::test(flavor = \"x\")]\nasync fn one() {}\n#[test]\nfn two() {}\nfn three() {}";
    assert_eq!(tests_of(source), ["two", "one"]);
    assert_eq!(cells("| what it says | tests |\n|---|---|\n| a | `b`, `c` |"), ["`b`, `c`"]);
}
