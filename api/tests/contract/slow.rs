//! Section 8: a reader that does not read.

use crate::stage::{Socket, Stage};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// More than the system holds between two sockets: frames that nobody reads, until the server cannot write.
async fn stuff(stage: &Stage, socket: &mut Socket) {
    stage.fake.everyone_sees_everyone();
    let users: Vec<String> = (0..400).map(|n| format!("u{n}")).collect();
    for user in &users {
        stage.fake.open_quietly(user);
        stage.fake.describe_quietly(user, 2_000);
    }
    for _ in 0..16 {
        socket.say(json!({ "type": "watch", "users": users })).await;
    }
}

#[tokio::test]
async fn one_that_reads_nothing_for_30_s_is_closed_with_slow() {
    let stage = Stage::new().await;
    let mut socket = stage.observe("alice", "?watch=none").await;
    stuff(&stage, &mut socket).await;
    // From here on time passes as fast as nothing happens.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let endings = timeout(Duration::from_secs(120), stage.fake.endings()).await.expect("it ends");
    assert!(started.elapsed() >= Duration::from_secs(30));
    assert_eq!(endings.len(), 1, "its session has its grace from now on");
    tokio::time::resume();
    let mut last = socket.next().await;
    while last["type"] != "goodbye" {
        last = socket.next().await;
    }
    assert_eq!((&last["reason"], &last["reconnect"]), (&json!("slow"), &json!(true)));
    assert_eq!(socket.closed().await, 4_004);
}

#[tokio::test]
async fn one_that_reads_nothing_slows_nobody_else() {
    let stage = Stage::new().await;
    let mut slow = stage.observe("alice", "?watch=none").await;
    stuff(&stage, &mut slow).await;
    let mut other = stage.observe("bob", "?watch=none").await;
    other.ask(json!({ "type": "watch", "id": 1, "users": ["u0"] })).await;
    for n in 0..20 {
        stage.fake.describe_quietly("u0", n);
        let seen = other.next().await;
        assert_eq!(seen["presences"][0]["meta"]["k"].as_str().unwrap().len(), n);
    }
}
