//! `rollcall bench` on a few people: what it prints adds up, and nobody it invented is left.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Piped, Server};
use serde_json::json;
use std::sync::OnceLock;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

fn bench(args: &[&str]) -> Piped {
    let url = format!("http://{}", server().address);
    let key = server().data.join("auth.key").display().to_string();
    let mut all = vec!["bench", "--url", &url, "--auth-key", &key];
    all.extend(args);
    Piped::start(&server().directory, &all, &[])
}

/// The number in front of `word` on the line that begins with `line`.
fn figure(printed: &str, line: &str, word: &str) -> u64 {
    let line = printed.lines().find(|l| l.starts_with(line)).expect("the line");
    let words: Vec<&str> = line.split([' ', ',', ';']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word).expect("the word");
    words[at - 1].parse().expect("a number")
}

#[tokio::test]
async fn a_bench_measures_and_leaves_nobody_behind() {
    let args = ["--users", "30", "--friends", "4", "--changes-per-s", "100", "--duration", "2s", "--prefix", "crowd-"];
    let mut run = bench(&args);
    assert_eq!(run.end().code(), Some(0), "{}", run.output);
    let printed = run.output.to_string();
    assert!(printed.contains("everybody holds what was acknowledged"), "{printed}");
    let changes = figure(&printed, "changes", "acknowledged");
    assert!(changes > 0 && figure(&printed, "changes", "refused") == 0, "{printed}");
    let told = figure(&printed, "notifications", "seen") + figure(&printed, "notifications", "covered");
    assert_eq!(told, changes * 4, "every change is told to four friends, or covered by a later one:\n{printed}");
    let service = server().service();
    for person in ["crowd-000000", "crowd-000029"] {
        assert_eq!(service.sees(person).await["version"], 0, "{person} is left");
        assert_eq!(service.get(&format!("/v1/users/{person}/contacts")).await.must(200)["contacts"], json!([]));
    }
}

#[test]
fn a_bench_that_cannot_be_is_refused_before_anything_is_made() {
    for args in [["--users", "30", "--friends", "3"], ["--users", "4", "--friends", "4"]] {
        let mut run = bench(&args);
        assert_eq!(run.end().code(), Some(2), "{}", run.output);
        assert!(run.output.err().contains("--friends") && run.output.err().contains("--users"), "{}", run.output);
    }
}
