//! Starting on what is not right: a held directory, a damaged database, a wrong configuration.
//!
//! A node either serves everything that was acknowledged, or refuses to start and says what to do. Never the third.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Launch, Piped, Refusal, Server};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

const PLACES: u64 = 20;
const USERS: usize = 8;

/// Fewer partitions: these tests start a node forty times.
fn small() -> Launch {
    Server::launch().set("cluster.partitions", 2)
}

/// A stopped node's directory, and what must be read from it.
struct Written {
    server: Server,
    reads: Vec<(String, Value)>,
}

const READS: [&str; 4] = ["status", "contacts", "profile", "history"];

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let mut server = small().start();
        let address = server.address.clone();
        let clients: Vec<Client> = (0..USERS).map(|n| server.client(&format!("user-{n}"), "user")).collect();
        let filling = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(fill(&clients))
        });
        let reads = filling.join().unwrap_or_else(|_| panic!("the node at {address} could not be filled"));
        server.kill9();
        Written { server, reads }
    })
}

async fn fill(clients: &[Client]) -> Vec<(String, Value)> {
    for (number, client) in clients.iter().enumerate() {
        for write in 0..6 {
            let add: Vec<String> = (0..40).map(|c| format!("contact-{number}-{write}-{c}")).collect();
            let _ = client.post("/v1/users/me/contacts", json!({"add": add})).await.must(200);
            let text = format!("{write} {}", "t".repeat(300));
            client.set_status(json!({"status": "dnd", "text": text, "meta": {"n": write}})).await;
        }
        let _ = client.put("/v1/users/me/profile", json!({"name": client.id})).await.must(200);
    }
    read(clients).await
}

async fn read(clients: &[Client]) -> Vec<(String, Value)> {
    let mut reads = Vec::new();
    for client in clients {
        for read in READS {
            let path = format!("/v1/users/me/{read}");
            let query = if read == "contacts" { "?limit=1000" } else { "" };
            let answer = client.get(&format!("{path}{query}")).await.must(200);
            reads.push((format!("{} {read}", client.id), answer));
        }
    }
    reads
}

/// The database file: the largest one named `db`.
fn database(data: &Path) -> PathBuf {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a directory").flatten() {
            let metadata = entry.metadata().expect("a file");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "db" {
                found.push((metadata.len(), entry.path()));
            }
        }
    }
    found.sort();
    found.pop().expect("a database file").1
}

/// Whether it refused properly, or serves all that was acknowledged.
async fn judge(place: &str, started: Result<Server, Refusal>) -> bool {
    match started {
        Ok(server) => {
            let clients: Vec<Client> = (0..USERS).map(|n| server.client(&format!("user-{n}"), "user")).collect();
            assert_eq!(read(&clients).await, written().reads, "{place}: it started, but has lost something");
            true
        }
        Err(refusal) => {
            assert_eq!(refusal.status.code(), Some(1), "{place}: {}", refusal.printed);
            says_what_to_do(place, &refusal.printed);
            false
        }
    }
}

/// A person who reads it must know which directory it is about, and what can be done.
fn says_what_to_do(place: &str, printed: &str) {
    assert!(printed.contains("data"), "{place}: it does not name the directory:\n{printed}");
    let ways = ["restore", "rejoin", "move", "remove", "delete", "copy", "empty directory", "backup", "stop"];
    let text = printed.to_lowercase();
    assert!(ways.iter().any(|w| text.contains(w)), "{place}: it does not say what to do:\n{printed}");
}

#[tokio::test]
async fn an_undamaged_copy_serves_everything() {
    let started = small().start_on_copy(&written().server.data, |_| {});
    assert!(judge("undamaged", started).await, "it must start");
}

#[tokio::test]
async fn a_truncated_database_is_refused_or_complete() {
    let mut served = 0;
    for place in 0..PLACES {
        let started = small().start_on_copy(&written().server.data, |copy| {
            let file = fs::OpenOptions::new().write(true).open(database(copy)).expect("the database");
            let length = file.metadata().expect("its length").len();
            file.set_len(length * place / PLACES).expect("truncated");
        });
        served += u64::from(judge(&format!("truncated to {place}/{PLACES}"), started).await);
    }
    println!("truncated: served {served} of {PLACES}");
    assert!(served < PLACES, "one that has lost everything cannot serve");
}

#[tokio::test]
async fn a_flipped_bit_in_the_database_is_refused_or_harmless() {
    let mut served = 0;
    for place in 0..PLACES {
        let started = small().start_on_copy(&written().server.data, |copy| flip(&database(copy), place));
        served += u64::from(judge(&format!("bit flipped at {place}/{PLACES}"), started).await);
    }
    println!("bits flipped: served {served} of {PLACES}");
    assert!(served < PLACES, "most bits in use matter");
}

/// Flips one bit of the first byte in use at or after a place.
fn flip(path: &Path, place: u64) {
    let mut bytes = fs::read(path).expect("the database");
    let used: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    let at = used[used.len() * usize::try_from(place).expect("a place") / usize::try_from(PLACES).expect("places")];
    bytes[at] ^= 1 << (place % 8);
    fs::write(path, bytes).expect("written back");
}

#[tokio::test]
async fn a_directory_that_another_process_holds_is_refused() {
    let holder = small().start();
    let refusal = small().start_on(&holder.data).expect_err("it is held");
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.printed);
    assert!(refusal.printed.contains(&holder.data.display().to_string()), "{}", refusal.printed);
    says_what_to_do("held", &refusal.printed);
    let [alice] = holder.people(["alice"]);
    alice.set_status(json!({"status": "dnd"})).await; // the holder goes on
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_name() {
    let holder = small().start();
    let folder = tempfile::tempdir().expect("a directory");
    let args = ["serve", "--http", &holder.address, "--peer", "127.0.0.1:0"];
    let mut second = Piped::start(folder.path(), &args, &[]);
    assert_eq!(second.end().code(), Some(1), "{}", second.output);
    assert!(second.output.err().contains(&holder.address), "{}", second.output);
}

#[tokio::test]
async fn another_number_of_partitions_is_refused_on_an_existing_directory() {
    let mut node = small().start();
    node.kill9();
    let refusal = Server::launch().set("cluster.partitions", 4).start_on(&node.data).expect_err("it is fixed");
    assert!(matches!(refusal.status.code(), Some(1 | 2)), "{refusal:?}");
    assert!(refusal.printed.contains('2') && refusal.printed.contains('4'), "both values: {}", refusal.printed);
    assert!(refusal.printed.contains("partitions"), "{}", refusal.printed);
}

/// Starts with this environment and configuration file, and gives standard error of the refusal.
fn misconfigured(env: &[(&str, &str)], config: Option<&str>) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    let mut args = vec!["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"];
    if let Some(config) = config {
        let mut file = fs::File::create(folder.path().join("rollcall.toml")).expect("a file");
        file.write_all(config.as_bytes()).expect("written");
        args.extend(["--config", "rollcall.toml"]);
    }
    let mut node = Piped::start(folder.path(), &args, env);
    let status = node.end();
    assert_eq!(status.code(), Some(2), "{env:?} {config:?}: {}", node.output);
    assert!(!folder.path().join("rollcall-data").exists(), "nothing is made before the settings are good");
    node.output.err()
}

#[test]
fn settings_that_contradict_each_other_exit_2_and_are_both_named() {
    for (env, named) in [
        (
            [("ROLLCALL_CLUSTER__ELECTION_MS", "300"), ("ROLLCALL_CLUSTER__HEARTBEAT_MS", "200")],
            ["election_ms", "300", "heartbeat_ms", "200"],
        ),
        (
            [("ROLLCALL_PRESENCE__SESSION_TTL_MS", "60000"), ("ROLLCALL_PRESENCE__HEARTBEAT_MS", "50000")],
            ["session_ttl_ms", "60000", "heartbeat_ms", "50000"],
        ),
    ] {
        let error = misconfigured(&env, None);
        for name in named {
            assert!(error.contains(name), "{error} does not name {name}");
        }
    }
}

#[test]
fn a_wrong_setting_exits_2_and_is_named() {
    for (env, named) in [
        (("ROLLCALL_PRESENCE__GRACE_MS", "soon"), ["grace_ms", "soon"]),
        (("ROLLCALL_PRESENCE__GRACE_MS", "-5"), ["grace_ms", "-5"]),
        (("ROLLCALL_PRESENCE__VISIBILITY", "nobody"), ["visibility", "nobody"]),
        (("ROLLCALL_CLUSTER__PARTITIONS", "2000"), ["partitions", "2000"]),
        (("ROLLCALL_CLUSTER__REPLICATION", "2"), ["replication", "2"]),
        (("ROLLCALL_PRESENCE__GRACEMS", "5"), ["gracems", "presence"]),
    ] {
        let error = misconfigured(&[env], None).to_lowercase();
        for name in named {
            assert!(error.contains(name), "{error} does not name {name}");
        }
    }
    for (config, named) in [
        ("[presence]\ngrace = 5\n", "grace"),
        ("[presense]\n", "presense"),
        ("[presence\n", "rollcall.toml"),
        ("[presence]\ngrace_ms = \"x\"\n", "grace_ms"),
    ] {
        let error = misconfigured(&[], Some(config));
        assert!(error.contains(named), "{error} does not name {named}");
    }
}

#[test]
fn a_short_hmac_key_refuses_to_start() {
    let config = "[[auth.keys]]\nkid = \"short\"\nalgorithm = \"HS256\"\nfile = \"rollcall.toml\"\ndefault = true\n";
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("short.key"), "thirty-one bytes are too few...\n").expect("a key");
    fs::write(folder.path().join("rollcall.toml"), config.replace("rollcall.toml", "short.key")).expect("a file");
    let args = ["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--config", "rollcall.toml"];
    let mut node = Piped::start(folder.path(), &args, &[]);
    assert_eq!(node.end().code(), Some(2), "{}", node.output);
    let error = node.output.err();
    assert!(error.contains("32") && error.contains("short"), "{error}");
}
