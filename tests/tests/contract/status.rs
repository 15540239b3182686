//! The status setting: replaced as a whole, kept over everything, cleared at its time, and invisible without a trace.

use super::usual as server;
use rollcall_tests::{Client, befriend, now_ms};
use serde_json::{Value, json};

const STATUS: &str = "/v1/users/me/status";

/// A presence without what two users cannot have in common.
fn anonymous(presence: &Value) -> Value {
    let mut presence = presence.clone();
    for field in ["user", "since", "last_seen", "version"] {
        presence[field] = Value::Null;
    }
    presence
}

async fn activity(user: &Client, session: &str, activity: &str) {
    let _ = user.put(&format!("/v1/users/me/sessions/{session}"), json!({"activity": activity})).await.must(204);
}

#[tokio::test]
async fn a_put_replaces_the_whole_setting() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    let begun = now_ms();
    let full = json!({"status": "dnd", "text": "deep work", "meta": {"until": "noon"}, "expires_in_s": 3600});
    let set = alice.set_status(full).await;
    let expires = set["setting"]["expires_at"].as_u64().expect("expires_at");
    assert!((begun + 3_600_000..=now_ms() + 3_600_000).contains(&expires), "{set}");
    assert_eq!(alice.get(STATUS).await.must(200), set, "GET answers the same");
    let bare = alice.set_status(json!({"status": "away"})).await;
    assert_eq!(bare["setting"], json!({"status": "away", "text": null, "meta": {}, "expires_at": null}));
    assert_eq!((&bare["presence"]["text"], &bare["presence"]["meta"]), (&Value::Null, &json!({})));
    let nulls = json!({"status": "away", "text": null, "meta": null, "expires_in_s": null});
    assert_eq!(alice.set_status(nulls).await, bare, "null is as absent");
    let empty = alice.set_status(json!({"status": "away", "text": ""})).await;
    assert_eq!(empty, bare, "an empty text is none");
}

#[tokio::test]
async fn deleting_returns_to_automatic_as_often_as_it_is_asked() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "text": "x", "meta": {"a": 1}})).await;
    let cleared = alice.delete(STATUS).await.must(200);
    assert_eq!(cleared["setting"], json!({"status": "online", "text": null, "meta": {}, "expires_at": null}));
    assert_eq!(cleared["presence"]["status"], "online");
    assert_eq!(alice.delete(STATUS).await.must(200), cleared);
    assert_eq!(alice.get(STATUS).await.must(200), cleared);
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_cleared"]);
}

#[tokio::test]
async fn a_setting_ends_at_its_time_and_watchers_are_told() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut friend = bob.connect("").await;
    let set = alice.set_status(json!({"status": "dnd", "text": "one second", "expires_in_s": 1})).await;
    friend.until_status(&alice.id, "dnd").await;
    let over = friend.until_status(&alice.id, "online").await;
    assert_eq!(over["text"], Value::Null);
    assert!(over["since"].as_u64() >= set["setting"]["expires_at"].as_u64(), "{set}, then {over}");
    let setting = alice.get(STATUS).await.must(200)["setting"].clone();
    assert_eq!(setting, json!({"status": "online", "text": null, "meta": {}, "expires_at": null}));
    assert_eq!(alice.reasons().await, ["connected", "status_set", "status_expired"]);
}

#[tokio::test]
async fn a_replaced_setting_does_not_take_its_expiry_along() {
    let [alice, bob, clock] = server().people(["alice", "bob", "clock"]);
    befriend(&alice, &bob).await;
    befriend(&clock, &bob).await;
    alice.open("web", "active").await;
    clock.open("web", "active").await;
    let mut friend = bob.connect("").await;
    alice.set_status(json!({"status": "dnd", "expires_in_s": 1})).await;
    let kept = alice.set_status(json!({"status": "away", "text": "kept"})).await;
    clock.set_status(json!({"status": "dnd", "expires_in_s": 2})).await;
    friend.until_status(&clock.id, "dnd").await;
    friend.until_status(&clock.id, "online").await; // a later expiry has passed
    assert_eq!(friend.held(&alice.id), Some(&kept["presence"]));
    assert_eq!(alice.get(STATUS).await.must(200), kept);
}

#[tokio::test]
async fn turning_invisible_cannot_be_told_from_signing_off() {
    let [hidden, gone, bob] = server().people(["hidden", "gone", "bob"]);
    for user in [&hidden, &gone] {
        befriend(user, &bob).await;
        user.set_status(json!({"status": "dnd", "text": "busy", "meta": {"a": 1}})).await;
    }
    hidden.open("web", "active").await;
    let session = gone.open("web", "active").await;
    let mut friend = bob.connect("").await;
    friend.until_status(&hidden.id, "dnd").await;
    friend.until_status(&gone.id, "dnd").await;

    let before = now_ms();
    let set = hidden.set_status(json!({"status": "invisible", "text": "secret", "meta": {"b": 2}})).await;
    gone.close(&session).await;
    let vanished = friend.until_status(&hidden.id, "offline").await;
    let left = friend.until_status(&gone.id, "offline").await;
    assert_eq!(anonymous(&vanished), anonymous(&left));
    for presence in [&vanished, &left] {
        let since = presence["since"].as_u64().unwrap_or(0);
        assert!((before..=now_ms()).contains(&since), "{presence}");
        assert_eq!(presence["since"], presence["last_seen"]);
    }
    assert_eq!(set["setting"]["status"], "invisible", "the user knows");
    assert_eq!(set["presence"], vanished, "and sees what all see");
    let newest = &hidden.history().await[0];
    assert_eq!((&newest["status"], &newest["text"]), (&json!("invisible"), &json!("secret")));
    assert_eq!(newest["version"], vanished["version"]);
}

#[tokio::test]
async fn nothing_done_while_invisible_shows() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let web = alice.open("web", "active").await;
    let mut friend = bob.connect("").await;
    friend.until_status(&alice.id, "online").await;
    alice.set_status(json!({"status": "invisible"})).await;
    let hidden = friend.until_status(&alice.id, "offline").await;

    activity(&alice, &web, "idle").await;
    let mobile = alice.open("mobile", "active").await;
    activity(&alice, &mobile, "idle").await;
    alice.set_status(json!({"status": "invisible", "text": "still here"})).await;
    let mut socket = alice.connect("watch=none&device=bot").await;
    socket.must(json!({"type": "activity", "state": "idle"})).await;
    socket.close(Some(1000)).await;
    alice.close(&web).await;
    alice.close(&mobile).await; // the last session of an invisible user
    assert_eq!(alice.sees("me").await, hidden);
    assert!(friend.fence().await.is_empty(), "not a frame about it");
    let history = alice.history().await;
    assert!(history.len() >= 8, "the user's own history has it all: {history:?}");
    assert_eq!(history[0]["reason"], "disconnected");
    for entry in history.iter().take_while(|e| e["status"] == "invisible" || e["status"] == "offline") {
        assert_eq!(entry["version"], hidden["version"], "{entry}");
    }
}

#[tokio::test]
async fn coming_out_of_hiding_shows_again_with_a_higher_version() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let hidden = alice.set_status(json!({"status": "invisible"})).await["presence"].clone();
    let shown = alice.set_status(json!({"status": "online"})).await["presence"].clone();
    assert_eq!(shown["status"], "online");
    assert_eq!(shown["devices"], json!(["web"]));
    assert!(shown["version"].as_u64() > hidden["version"].as_u64());
    assert_eq!(bob.sees(&alice.id).await, shown);
}

#[tokio::test]
async fn turning_invisible_while_offline_changes_nothing() {
    let [alice] = server().people(["alice"]);
    let session = alice.open("web", "active").await;
    alice.close(&session).await;
    let offline = alice.sees("me").await;
    let set = alice.set_status(json!({"status": "invisible"})).await;
    assert_eq!(set["presence"], offline);
    let session = alice.open("web", "active").await;
    assert_eq!(alice.sees("me").await, offline, "and connecting invisibly neither");
    alice.close(&session).await;
    assert_eq!(alice.sees("me").await, offline);
    assert_eq!(
        alice.reasons().await,
        ["connected", "disconnected", "status_set", "connected", "disconnected"],
        "history has hidden changes too"
    );
}

#[tokio::test]
async fn bounds_are_counted_in_bytes_and_named() {
    let [alice] = server().people(["alice"]);
    let meta_of = |bytes: usize| json!({"k": "m".repeat(bytes - r#"{"k":""}"#.len())});
    for good in [
        json!({"status": "dnd", "text": "t".repeat(512)}),
        json!({"status": "dnd", "text": "ä".repeat(256)}),
        json!({"status": "dnd", "meta": meta_of(2_048)}),
        json!({"status": "dnd", "expires_in_s": 1}),
        json!({"status": "dnd", "expires_in_s": 31_536_000}),
    ] {
        alice.set_status(good).await;
    }
    let before = alice.get(STATUS).await.must(200);
    for (bad, field) in [
        (json!({"status": "dnd", "text": "t".repeat(513)}), "text"),
        (json!({"status": "dnd", "text": "ä".repeat(257)}), "text"),
        (json!({"status": "dnd", "text": "a\nb"}), "text"),
        (json!({"status": "dnd", "text": "a\u{7f}"}), "text"),
        (json!({"status": "dnd", "text": 5}), "text"),
        (json!({"status": "dnd", "meta": meta_of(2_049)}), "meta"),
        (json!({"status": "dnd", "meta": []}), "meta"),
        (json!({"status": "dnd", "meta": "{}"}), "meta"),
        (json!({"status": "dnd", "expires_in_s": 0}), "expires_in_s"),
        (json!({"status": "dnd", "expires_in_s": -1}), "expires_in_s"),
        (json!({"status": "dnd", "expires_in_s": 1.5}), "expires_in_s"),
        (json!({"status": "dnd", "expires_in_s": 31_536_001}), "expires_in_s"),
        (json!({"status": "dnd", "mood": "good"}), "mood"),
        (json!({"status": "offline"}), "status"),
        (json!({"status": "Online"}), "status"),
        (json!({"status": null}), "status"),
        (json!({"text": "no status"}), "status"),
    ] {
        let detail = alice.put(STATUS, bad.clone()).await.problem(400, "invalid_request");
        assert!(detail.contains(field), "{bad}: {detail:?} does not name {field}");
    }
    assert_eq!(alice.get(STATUS).await.must(200), before, "nothing changed");
}

#[tokio::test]
async fn meta_is_kept_as_it_was_given() {
    let [alice] = server().people(["alice"]);
    alice.open("web", "active").await;
    let meta = json!({"z": 1, "a": {"deep": [1, 2.5, null, true, "\u{1f600} \" \\"]}, "": ""});
    let set = alice.set_status(json!({"status": "online", "meta": meta})).await;
    assert_eq!(set["setting"]["meta"], meta);
    assert_eq!(set["presence"]["meta"], meta);
    assert_eq!(alice.sees("me").await["meta"], meta);
}
