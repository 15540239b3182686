//! `rollcall replay` on a trace small enough to be counted by hand.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Piped, Server};
use std::{fs, sync::OnceLock};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

/// `source target seconds`. 1 has sessions 0 to 300 and 2,000 to 2,300, 2 one from 100 to 1,200 (700 s of silence do not
/// end it), 3 one from 2,100 to 2,400. Friends: 1 and 2, 1 and 3, 2 and 3.
const TRACE: &str = "1\t2\t0\n2\t1\t100\n2\t3\t900\n1\t2\t2000\n3\t1\t2100\n";
/// 2 comes and 1 goes while the other is there; 3 comes and 1 goes while the other is there.
const NOTIFICATIONS: &str = "4";

fn play(args: &[&str]) -> Piped {
    let url = format!("http://{}", server().address);
    let key = server().data.join("auth.key").display().to_string();
    let mut all = vec!["replay"];
    all.extend(args);
    all.extend(["--url", &url, "--auth-key", &key]);
    Piped::start(&server().directory, &all, &[])
}

/// Whether a line of the report has this word and this figure.
fn reports(printed: &str, word: &str, figure: &str) -> bool {
    let figures = |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == figure);
    printed.lines().any(|line| line.to_lowercase().contains(word) && figures(line))
}

#[test]
fn a_small_trace_is_played_without_a_difference() {
    let file = server().directory.join("trace.tsv");
    fs::write(&file, TRACE).expect("a trace");
    let file = file.display().to_string();
    for mode in [["--lockstep"].as_slice(), &["--fast"], &["--speed", "2000"], &[]] {
        let mut args = vec![file.as_str()];
        args.extend(mode);
        let mut replay = play(&args);
        assert_eq!(replay.end().code(), Some(0), "{mode:?}: {}", replay.output);
        let printed = replay.output.to_string();
        for (word, figure) in
            [("sessions", "4"), ("transitions", "8"), ("missing", "0"), ("duplicated", "0"), ("out of order", "0")]
        {
            assert!(reports(&printed, word, figure), "{mode:?}: no {word} {figure} in\n{printed}");
        }
        if mode.first().is_none_or(|m| *m == "--lockstep") {
            assert!(reports(&printed, "expected", NOTIFICATIONS), "{mode:?}:\n{printed}");
            assert!(reports(&printed, "received", NOTIFICATIONS), "{mode:?}:\n{printed}");
        }
    }
}

#[test]
fn a_trace_that_cannot_be_read_is_refused_with_its_line() {
    let file = server().directory.join("broken.tsv");
    fs::write(&file, "1\t2\t0\n1\t2\tnoon\n").expect("a trace");
    let mut replay = play(&[&file.display().to_string()]);
    let code = replay.end().code();
    assert!(matches!(code, Some(1 | 2)), "{}", replay.output);
    assert!(replay.output.err().contains('2'), "the line's number: {}", replay.output);
    let mut missing = play(&["no-such-file.tsv"]);
    assert!(matches!(missing.end().code(), Some(1 | 2)), "{}", missing.output);
    assert!(missing.output.err().contains("no-such-file.tsv"), "{}", missing.output);
}

#[test]
fn a_synthetic_trace_is_played_without_a_difference() {
    let mut replay = play(&["--synthetic", "60", "--seed", "7", "--fast"]);
    assert_eq!(replay.end().code(), Some(0), "{}", replay.output);
    assert!(reports(&replay.output.to_string(), "missing", "0"), "{}", replay.output);
}
