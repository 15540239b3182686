//! No ghosts: whatever the user does meanwhile, a session that gives no sign of life ends, and what served it is let go.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Server, Socket, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_socket_died_with_the_node_ends_though_its_user_goes_on() {
    let mut server = Server::launch().set("presence.grace_ms", 1_000).start();
    let alice = server.client("alice", "user");
    let socket = alice.connect("device=web&watch=none").await;
    server.kill9();
    server.restart();
    drop(socket);
    let alice = server.client("alice", "user");
    alice.set_status(json!({"status": "dnd"})).await;
    eventually("the session to end", async || (alice.sees("alice").await["status"] == "offline").then_some(())).await;
    assert_eq!(alice.reasons().await, ["connected", "status_set", "node_lost"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_refused_leaves_no_actor_behind() {
    let mut server = Server::launch()
        .set("limits.sessions", 1)
        .set("presence.session_ttl_ms", 3_000)
        .set("presence.heartbeat_ms", 1_000)
        .start();
    server.client("alice", "user").open("web", "active").await;
    // After a restart it is the connection that wakes the user's actor.
    server.restart();
    let alice = server.client("alice", "user");
    let token = format!("Bearer {}", alice.token);
    let refused = Socket::open(&server.address, "watch=none", &[("authorization", &token)]).await;
    assert_eq!(refused.expect_err("a refusal").status, 422);
    let admin = server.admin();
    eventually("the actor to go with the session", async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        let node = &status["nodes"][0];
        (node["sessions"] == 0 && node["user_actors"] == 0).then_some(())
    })
    .await;
}
