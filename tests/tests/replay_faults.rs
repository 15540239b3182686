//! `rollcall replay --through-faults`: a node is killed in the middle of a play, more than once, and started again.
//!
//! The replay is the judge here: every acknowledged opening and ending is in the histories, versions never fall at any
//! watcher over all its connections, and whoever comes back with the versions it holds is shown exactly what is newer.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Piped, Server};
use std::{thread, time::Duration};

/// Kills in one play, each in another phase of it.
const KILLS: usize = 3;
/// How long a node lives between two of them; the play must be well under way by then.
const LIFE: Duration = Duration::from_millis(1_500);
/// Short enough that the sessions of openings without an answer end while the test waits, long enough for a restart.
const GRACE_MS: u64 = 3_000;

/// The first figure in the line of the report that begins with `word`.
fn figure(printed: &str, word: &str) -> Option<u64> {
    let line = printed.lines().find(|line| line.trim_start().starts_with(word))?;
    let digits = |part: &str| part.replace(',', "").parse().ok();
    line.split(|c: char| !(c.is_ascii_digit() || c == ',')).find_map(digits)
}

#[test]
fn a_node_killed_in_the_middle_of_a_replay_loses_nothing_that_was_acknowledged() {
    let mut server = Server::launch().set("presence.grace_ms", GRACE_MS).start();
    let url = format!("http://{}", server.address);
    let key = server.data.join("auth.key").display().to_string();
    let args =
        ["replay", "--synthetic", "200", "--speed", "8000", "--through-faults", "--url", &url, "--auth-key", &key];
    let mut replay = Piped::start(&server.directory, &args, &[]);
    for _ in 0..KILLS {
        thread::sleep(LIFE);
        assert!(!replay.output.is_closed(), "the play was over before the node was killed:\n{}", replay.output);
        server.restart_in_place();
    }
    assert_eq!(replay.end().code(), Some(0), "{}", replay.output);
    let printed = replay.output.to_string();
    assert!(printed.contains("no difference"), "{printed}");
    assert!(figure(&printed, "reconnects").is_some_and(|n| n > 0), "{printed}");
    for word in ["missing", "duplicated", "out of order", "wrong", "lost connections", "failed requests"] {
        assert_eq!(figure(&printed, word), Some(0), "{word} in\n{printed}");
    }
}
