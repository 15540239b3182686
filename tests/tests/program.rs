//! The program's commands as they are typed: with pipes, exit codes, and what they print.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rollcall_tests::{Client, Piped, Server, eventually, now_s, program};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

/// Names that no other test has.
fn names<const N: usize>(stems: [&str; N]) -> [String; N] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    stems.map(|stem| format!("{stem}{number}"))
}

/// Starts a client command against the shared node.
fn run(args: &[&str]) -> Piped {
    let url = format!("http://{}", server().address);
    let key = server().data.join("auth.key").display().to_string();
    let mut all = args.to_vec();
    all.extend(["--url", &url, "--auth-key", &key]);
    Piped::start(&server().directory, &all, &[])
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap_or_else(|| panic!("no token: {token:?}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

#[tokio::test]
async fn two_terminals_see_each_other_come_change_and_go() {
    let [alice, bob] = names(["alice", "bob"]);
    let mut of_alice = run(&["connect", &alice, &bob]);
    let mut of_bob = run(&["connect", &bob, &alice]);
    let says = |terminal: &Piped, who: &str, what: &str| {
        terminal.output.line(&format!("{who} {what}"), |l| l.contains(who) && l.contains(what));
    };
    says(&of_alice, &bob, "online");
    says(&of_bob, &alice, "online");
    of_alice.type_line("dnd in a meeting");
    says(&of_bob, &alice, "dnd");
    says(&of_bob, &alice, "in a meeting");
    of_alice.type_line("away");
    says(&of_bob, &alice, "away");
    of_alice.type_line("online");
    of_bob.output.find(|lines| {
        let online = lines.iter().filter(|l| l.contains(alice.as_str()) && l.contains("online")).count();
        (online >= 2).then_some(())
    });
    of_bob.type_line("invisible");
    says(&of_alice, &bob, "offline");
    of_alice.type_line("quit");
    says(&of_bob, &alice, "offline");
    assert_eq!(of_alice.end().code(), Some(0), "{}", of_alice.output);
    of_bob.type_line("quit");
    assert_eq!(of_bob.end().code(), Some(0), "{}", of_bob.output);
    for terminal in [&of_alice, &of_bob] {
        assert!(!terminal.output.to_string().contains('\u{1b}'), "plain lines in a pipe:\n{}", terminal.output);
    }
    let service = server().service();
    // The program leaves with a close frame; the session's end is durable a moment after it is gone.
    eventually("alice to have left", async || (service.sees(&alice).await["status"] == "offline").then_some(())).await;
}

#[tokio::test]
async fn an_unknown_word_on_the_terminal_is_explained_and_nothing_ends() {
    let [alice, bob] = names(["alice", "bob"]);
    let mut terminal = run(&["connect", &alice, &bob]);
    let mut socket = server().client(&bob, "user").connect("session=false").await;
    socket.until_status(&alice, "online").await;
    terminal.type_line("dance");
    terminal.type_line("away");
    socket.until_status(&alice, "away").await;
    assert!(terminal.output.to_string().contains("dnd"), "it names what it takes:\n{}", terminal.output);
    terminal.terminate();
    socket.until_status(&alice, "offline").await;
    let reasons = server().client(&alice, "user").reasons().await;
    assert_eq!(reasons.last().map(String::as_str), Some("disconnected"), "a signal leaves cleanly");
}

#[tokio::test]
async fn watch_prints_one_presence_a_line() {
    let [alice, bob] = names(["alice", "bob"]);
    let client = server().client(&alice, "user");
    client.open("web", "active").await;
    let watch = run(&["watch", &alice, &bob, "--json"]);
    let seen = |status: &str| {
        let line = watch.output.line(status, |l| l.contains(&alice) && l.contains(&format!("\"{status}\"")));
        serde_json::from_str::<Value>(&line).unwrap_or_else(|e| panic!("{e} in {line}"))
    };
    assert_eq!(seen("online"), client.sees("me").await);
    let set = client.set_status(json!({"status": "dnd", "text": "two\u{2028}lines"})).await;
    assert_eq!(seen("dnd"), set["presence"]);
    let sessions = server().client("watcher", "service").get("/v1/users/watcher/sessions").await.must(200);
    assert_eq!(sessions["sessions"], json!([]), "an observer");
    let plain = run(&["watch", &alice]);
    plain.output.line("the user and its status", |l| l.contains(&alice) && l.contains("dnd"));
}

#[tokio::test]
async fn token_prints_a_jwt_that_the_node_takes() {
    let [alice] = names(["alice"]);
    let key = server().data.join("auth.key").display().to_string();
    let mint = |more: &[&str]| {
        let mut args = vec!["token", &alice, "--auth-key", &key];
        args.extend(more);
        let mut minted = Piped::start(&server().directory, &args, &[]);
        assert_eq!(minted.end().code(), Some(0), "{}", minted.output);
        let lines = minted.output.out();
        assert_eq!(lines.len(), 1, "the token and nothing else: {lines:?}");
        lines[0].clone()
    };
    let plain = mint(&[]);
    assert_eq!(claims(&plain)["sub"], alice.as_str());
    let client = Client::new(&server().address, &alice, plain);
    let _ = client.get("/v1/users/me/status").await.must(200);
    client.get("/v1/users/other/status").await.problem(403, "forbidden");
    let service = mint(&["--scope", "service", "--ttl", "1h"]);
    let left = claims(&service)["exp"].as_u64().expect("exp").saturating_sub(now_s());
    assert!((3_500..=3_700).contains(&left), "an hour: {left}");
    let client = Client::new(&server().address, &alice, service);
    let _ = client.get("/v1/users/other/status").await.must(200);
}

#[test]
fn config_shows_where_each_value_came_from_and_check_only_judges() {
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("rollcall.toml"), "[presence]\nflush_ms = 33\n").expect("a file");
    let env = [("ROLLCALL_PRESENCE__GRACE_MS", "4321")];
    let mut shown = Piped::start(folder.path(), &["config", "--config", "rollcall.toml"], &env);
    assert_eq!(shown.end().code(), Some(0), "{}", shown.output);
    let line_with = |key: &str| shown.output.line(key, |l| l.contains(key));
    assert!(line_with("grace_ms").contains("4321") && line_with("grace_ms").contains("ROLLCALL_PRESENCE__GRACE_MS"));
    assert!(line_with("flush_ms").contains("33") && line_with("flush_ms").contains("rollcall.toml"));
    assert!(line_with("ping_interval_ms").contains("20000") && line_with("ping_interval_ms").contains("default"));
    let mut good = Piped::start(folder.path(), &["config", "--check", "--config", "rollcall.toml"], &env);
    assert_eq!(good.end().code(), Some(0), "{}", good.output);
    let bad = [("ROLLCALL_CLUSTER__ELECTION_MS", "100")];
    let mut refused = Piped::start(folder.path(), &["config", "--check"], &bad);
    assert_eq!(refused.end().code(), Some(2), "{}", refused.output);
    assert!(refused.output.err().contains("election_ms"), "{}", refused.output);
    assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 1, "nothing is made");
}

#[test]
fn bad_usage_exits_2_and_help_0() {
    let folder = tempfile::tempdir().expect("a directory");
    for (args, code) in [
        (vec!["--no-such-option"], 2),
        (vec!["dance"], 2),
        (vec!["token"], 2),
        (vec!["token", "bad id"], 2),
        (vec!["watch"], 2),
        (vec!["--help"], 0),
        (vec!["serve", "--help"], 0),
        (vec!["--version"], 0),
    ] {
        let mut command = Piped::start(folder.path(), &args, &[]);
        assert_eq!(command.end().code(), Some(code), "{args:?}: {}", command.output);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 0, "nothing is made");
}

#[test]
fn a_client_without_server_or_key_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a directory");
    let nowhere = ["connect", "alice", "bob", "--url", "http://127.0.0.1:1"];
    let mut keyless = Piped::start(folder.path(), &nowhere, &[]);
    assert_eq!(keyless.end().code(), Some(1), "{}", keyless.output);
    assert!(keyless.output.err().contains("auth.key"), "{}", keyless.output);
    fs::write(folder.path().join("any.key"), "0".repeat(64)).expect("a key");
    let mut args = nowhere.to_vec();
    args.extend(["--auth-key", "any.key"]);
    let mut unreachable = Piped::start(folder.path(), &args, &[]);
    assert_eq!(unreachable.end().code(), Some(1), "{}", unreachable.output);
    assert!(unreachable.output.err().contains("127.0.0.1:1"), "{}", unreachable.output);
    assert!(!unreachable.output.err().contains("panicked"), "{}", unreachable.output);
}

/// A node as a newcomer starts it, but for the ports, which others may use.
fn first_start(folder: &Path) -> Piped {
    Piped::start(folder, &["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"], &[])
}

#[tokio::test]
async fn the_first_start_says_where_it_listens_and_what_to_try() {
    let folder = tempfile::tempdir().expect("a directory");
    let node = first_start(folder.path());
    let as_started = program().display().to_string();
    let suggested = node.output.find(|lines| {
        let commands: Vec<String> =
            lines.iter().filter_map(|l| l.find(&as_started).map(|at| l[at..].trim().to_owned())).collect();
        (commands.len() >= 2).then_some(commands)
    });
    let suggested = suggested.unwrap_or_else(|| panic!("no two commands to try in:\n{}", node.output));
    let printed = node.output.out();
    assert!(printed.iter().any(|l| l.contains("http://127.0.0.1:")), "{printed:?}");
    assert!(printed.len() <= 12, "a few lines: {printed:?}");
    for key in ["auth.key", "cluster.key"] {
        let metadata = fs::metadata(folder.path().join("rollcall-data").join(key)).expect(key);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{key}");
    }
    let key = fs::read_to_string(folder.path().join("rollcall-data/auth.key")).expect("a key");
    let key = key.strip_suffix('\n').unwrap_or(&key);
    assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "64 hexadecimal characters");

    // The two commands, typed as they are printed, see each other.
    let terminals: Vec<Piped> = suggested[..2]
        .iter()
        .map(|line| {
            let mut shell = Command::new("sh");
            shell.current_dir(folder.path()).args(["-c", &format!("exec {line}")]);
            Piped::spawn(shell)
        })
        .collect();
    for terminal in &terminals {
        terminal.output.line("a friend online", |l| l.contains("online"));
    }
}

#[tokio::test]
async fn a_term_signal_is_a_clean_stop_and_a_second_start_keeps_the_keys() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut node = first_start(folder.path());
    node.output.line("an address", |l| l.contains("http://"));
    let key = fs::read(folder.path().join("rollcall-data/auth.key")).expect("a key");
    node.terminate();
    assert_eq!(node.end().code(), Some(0), "{}", node.output);
    let mut again = first_start(folder.path());
    again.output.line("an address", |l| l.contains("http://"));
    assert_eq!(fs::read(folder.path().join("rollcall-data/auth.key")).expect("a key"), key);
    again.terminate();
    assert_eq!(again.end().code(), Some(0), "{}", again.output);
}

#[tokio::test]
async fn a_key_file_given_is_taken_instead() {
    let folder = tempfile::tempdir().expect("a directory");
    let secret = "a secret of the operator's own choice, long enough";
    fs::write(folder.path().join("own.key"), format!("{secret}\n")).expect("a key");
    let args = ["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--auth-key", "own.key", "--name", "n9"];
    let node = Piped::start(folder.path(), &args, &[]);
    let line = node.output.line("an address", |l| l.contains("http://"));
    let address: String = line
        .split("http://")
        .nth(1)
        .unwrap_or_default()
        .chars()
        .take_while(|c| *c != '/' && !c.is_whitespace())
        .collect();
    let client = Client::new(&address, "alice", rollcall_tests::Claims::of("alice").sign(secret));
    let presence = rollcall_tests::eventually("the node is ready", async || {
        let reply = client.try_send("GET", "/v1/users/me/presence", &[], None).await.ok()?;
        (reply.status == 200).then(|| reply.json())
    })
    .await;
    assert_eq!(presence["version"], 0);
    assert!(!folder.path().join("rollcall-data/auth.key").exists(), "none is generated");
}
