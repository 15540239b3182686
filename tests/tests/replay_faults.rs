//! `rollcall replay --through-faults`: a node is killed in the middle of a play, more than once, and started again.
//!
//! The replay is the judge here: every acknowledged opening and ending is in the histories, versions never fall at any
//! watcher over all its connections, and whoever comes back with the versions it holds is shown exactly what is newer.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Piped, Server, eventually};
use std::fs;

/// People of the play; all are online at midday.
const PEOPLE: &str = "200";
/// So many sessions stand when the node is killed: each time in the middle of openings, endings and flaps.
const KILLED_AT_SESSIONS: [u64; 3] = [30, 90, 150];
/// Short enough that the sessions of openings without an answer end while the test waits, long enough for a restart.
const GRACE_MS: u64 = 3_000;

/// The first figure in the line of the report that begins with `word`.
fn figure(printed: &str, word: &str) -> Option<u64> {
    let line = printed.lines().find(|line| line.trim_start().starts_with(word))?;
    let digits = |part: &str| part.replace(',', "").parse().ok();
    line.split(|c: char| !(c.is_ascii_digit() || c == ',')).find_map(digits)
}

fn replay(server: &Server, args: &[&str]) -> Piped {
    let url = format!("http://{}", server.address);
    let key = server.data.join("auth.key").display().to_string();
    let mut all = vec!["replay"];
    all.extend(args);
    all.extend(["--url", &url, "--auth-key", &key]);
    Piped::start(&server.directory, &all, &[])
}

#[tokio::test]
async fn a_node_killed_in_the_middle_of_a_replay_loses_nothing_that_was_acknowledged() {
    let mut server = Server::launch().set("presence.grace_ms", GRACE_MS).start();
    let mut replay = replay(&server, &["--synthetic", PEOPLE, "--fast", "--through-faults"]);
    for sessions in KILLED_AT_SESSIONS {
        let admin = server.admin();
        eventually(&format!("{sessions} sessions"), async || {
            assert!(!replay.output.is_closed(), "the play is over already:\n{}", replay.output);
            let status = admin.get("/v1/cluster/status").await.must(200);
            status["nodes"][0]["sessions"].as_u64().filter(|s| *s >= sessions)
        })
        .await;
        server.restart_in_place();
    }
    assert_eq!(replay.end().code(), Some(0), "{}", replay.output);
    let printed = replay.output.to_string();
    assert!(printed.contains("no difference"), "{printed}");
    let most = KILLED_AT_SESSIONS.into_iter().max().expect("kills");
    assert!(figure(&printed, "reconnects").is_some_and(|n| n >= most), "{printed}");
    for word in ["missing", "duplicated", "out of order", "wrong", "lost connections", "failed requests"] {
        assert_eq!(figure(&printed, word), Some(0), "{word} in\n{printed}");
    }
}

#[tokio::test]
async fn without_the_option_a_killed_node_is_a_difference() {
    let mut server = Server::launch().start();
    let mut replay = replay(&server, &["--synthetic", "40", "--speed", "20000"]);
    let admin = server.admin();
    eventually("a session", async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        status["nodes"][0]["sessions"].as_u64().filter(|s| *s > 0)
    })
    .await;
    server.restart_in_place();
    assert_eq!(replay.end().code(), Some(1), "{}", replay.output);
}

#[test]
fn a_play_that_waits_for_each_sight_takes_no_faults() {
    let server = Server::launch().start();
    fs::write(server.directory.join("trace.tsv"), "1\t2\t0\n").expect("a trace");
    for pace in [&["--lockstep"][..], &[]] {
        let mut args = vec!["trace.tsv", "--through-faults"];
        args.extend(pace);
        assert_eq!(replay(&server, &args).end().code(), Some(2), "{pace:?}");
    }
}
