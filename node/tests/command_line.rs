//! The program's command line, without any server: what it takes, what it refuses, and with which exit code.
//!
//! Cargo builds a package's program along with its integration tests only, and with the features of the whole run. So it
//! is this file that puts the program beside the tests of the workspace that start it.

use std::process::{Command, Output};

fn rollcall(args: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_rollcall")).args(args).output();
    run.unwrap_or_else(|e| panic!("rollcall {args:?}: {e}"))
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = rollcall(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(printed(&output).trim(), concat!("rollcall ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_every_command_that_works() {
    let help = printed(&rollcall(&["--help"]));
    for command in ["serve", "connect", "watch", "token", "config", "replay"] {
        assert!(help.contains(command), "no {command} in:\n{help}");
    }
}

#[test]
fn unknown_words_are_bad_usage() {
    for args in [["--no-such-option"].as_slice(), &["dance"], &["serve", "--partitions", "8"], &["token"]] {
        let output = rollcall(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
