//! What is decided while a connection pauses between two frames is not lost: it holds for whom it is about to watch, too.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, Server, Socket};
use serde_json::json;
use std::sync::OnceLock;

/// Long enough for a few requests within one pause, however slow the machine.
const PAUSE_MS: u64 = 1_000;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().set("presence.flush_ms", PAUSE_MS).start())
}

/// Alice's connection, which begins its pauses when carol changes; bob and dave are online, and show themselves to alice.
struct Scene {
    alice: Client,
    bob: Client,
    carol: Client,
    dave: Client,
    socket: Socket,
}

impl Scene {
    async fn set() -> Self {
        let [alice, bob, carol, dave] = server().people(["alice", "bob", "carol", "dave"]);
        for other in [&bob, &carol, &dave] {
            other.open("web", "active").await;
            other.adds(&alice).await;
        }
        let mut socket = alice.connect("session=false").await;
        socket.contacts_snapshot().await;
        socket.watch(json!([carol.id])).await;
        Self { alice, bob, carol, dave, socket }
    }

    /// Returns right after the connection has been told something.
    async fn pause(&mut self, text: &str) {
        self.carol.set_status(json!({"status": "dnd", "text": text})).await;
        self.socket.until_held(&self.carol.id, |p| p["text"] == text).await;
    }

    fn block(&self) -> String {
        format!("/v1/users/me/blocks/{}", self.bob.id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_is_blocked_before_it_is_watched_is_never_seen() {
    let mut scene = Scene::set().await;
    scene.pause("one").await;
    scene.alice.adds(&scene.bob).await;
    scene.alice.put_bare(&scene.block()).await;
    let held = scene.socket.until_held(&scene.bob.id, |_| true).await;
    assert_eq!(held["version"], 0, "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_is_no_longer_blocked_when_it_is_watched_is_seen() {
    let mut scene = Scene::set().await;
    scene.alice.put_bare(&scene.block()).await;
    scene.pause("one").await;
    scene.alice.adds(&scene.bob).await;
    scene.alice.delete(&scene.block()).await;
    scene.socket.until_status(&scene.bob.id, "online").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_is_unwatched_before_it_is_watched_stays_unwatched() {
    let mut scene = Scene::set().await;
    scene.pause("one").await;
    scene.alice.adds(&scene.bob).await;
    scene.socket.must(json!({"type": "unwatch", "users": [scene.bob.id]})).await;
    scene.alice.adds(&scene.dave).await;
    scene.socket.until_status(&scene.dave.id, "online").await;
    scene.pause("two").await;
    assert_eq!(scene.socket.held(&scene.bob.id), None, "nothing after the ok");
    scene.socket.watch(json!([scene.bob.id])).await;
    assert_eq!(scene.socket.held(&scene.bob.id).expect("bob")["status"], "online");
}
