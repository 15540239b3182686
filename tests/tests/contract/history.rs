//! History: one entry for each acknowledged change of the setting or of the sessions' aggregate, each with its reason.

use super::{brief, usual as server};
use rollcall_tests::{Client, eventually};
use serde_json::{Value, json};

/// Status, text and reason of each entry, oldest first.
async fn told(user: &Client) -> Vec<[Value; 3]> {
    let entries = user.history().await;
    entries.iter().rev().map(|e| [e["status"].clone(), e["text"].clone(), e["reason"].clone()]).collect()
}

fn entry(status: &str, text: impl Into<Value>, reason: &str) -> [Value; 3] {
    [status.into(), text.into(), reason.into()]
}

async fn activity(user: &Client, session: &str, state: &str) {
    let _ = user.put(&format!("/v1/users/me/sessions/{session}"), json!({"activity": state})).await.must(204);
}

const NONE: Value = Value::Null;

#[tokio::test]
async fn the_first_session_is_connected_active_or_idle() {
    for (state, status) in [("active", "online"), ("idle", "away")] {
        let [alice] = server().people(["alice"]);
        alice.open("web", state).await;
        assert_eq!(told(&alice).await, [entry(status, NONE, "connected")]);
    }
}

#[tokio::test]
async fn the_last_session_that_is_ended_is_disconnected() {
    let [alice] = server().people(["alice"]);
    let (one, two) = (alice.open("web", "active").await, alice.open("web", "active").await);
    alice.close(&one).await;
    assert_eq!(told(&alice).await.len(), 1, "one of two alike changes nothing");
    alice.close(&two).await;
    assert_eq!(told(&alice).await, [entry("online", NONE, "connected"), entry("offline", NONE, "disconnected")]);
}

#[tokio::test]
async fn a_session_that_falls_silent_is_expired() {
    let [alice] = brief().people(["alice"]);
    alice.open("web", "active").await;
    eventually("it expires", async || (told(&alice).await.len() == 2).then_some(())).await;
    assert_eq!(told(&alice).await, [entry("online", NONE, "connected"), entry("offline", NONE, "expired")]);
}

#[tokio::test]
async fn all_sessions_idle_is_idle_and_one_active_is_active() {
    let [alice] = server().people(["alice"]);
    let (one, two) = (alice.open("web", "active").await, alice.open("web", "active").await);
    activity(&alice, &one, "idle").await;
    assert_eq!(told(&alice).await.len(), 1, "the other one is active");
    activity(&alice, &two, "idle").await;
    activity(&alice, &two, "idle").await;
    activity(&alice, &one, "active").await;
    activity(&alice, &two, "active").await;
    let expected = [entry("online", NONE, "connected"), entry("away", NONE, "idle"), entry("online", NONE, "active")];
    assert_eq!(told(&alice).await, expected);
}

#[tokio::test]
async fn devices_that_come_and_go_are_device_changed() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    let mobile = alice.open("mobile", "active").await;
    let again = alice.open("mobile", "active").await;
    alice.close(&mobile).await;
    assert_eq!(alice.reasons().await, ["connected", "device_changed"], "the same devices as before");
    alice.close(&again).await;
    assert_eq!(alice.reasons().await, ["connected", "device_changed", "device_changed"]);
}

#[tokio::test]
async fn settings_that_are_set_cleared_and_expire_are_told_with_their_texts() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "text": "one"})).await;
    alice.set_status(json!({"status": "online", "text": "two"})).await;
    let _ = alice.delete("/v1/users/me/status").await.must(200);
    alice.set_status(json!({"status": "away", "text": "three", "expires_in_s": 1})).await;
    eventually("it expires", async || (told(&alice).await.len() == 6).then_some(())).await;
    let expected = [
        entry("online", NONE, "connected"),
        entry("dnd", "one", "status_set"),
        entry("online", "two", "status_set"),
        entry("online", NONE, "status_cleared"),
        entry("away", "three", "status_set"),
        entry("online", NONE, "status_expired"),
    ];
    assert_eq!(told(&alice).await, expected);
}

#[tokio::test]
async fn what_is_done_in_hiding_is_told_with_its_true_status() {
    let [alice] = server().people(["alice"]);
    let web = alice.open("web", "active").await;
    let shown = alice.set_status(json!({"status": "invisible", "text": "hush"})).await["presence"]["version"].clone();
    activity(&alice, &web, "idle").await;
    activity(&alice, &web, "active").await;
    let mobile = alice.open("mobile", "active").await;
    alice.close(&mobile).await;
    let entries = alice.history().await;
    let reasons: Vec<&Value> = entries.iter().rev().map(|e| &e["reason"]).collect();
    let expected = ["connected", "status_set", "idle", "active", "device_changed", "device_changed"];
    assert_eq!(json!(reasons), json!(expected));
    for hidden in &entries[..5] {
        assert_eq!((&hidden["status"], &hidden["text"]), (&json!("invisible"), &json!("hush")), "{hidden}");
        assert_eq!(hidden["version"], shown, "the public version after it: {hidden}");
    }
    assert_eq!(alice.set_status(json!({"status": "online"})).await["presence"]["status"], "online");
    assert!(alice.history().await[0]["version"].as_u64() > shown.as_u64());
}

#[tokio::test]
async fn versions_in_history_end_with_the_public_one() {
    let [alice] = server().people(["alice"]);
    let web = alice.open("web", "active").await;
    activity(&alice, &web, "idle").await;
    alice.set_status(json!({"status": "dnd"})).await;
    alice.close(&web).await;
    let entries = alice.history().await;
    let versions: Vec<u64> = entries.iter().filter_map(|e| e["version"].as_u64()).collect();
    assert_eq!(versions.len(), 4);
    assert!(versions.windows(2).all(|w| w[0] > w[1]), "each of these showed: {versions:?}");
    assert_eq!(alice.sees("me").await["version"], versions[0]);
}

#[tokio::test]
async fn what_is_no_change_of_setting_or_sessions_has_no_entry() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let web = alice.open("web", "active").await;
    alice.adds(&bob).await;
    let _ = alice.put_bare("/v1/users/me/blocks/carol").await.must(204);
    let _ = alice.put("/v1/users/me/privacy", json!({"devices": "nobody"})).await.must(200);
    let _ = alice.put("/v1/users/me/profile", json!({"name": "A"})).await.must(200);
    let _ = alice.delete("/v1/users/me/status").await.must(200);
    activity(&alice, &web, "active").await;
    alice.put("/v1/users/me/status", json!({"status": "?"})).await.problem(400, "invalid_request");
    let _ = alice.delete("/v1/users/me/sessions/never-was").await.must(204);
    assert_eq!(alice.reasons().await, ["connected"]);
}
