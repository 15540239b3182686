//! What clients see of a node that is stopped.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Server, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn a_stopping_node_says_goodbye_and_keeps_what_it_acknowledged() {
    let mut node = Server::launch().start();
    let [alice] = node.people(["alice"]);
    let mut socket = alice.connect("watch=none&device=web").await;
    socket.must(json!({"type": "status", "status": "dnd", "text": "kept"})).await;
    let (status, ended) = {
        let ending = tokio::spawn(async move { socket.ended().await });
        tokio::task::yield_now().await;
        let (node_back, status) = tokio::task::spawn_blocking(move || {
            let status = node.terminate();
            (node, status)
        })
        .await
        .expect("the node stops");
        node = node_back;
        (status, ending.await.expect("the connection ends"))
    };
    assert_eq!(status.code(), Some(0), "a clean stop");
    let goodbye = ended.goodbye.expect("a goodbye");
    let named = [("drain", 4000), ("shutdown", 4005)].into_iter().find(|(reason, _)| goodbye["reason"] == *reason);
    assert_eq!(ended.code, named.map(|(_, code)| code), "{goodbye}");
    assert_eq!(goodbye["reconnect"], true);
    node.restart();
    let again = node.client(&alice.id, "user");
    let setting = again.get("/v1/users/me/status").await.must(200)["setting"].clone();
    assert_eq!((&setting["status"], &setting["text"]), (&json!("dnd"), &json!("kept")));
    eventually("the lost session ends after its grace or is still live", async || {
        let presence = again.sees("me").await;
        (presence["stale"] == Value::Bool(false)).then_some(())
    })
    .await;
}
