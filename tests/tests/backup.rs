//! `rollcall backup` and `rollcall restore`: a running cluster to a file and back, as an operator types it.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Cluster, Piped, Server, Socket, eventually};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Contacts of the user that does not fit one part of a backup.
const MANY: usize = 2_500;

/// History entries kept where people write all the time: none of them may fall out.
const KEPT: u32 = 100_000;

/// Runs a command against a node; how it ended and what it printed.
fn run(directory: &Path, address: &str, key: &Path, args: &[&str]) -> (Option<i32>, String) {
    let (url, key) = (format!("http://{address}"), key.display().to_string());
    let mut all = args.to_vec();
    all.extend(["--url", &url, "--auth-key", &key]);
    let mut command = Piped::start(directory, &all, &[]);
    let code = command.end().code();
    (code, command.output.to_string())
}

/// The same against a node by itself.
fn at(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    run(&server.directory, &server.address, &server.data.join("auth.key"), args)
}

fn back_up(server: &Server, name: &str) -> PathBuf {
    let (code, printed) = at(server, &["backup", name]);
    assert_eq!(code, Some(0), "{printed}");
    server.directory.join(name)
}

/// All pages of a list, without where they were cut.
async fn all(client: &Client, path: &str, field: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit=1000{cursor}")).await.must(200);
        items.extend(page[field].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// All that a user reads of itself; the version apart, which goes on rising.
async fn everything(user: &Client) -> (Value, u64) {
    let me = "/v1/users/me";
    let mut status = user.get(&format!("{me}/status")).await.must(200);
    let version = status["presence"]["version"].as_u64().expect("a version");
    status["presence"]["version"] = json!(null);
    let read = json!({
        "status": status,
        "privacy": user.get(&format!("{me}/privacy")).await.must(200),
        "profile": user.get(&format!("{me}/profile")).await.must(200),
        "contacts": all(user, &format!("{me}/contacts"), "contacts").await,
        "blocks": all(user, &format!("{me}/blocks"), "blocks").await,
        "history": all(user, &format!("{me}/history"), "entries").await,
    });
    (read, version)
}

/// All of a user's history, oldest first.
async fn whole_history(user: &Client) -> Vec<Value> {
    let mut entries = all(user, "/v1/users/me/history", "entries").await;
    entries.reverse();
    entries
}

/// Users with everything that a user can have, all of them offline again.
async fn populate(server: &Server) -> Vec<Client> {
    let people = server.people(["ann", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "leo"]);
    for (at, user) in people.iter().enumerate() {
        let other = &people[(at + 1) % people.len()];
        user.adds(other).await;
        let _ = user.put_bare(&format!("/v1/users/me/blocks/stranger{at}")).await.must(204);
        let _ =
            user.put("/v1/users/me/profile", json!({"name": format!("N. {at}"), "meta": {"at": at}})).await.must(200);
        let hides = if at % 3 == 0 { "nobody" } else { "contacts" };
        let _ = user.put("/v1/users/me/privacy", json!({"last_seen": hides, "devices": "contacts"})).await.must(200);
        let session = user.open("web", "active").await;
        let status = ["dnd", "away", "online", "invisible"][at % 4];
        user.set_status(json!({"status": status, "text": format!("text {at}"), "meta": {"n": at}})).await;
        user.close(&session).await;
    }
    let add: Vec<String> = (0..MANY).map(|n| format!("a-friend-with-a-name-of-some-length-{n:06}")).collect();
    for some in add.chunks(1_000) {
        let _ = people[0].post("/v1/users/me/contacts", json!({"add": some})).await.must(200);
        let _ = people[0].post("/v1/users/me/blocks", json!({"add": some})).await.must(200);
    }
    people[1].set_status(json!({"status": "dnd", "text": "for a long time", "expires_in_s": 86_400})).await;
    people.into()
}

/// Changes the status of a user until told to stop; what was acknowledged.
async fn write(user: Client, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{}", acknowledged.len());
        user.set_status(json!({"status": "away", "text": text})).await;
        acknowledged.push(text);
    }
    acknowledged
}

/// A status whose time was over is over, and its end is in the history.
async fn has_expired(user: &Client, before: &[Value]) {
    let history = eventually("the expiry", async || {
        let history = whole_history(user).await;
        (history.len() > before.len()).then_some(history)
    })
    .await;
    assert_eq!(user.get("/v1/users/me/status").await.must(200)["setting"]["text"], Value::Null);
    assert_eq!(&history[..before.len()], before);
    assert_eq!(history[before.len()]["reason"], "status_expired");
}

/// What each writer had written before the backup began is there, and nothing is missing before the last that is.
async fn are_there_up_to_one_moment(new: &Cluster, writers: &[Client], sure: &[usize], acknowledged: &[Vec<String>]) {
    for ((writer, sure), acknowledged) in writers.iter().zip(sure).zip(acknowledged) {
        let mut history = whole_history(&new.client(1, &writer.id, "user")).await;
        let end = history.pop().expect("an entry");
        assert_eq!((&end["reason"], &end["status"]), (&json!("node_lost"), &json!("offline")), "its session ended");
        let texts: Vec<String> =
            history.iter().skip(1).map(|e| e["text"].as_str().unwrap_or_default().to_owned()).collect();
        assert!(history.len() >= *sure, "what was acknowledged before is in it");
        assert_eq!(texts, acknowledged[..texts.len()], "each once and in order, up to one moment");
    }
}

#[tokio::test]
async fn what_was_backed_up_while_people_wrote_is_all_there_in_a_cluster_of_another_size() {
    let mut old = Server::launch().set("limits.history_entries", KEPT).start();
    let people = populate(&old).await;
    let [alive, brief] = old.people(["alive", "brief"]);
    alive.open("mobile", "active").await;
    alive.adds(&people[0]).await;
    brief.set_status(json!({"status": "dnd", "text": "not for long", "expires_in_s": 3})).await;
    let mut before = BTreeMap::new();
    for user in &people {
        before.insert(user.id.clone(), everything(user).await);
    }
    let seen_alive = alive.sees("me").await;
    let brief_history = whole_history(&brief).await;
    let writers = old.people(["will", "wynn", "walt"]);
    for writer in &writers {
        writer.open("web", "active").await; // with it, each has a text in its history
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = writers.iter().map(|w| tokio::spawn(write(w.clone(), stop.clone()))).collect();
    eventually("people write", async || (writers[2].history().await.len() > 5).then_some(())).await;
    let sure: Vec<usize> =
        futures::future::join_all(writers.iter().map(whole_history)).await.iter().map(Vec::len).collect();
    let (directory, address, key) = (old.directory.clone(), old.address.clone(), old.data.join("auth.key"));
    let (code, printed) =
        tokio::task::spawn_blocking(move || run(&directory, &address, &key, &["backup", "b"])).await.expect("a run");
    assert_eq!(code, Some(0), "{printed}");
    let file = old.directory.join("b");
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<Vec<String>> =
        futures::future::join_all(writing).await.into_iter().map(|w| w.expect("a writer")).collect();
    assert!(printed.contains("17 users"), "{printed}");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    old.kill9();

    let new = Cluster::plan(3).set("cluster.partitions", 5).set("limits.history_entries", KEPT).start().await;
    let address = new.node(1).address.clone();
    let restore = || run(&old.directory, &address, &new.keys.join("auth.key"), &["restore", "b"]);
    let (code, printed) = restore();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("17 users restored and 0 left alone"), "{printed}");
    let mut after = BTreeMap::new();
    for (at, user) in people.iter().enumerate() {
        let user = new.client(at % 3, &user.id, "user");
        let read = everything(&user).await;
        let (was, version) = &before[&user.id];
        assert_eq!(read.0, *was, "{}", user.id);
        assert!(read.1 > *version || *version == 0, "versions rise: {} after {version}", read.1);
        after.insert(user.id.clone(), read);
    }
    // Whoever was online died with the old cluster, and was seen last while alive.
    let restored = new.client(0, &alive.id, "user").sees("me").await;
    assert_eq!((&restored["status"], &restored["devices"]), (&json!("offline"), &json!([])));
    assert!(restored["last_seen"].as_u64() >= seen_alive["since"].as_u64(), "{restored} after {seen_alive}");
    has_expired(&new.client(2, &brief.id, "user"), &brief_history).await;
    are_there_up_to_one_moment(&new, &writers, &sure, &acknowledged).await;
    // Once more changes nothing, and versions go on rising.
    let (code, printed) = restore();
    assert!(code == Some(0) && printed.contains("0 users restored and 17 left alone"), "{printed}");
    for (at, user) in people.iter().enumerate() {
        let user = new.client((at + 1) % 3, &user.id, "user");
        let (_, version) = &after[&user.id];
        assert_eq!(everything(&user).await, after[&user.id]);
        user.set_status(json!({"status": "online"})).await;
        user.open("web", "active").await;
        assert!(user.sees("me").await["version"].as_u64() > Some(*version));
    }
}

/// Where each item of a backup ends.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, Vec::new());
    while at < bytes.len() {
        let len: [u8; 4] = bytes[at + 4..at + 8].try_into().expect("a length");
        at += 12 + usize::try_from(u32::from_le_bytes(len)).expect("a length");
        ends.push(at);
    }
    ends
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_nothing_is_restored() {
    let old = Server::launch().start();
    let [alice, bob] = old.people(["alice", "bob"]);
    alice.adds(&bob).await;
    let _ = bob.put("/v1/users/me/profile", json!({"name": "Bob"})).await.must(200);
    let whole = fs::read(back_up(&old, "whole")).expect("a backup");
    let ends = ends(&whole);
    let end_mark = ends[ends.len() - 2];
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut newer = whole.clone();
    newer[3] = 9;
    let bad = [
        ("torn", whole[..whole.len() - 1].to_vec()),
        ("torn in the middle", whole[..whole.len() / 2].to_vec()),
        ("without an end mark", whole[..end_mark].to_vec()),
        ("without its beginning", whole[ends[0]..].to_vec()),
        ("flipped early", flipped(1)),
        ("flipped in the middle", flipped(whole.len() / 2)),
        ("flipped late", flipped(whole.len() - 1)),
        ("of a newer version", newer),
        ("twice", [whole.clone(), whole.clone()].concat()),
        ("empty", Vec::new()),
        ("something else", b"{\"users\":[]}".to_vec()),
    ];
    let new = Server::launch().start();
    for (what, bytes) in bad {
        let file = new.directory.join(what);
        fs::write(&file, bytes).expect("a file");
        let (code, printed) = at(&new, &["restore", what]);
        assert_eq!(code, Some(1), "{what}: {printed}");
        assert!(printed.contains("no whole backup") && printed.contains("nothing was restored"), "{what}: {printed}");
        let status = new.admin().get("/v1/cluster/status").await.must(200);
        let users: u64 =
            status["partitions"].as_array().into_iter().flatten().filter_map(|p| p["users"].as_u64()).sum();
        assert_eq!(users, 0, "{what}");
    }
    fs::write(new.directory.join("good"), &whole).expect("a file");
    let (code, printed) = at(&new, &["restore", "good"]);
    assert!(code == Some(0) && printed.contains("2 users restored"), "{printed}");
}

#[tokio::test]
async fn who_is_there_is_left_alone_unless_overwritten_and_watchers_are_told() {
    let server = Server::launch().start();
    let [alice, bob, gone] = server.people(["alice", "bob", "gone"]);
    for user in [&alice, &gone] {
        user.adds(&bob).await;
        let _ = user.put("/v1/users/me/profile", json!({"name": "as it was"})).await.must(200);
        user.set_status(json!({"status": "dnd", "text": "as it was"})).await;
    }
    let _ = alice.put_bare("/v1/users/me/blocks/carl").await.must(204);
    let history = alice.history().await;
    back_up(&server, "b");

    let _ = server.service().delete(&format!("/v1/users/{}", gone.id)).await.must(204);
    let _ = alice.put("/v1/users/me/profile", json!({"name": "as it is"})).await.must(200);
    let _ = alice.put_bare("/v1/users/me/contacts/dora").await.must(204);
    let _ = alice.delete("/v1/users/me/blocks/carl").await.must(204);
    alice.set_status(json!({"status": "away", "text": "as it is"})).await;
    let _of_alice: Socket = alice.connect("watch=contacts").await;
    let mut of_bob = bob.connect("session=false&watch=none").await;
    of_bob.watch(json!([alice.id])).await;
    of_bob.until_status(&alice.id, "away").await;
    let as_it_is = everything(&alice).await;
    let (code, printed) = at(&server, &["restore", "b"]);
    assert!(code == Some(0) && printed.contains("1 users restored and 1 left alone"), "{printed}");
    assert_eq!(everything(&alice).await, as_it_is);
    assert_eq!(gone.get("/v1/users/me/profile").await.must(200)["name"], "as it was");

    let (code, printed) = at(&server, &["restore", "b", "--overwrite"]);
    assert!(code == Some(0) && printed.contains("2 users restored and 0 left alone"), "{printed}");
    of_bob.until_status(&alice.id, "dnd").await;
    let (read, version) = everything(&alice).await;
    assert_eq!(read["profile"]["name"], "as it was");
    assert_eq!(read["status"]["presence"]["text"], "as it was", "alice is still online");
    assert_eq!(read["status"]["presence"]["status"], "dnd");
    assert_eq!(read["contacts"].as_array().map(Vec::len), Some(1), "{read}");
    assert_eq!(read["blocks"][0]["user"], "carl");
    let mut restored = alice.history().await;
    let own = restored.remove(0);
    assert_eq!((&own["reason"], &own["status"]), (&json!("status_set"), &json!("dnd")), "her session goes on");
    assert_eq!(restored, history, "its history too, each entry once");
    assert!(version > as_it_is.1, "versions rise");
    assert_eq!(bob.sees(&alice.id).await["text"], "as it was");
    let (code, printed) = at(&server, &["restore", "b", "--overwrite"]);
    assert_eq!(code, Some(0), "{printed}");
    let mut again = everything(&alice).await.0;
    again["history"][0] = read["history"][0].clone();
    assert_eq!(again, read, "overwritten twice is the same");
}

/// Lists with which a user takes several parts.
async fn fill_lists(user: &Client, but: &str) {
    let add: Vec<String> = (0..999).map(|n| format!("{n:04}-{}", "x".repeat(100))).chain([but.to_owned()]).collect();
    for list in ["contacts", "blocks"] {
        let _ = user.post(&format!("/v1/users/me/{list}"), json!({"add": add})).await.must(200);
    }
}

#[tokio::test]
async fn who_is_blocked_sees_nothing_while_the_parts_of_a_user_come() {
    let server = Server::launch().start();
    let [alice, mallory] = server.people(["alice", "mallory"]);
    fill_lists(&alice, &mallory.id).await;
    alice.set_status(json!({"status": "dnd", "text": "a secret"})).await;
    let _of_alice = alice.connect("watch=none").await;
    let mut of_mallory = mallory.connect("session=false&watch=none").await;
    of_mallory.watch(json!([alice.id])).await;
    let file = back_up(&server, "b");
    let items = fs::read(&file).expect("a file");
    let (code, printed) = at(&server, &["restore", "b", "--overwrite"]);
    assert_eq!(code, Some(0), "{printed}");
    of_mallory.fence().await;
    assert_eq!(of_mallory.version(&alice.id), 0, "blocked before and after, and in between");

    // The first part alone, as of a restore that was interrupted.
    let ends = ends(&items);
    let part = (1..ends.len()).map(|at| &items[ends[at - 1]..ends[at]]).find(|item| item.len() > 64 * 1_024);
    let part = part.expect("a user in parts");
    for overwrite in [true, false] {
        let url = format!("http://{}/v1/cluster/restore?overwrite={overwrite}", server.address);
        let request = reqwest::Client::new().post(url).bearer_auth(server.admin().token);
        let request = request.header("content-type", "application/octet-stream").body(part.to_vec());
        assert_eq!(request.send().await.expect("an answer").status(), 200);
        of_mallory.fence().await;
        assert_eq!(of_mallory.version(&alice.id), 0);
        assert_eq!(mallory.sees(&alice.id).await["version"], 0);
        assert_eq!(all(&alice, "/v1/users/me/blocks", "blocks").await.len(), 1_000, "nothing was touched yet");
    }
}

#[tokio::test]
async fn backup_and_restore_need_the_scope_admin_and_leave_no_file_behind() {
    let server = Server::launch().start();
    let [alice] = server.people(["alice"]);
    for client in [&alice, &server.service()] {
        client.get("/v1/cluster/backup").await.problem(403, "forbidden");
        client.post("/v1/cluster/restore", json!({})).await.problem(403, "forbidden");
    }
    server.admin().post("/v1/cluster/restore", json!({})).await.problem(415, "unsupported_media_type");
    let url = format!("http://{}", server.address);
    let token = server.service().token;
    let mut refused = Piped::start(&server.directory, &["backup", "refused", "--url", &url, "--token", &token], &[]);
    assert_eq!(refused.end().code(), Some(1));
    assert!(refused.output.to_string().contains("403"), "{}", refused.output);
    let names = fs::read_dir(&server.directory).expect("a directory").flatten().map(|e| e.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("refused")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_backup_replaces_a_file_only_when_asked() {
    let server = Server::launch().start();
    let name = server.directory.join("b");
    fs::write(&name, b"something dear").expect("a file");
    let (code, printed) = at(&server, &["backup", "b"]);
    assert!(code == Some(1) && printed.contains("--overwrite"), "{printed}");
    assert_eq!(fs::read(&name).expect("a file"), b"something dear");
    let (code, printed) = at(&server, &["backup", "b", "--overwrite"]);
    assert!(code == Some(0) && printed.contains("0 users"), "{printed}");
    assert_eq!(fs::metadata(&name).expect("a file").permissions().mode() & 0o777, 0o600);
    let (code, printed) = at(&server, &["restore", "b"]);
    assert!(code == Some(0) && printed.contains("0 users restored"), "{printed}");
}
