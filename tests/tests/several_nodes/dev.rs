//! `rollcall dev`: a cluster in one terminal.

use rollcall_tests::{Piped, eventually};

/// What follows `word` in the line that begins with the node's name.
fn after(line: &str, word: &str) -> Option<String> {
    let rest = line.split_once(word)?.1;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".:".contains(*c)).collect())
}

/// A cluster in a terminal, whose nodes end with it also when the test fails.
struct Terminal(Piped);

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.0.output.is_closed() {
            self.0.terminate();
            let _ = self.0.output.ended();
        }
    }
}

#[tokio::test]
async fn a_local_cluster_starts_says_what_to_try_survives_a_kill_and_stops_as_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut terminal = Terminal(Piped::start(directory.path(), &["dev", "--nodes", "3", "--port", "0"], &[]));
    let dev = &mut terminal.0;
    let second = dev.output.line("the second node", |l| l.trim_start().starts_with("n2 listening on"));
    dev.output.line("what to try", |l| l.contains("connect") && l.contains("alice bob"));
    dev.output.line("where data is kept", |l| l.contains("Ctrl-C stops") && l.contains("rollcall-dev"));
    for name in ["n1", "n2", "n3", "auth.key", "cluster.key"] {
        assert!(directory.path().join("rollcall-dev").join(name).exists(), "{name}");
    }
    let first = dev.output.line("the first node", |l| l.trim_start().starts_with("n1 listening on"));
    let url = format!("http://{}", after(&first, "http://").expect("an address"));
    let status = || {
        let args = ["status", "--json", "--url", &url, "--auth-key", "rollcall-dev/auth.key"];
        let mut status = Piped::start(directory.path(), &args, &[]);
        status.end();
        status.output.to_string()
    };
    eventually("three nodes are one cluster", async || status().contains(r#""nodes_up":3"#).then_some(())).await;
    let process = after(&second, "process ").expect("a process");
    let killed = std::process::Command::new("kill").args(["-9", &process]).status();
    assert!(killed.is_ok_and(|s| s.success()));
    dev.output.line("what brings it back", |l| l.contains("serve --name n2"));
    dev.terminate();
    assert_eq!(dev.end().code(), Some(0), "{}", dev.output);
    assert!(!dev.output.to_string().contains('\u{1b}'), "plain lines in a pipe:\n{}", dev.output);
}
