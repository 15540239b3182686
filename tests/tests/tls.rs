//! Clients over TLS: the program's own commands, and a certificate that is replaced while a node serves.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Piped, eventually};
use std::{fs, path::Path};

/// Where a node's certificate is, in its folder.
const CERTIFICATE: &str = "node.pem";
const PRIVATE_KEY: &str = "node.key";

/// Makes a certificate of its own authority, as the one of the node in `folder`; as PEM.
fn certify(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = made.cert.pem();
    fs::write(folder.join(PRIVATE_KEY), made.signing_key.serialize_pem()).expect("a file");
    fs::write(folder.join(CERTIFICATE), &certificate).expect("a file");
    certificate
}

/// A node in `folder` with the certificate there, and its URL.
fn sealed(folder: &Path) -> (Piped, String) {
    let env = [
        ("ROLLCALL_HTTP__CERTIFICATE", CERTIFICATE),
        ("ROLLCALL_HTTP__PRIVATE_KEY", PRIVATE_KEY),
        ("ROLLCALL_CLUSTER__PARTITIONS", "8"),
    ];
    let node = Piped::start(folder, &["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"], &env);
    let line = node.output.line("an address", |l| l.contains("listening on https://"));
    let url = line.split("listening on ").nth(1).unwrap_or_default().trim().to_owned();
    (node, url)
}

/// A client that believes nobody but `authority`.
fn believing(authority: &str) -> reqwest::Client {
    let authority = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    reqwest::Client::builder().add_root_certificate(authority).build().expect("a client")
}

async fn answers(client: &reqwest::Client, url: &str) -> bool {
    client.get(format!("{url}/healthz")).send().await.is_ok_and(|r| r.status().is_success())
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_without_a_restart() {
    let folder = tempfile::tempdir().expect("a directory");
    let before = believing(&certify(folder.path()));
    let (node, url) = sealed(folder.path());
    assert!(answers(&before, &url).await, "{}", node.output);
    let renewed = certify(folder.path());
    let after = believing(&renewed);
    eventually("the new certificate", async || answers(&after, &url).await.then_some(())).await;
    assert!(answers(&before, &url).await, "who is connected stays so");

    fs::write(folder.path().join(CERTIFICATE), "not a certificate").expect("a file");
    eventually("a complaint", async || node.output.err().contains("the new certificate cannot be used").then_some(()))
        .await;
    assert!(answers(&believing(&renewed), &url).await, "the last good one is shown");
}

#[tokio::test]
async fn client_commands_speak_tls_to_a_server_whose_authority_they_are_given() {
    let folder = tempfile::tempdir().expect("a directory");
    certify(folder.path());
    let (_node, url) = sealed(folder.path());
    let status = |args: &[&str], env: &[(&str, &str)]| {
        let mut status = Piped::start(folder.path(), &[&["status", "--url", &url], args].concat(), env);
        (status.end().code(), status.output.to_string())
    };
    let (code, printed) = status(&["--ca-file", CERTIFICATE], &[]);
    assert!(code == Some(0) && printed.contains("of 1 nodes up"), "{code:?} {printed}");
    let (code, printed) = status(&[], &[("ROLLCALL_CA_FILE", CERTIFICATE)]);
    assert!(code == Some(0) && printed.contains("of 1 nodes up"), "{code:?} {printed}");

    let other = tempfile::tempdir().expect("a directory");
    certify(other.path());
    let stranger = other.path().join(CERTIFICATE).display().to_string();
    let (code, printed) = status(&["--ca-file", &stranger], &[]);
    assert!(code == Some(1) && printed.contains("cannot be believed"), "{code:?} {printed}");
    let (code, printed) = status(&["--ca-file", "gone.pem"], &[]);
    assert!(code == Some(2) && printed.contains("gone.pem"), "{code:?} {printed}");

    let reach = ["--url", &url, "--ca-file", CERTIFICATE];
    let start = |args: &[&str]| Piped::start(folder.path(), &[args, &reach].concat(), &[]);
    let watching = start(&["watch", "alice"]);
    let mut alice = start(&["connect", "alice", "bob"]);
    watching.output.line("alice online", |l| l.contains("alice") && l.contains("online"));
    let bob = start(&["connect", "bob", "alice"]);
    alice.output.line("bob online", |l| l.contains("bob") && l.contains("online"));
    bob.output.line("alice online", |l| l.contains("alice") && l.contains("online"));
    alice.type_line("dnd over TLS");
    bob.output.line("alice's status", |l| l.contains("over TLS"));
    watching.output.line("alice's status", |l| l.contains("over TLS"));

    let mut unbelieved = Piped::start(folder.path(), &["watch", "alice", "--url", &url, "--ca-file", &stranger], &[]);
    assert_eq!(unbelieved.end().code(), Some(1), "{}", unbelieved.output);
    assert!(unbelieved.output.err().contains("cannot be believed"), "{}", unbelieved.output);
}
