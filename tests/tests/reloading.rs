//! Keys that are withdrawn while nodes serve: whoever stands on one is let go everywhere, and nobody else notices.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use futures::future::join_all;
use rollcall_tests::{Claims, Client, Cluster, DEADLINE, Events, FORMING_MAX, Server, Socket, eventually};
use serde_json::json;
use std::{fs, path::Path, time::Duration};
use tokio::time::timeout;

/// How long a withdrawn key may still hold connections. It is promised, so this one time is asserted.
const WITHDRAWN_MAX: Duration = Duration::from_secs(10);
/// Two keys, and their secrets.
const KEYS: [(&str, &str); 2] =
    [("spring", "the-secret-of-spring-0123456789-abc"), ("autumn", "the-secret-of-autumn-0123456789-abc")];
const SPRING: usize = 0;
const AUTUMN: usize = 1;

/// Writes the files of all keys into `folder`.
fn write_keys(folder: &Path) {
    for (kid, secret) in KEYS {
        fs::write(folder.join(kid), format!("{secret}\n")).expect("a key file");
    }
}

/// A configuration with `keys`, whose files lie in `folder`.
fn configuration(folder: &Path, keys: &[usize]) -> String {
    let key = |at: &usize| {
        let kid = KEYS[*at].0;
        format!("[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"HS256\"\nfile = {:?}\n\n", folder.join(kid))
    };
    keys.iter().map(key).collect()
}

fn token(user: &str, key: usize) -> String {
    let (kid, secret) = KEYS[key];
    Claims::of(user).kid(Some(kid)).sign(secret)
}

/// Those who are connected to one node.
struct Guests {
    node: String,
    old: Client,
    new: Client,
    /// Of the key that goes.
    leaving: Socket,
    leaving_stream: Events,
    /// Of the key that stays.
    staying: Socket,
    staying_stream: Events,
    /// Once of the key that goes.
    renewed: Socket,
}

impl Guests {
    async fn of(node: &str, number: usize) -> Self {
        let client = |stem: &str, key| Client::new(node, stem, token(&format!("{stem}-{number}"), key));
        let (old, new) = (client("old", SPRING), client("new", AUTUMN));
        let mut renewed = client("renewed", SPRING).connect("watch=none").await;
        renewed.must(json!({"type": "token", "token": token(&format!("renewed-{number}"), AUTUMN)})).await;
        let mut leaving_stream = old.events("watch=contacts", None).await;
        let mut staying_stream = new.events(&format!("users=new-{number}"), None).await;
        for stream in [&mut leaving_stream, &mut staying_stream] {
            assert_eq!(stream.next().await.event, "snapshot");
        }
        let (leaving, staying) = (old.connect("watch=none").await, new.connect("watch=none").await);
        Self { node: node.into(), old, new, leaving, leaving_stream, staying, staying_stream, renewed }
    }

    /// Takes the ends of those who have to go.
    async fn let_go(&mut self) {
        let stream = async {
            let told = self.leaving_stream.until(|t| t.event == "goodbye").await;
            assert_eq!((&told.data["reason"], &told.data["reconnect"]), (&json!("token_expired"), &json!(true)));
        };
        tokio::join!(self.leaving.ends_with("token_expired", 4001, true), stream);
    }

    /// Shows that the others are served as before.
    async fn stays(&mut self) {
        self.staying.fence().await;
        self.renewed.fence().await;
        let _ = self.new.set_status(json!({"status": "dnd", "text": "still here"})).await;
        self.staying_stream.until(|t| t.data.to_string().contains("still here")).await;
        let refused = self.old.get("/v1/users/me/presence").await;
        refused.problem(401, "unauthenticated");
        assert!(refused.header("www-authenticate").is_some_and(|h| h.starts_with("Bearer")), "{refused:?}");
        let again = Socket::try_connect(&self.node, &self.old.token, "watch=none").await;
        assert!(again.is_err_and(|e| e.contains("401")), "no way back");
    }
}

#[tokio::test]
async fn a_withdrawn_key_ends_its_connections_on_every_node_and_no_others() {
    let mut cluster = Cluster::plan(3).prepare().await;
    let folder = cluster.keys.clone();
    write_keys(&folder);
    let files: Vec<_> = (0..cluster.len()).map(|at| folder.join(format!("{}.toml", cluster.name(at)))).collect();
    for (at, file) in files.iter().enumerate() {
        fs::write(file, configuration(&folder, &[SPRING, AUTUMN])).expect("a configuration");
        cluster.relaunch(at, |launch| launch.arg("--config").arg(file.display().to_string()));
        cluster.awake(at);
    }
    cluster.get_ready();
    cluster.await_formed(FORMING_MAX).await;
    let addresses = cluster.addresses();
    let mut guests = join_all(addresses.iter().enumerate().map(|(at, node)| Guests::of(node, at))).await;

    for file in &files {
        fs::write(file, configuration(&folder, &[AUTUMN])).expect("a configuration");
    }
    // One is asked; the others notice by themselves.
    cluster.node(0).hang_up();
    let all = join_all(guests.iter_mut().map(Guests::let_go));
    timeout(WITHDRAWN_MAX, all).await.expect("connections of a withdrawn key end within 10 s");
    join_all(guests.iter_mut().map(Guests::stays)).await;
}

async fn says(server: &Server, what: &str) {
    eventually(what, async || server.output().err().contains(what).then_some(())).await;
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_logged() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("rollcall.toml");
    let write = |text: &str| fs::write(&file, text).expect("a file");
    write_keys(folder.path());
    write(&configuration(folder.path(), &[SPRING]));
    let server = Server::launch().arg("--config").arg(file.display().to_string()).start();
    let [old, new] = [SPRING, AUTUMN].map(|key| Client::new(&server.address, "alice", token("alice", key)));
    let mut socket = old.connect("watch=none").await;

    write("[[auth.keys]\nkid = ");
    says(&server, "the new settings cannot be used, and what was in use before stays").await;
    write(&configuration(folder.path(), &[SPRING, AUTUMN]));
    fs::write(folder.path().join(KEYS[AUTUMN].0), "too short\n").expect("a key file");
    says(&server, "the new keys cannot be used, and what was in use before stays").await;
    socket.fence().await;
    new.get("/v1/users/me/presence").await.problem(401, "unauthenticated");

    write_keys(folder.path());
    write(&configuration(folder.path(), &[AUTUMN]));
    eventually("the repaired file is taken", async || {
        (new.get("/v1/users/me/presence").await.status == 200).then_some(())
    })
    .await;
    timeout(DEADLINE, socket.ends_with("token_expired", 4001, true)).await.expect("the connection ends");
}
