//! The public presence: a function of live sessions, setting and privacy, with a version that rises exactly when it changes.

use super::usual as server;
use rollcall_tests::{Client, befriend, now_ms};
use serde_json::{Value, json};

fn version(presence: &Value) -> u64 {
    presence["version"].as_u64().expect("a version")
}

async fn activity(user: &Client, session: &str, activity: &str) -> Value {
    let path = format!("/v1/users/me/sessions/{session}");
    let _ = user.put(&path, json!({"activity": activity})).await.must(204);
    user.sees("me").await
}

#[tokio::test]
async fn a_user_that_was_never_seen_has_exactly_these_fields() {
    let [alice] = server().people(["alice"]);
    let reply = alice.get("/v1/users/me/presence").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let expected = format!(
        concat!(
            r#"{{"user":"{}","status":"offline","text":null,"meta":{{}},"since":null,"last_seen":null,"#,
            r#""devices":[],"version":0,"stale":false}}"#
        ),
        alice.id
    );
    assert_eq!(reply.body, expected);
}

#[tokio::test]
async fn one_active_session_makes_a_user_online_and_only_idle_ones_away() {
    let [alice] = server().people(["alice"]);
    let web = alice.open("web", "active").await;
    assert_eq!(alice.sees("me").await["status"], "online");
    let mobile = alice.open("mobile", "idle").await;
    assert_eq!(alice.sees("me").await["status"], "online");
    assert_eq!(activity(&alice, &web, "idle").await["status"], "away");
    assert_eq!(activity(&alice, &mobile, "active").await["status"], "online");
    alice.close(&mobile).await;
    assert_eq!(alice.sees("me").await["status"], "away");
    alice.close(&web).await;
    assert_eq!(alice.sees("me").await["status"], "offline");
}

#[tokio::test]
async fn the_manual_status_wins_over_activity_but_not_over_absence() {
    let [alice] = server().people(["alice"]);
    alice.set_status(json!({"status": "dnd", "text": "hush"})).await;
    let presence = alice.sees("me").await;
    assert_eq!((&presence["status"], &presence["text"]), (&json!("offline"), &Value::Null), "no session yet");
    let web = alice.open("web", "idle").await;
    let presence = alice.sees("me").await;
    assert_eq!((&presence["status"], &presence["text"]), (&json!("dnd"), &json!("hush")), "survives the reconnect");
    alice.set_status(json!({"status": "away"})).await;
    assert_eq!(activity(&alice, &web, "active").await["status"], "away");
    alice.set_status(json!({"status": "online", "text": "here"})).await;
    assert_eq!(alice.sees("me").await["status"], "online");
    let idle = activity(&alice, &web, "idle").await;
    assert_eq!((&idle["status"], &idle["text"]), (&json!("away"), &json!("here")), "online never hides idleness");
}

#[tokio::test]
async fn devices_are_distinct_sorted_and_empty_while_offline() {
    let [alice] = server().people(["alice"]);
    let mut sessions = Vec::new();
    for device in ["web", "bot", "web", "mobile"] {
        sessions.push(alice.open(device, "active").await);
    }
    assert_eq!(alice.sees("me").await["devices"], json!(["bot", "mobile", "web"]));
    alice.close(&sessions[0]).await;
    assert_eq!(alice.sees("me").await["devices"], json!(["bot", "mobile", "web"]), "another web session lives");
    alice.close(&sessions[2]).await;
    assert_eq!(alice.sees("me").await["devices"], json!(["bot", "mobile"]));
    alice.close(&sessions[1]).await;
    alice.close(&sessions[3]).await;
    assert_eq!(alice.sees("me").await["devices"], json!([]));
}

#[tokio::test]
async fn the_version_rises_with_every_change_and_with_nothing_else() {
    let [alice, bob] = server().people(["alice", "bob"]);
    let web = alice.open("web", "active").await;
    let mut last = alice.sees("me").await;
    assert!(version(&last) > 0);

    alice.open("web", "idle").await; // neither status nor devices change
    let _ = alice.put_bare(&format!("/v1/users/me/sessions/{web}")).await.must(204);
    alice.adds(&bob).await;
    let _ = alice.put("/v1/users/me/profile", json!({"name": "Alice"})).await.must(200);
    alice.set_status(json!({"status": "online"})).await;
    assert_eq!(alice.sees("me").await, last, "nothing that shows has changed");

    for setting in [
        json!({"status": "online", "text": "a"}),
        json!({"status": "online", "text": "b"}),
        json!({"status": "online", "text": "b", "meta": {"n": 1}}),
        json!({"status": "dnd", "text": "b", "meta": {"n": 1}}),
        json!({"status": "dnd"}),
    ] {
        let next = alice.set_status(setting.clone()).await["presence"].clone();
        assert!(version(&next) > version(&last), "{setting}: {last}, then {next}");
        let again = alice.set_status(setting.clone()).await["presence"].clone();
        assert_eq!(again, next, "the same setting again changes nothing");
        last = next;
    }
    alice.open("mobile", "active").await;
    let next = alice.sees("me").await;
    assert!(version(&next) > version(&last), "a new device shows");
}

#[tokio::test]
async fn since_moves_with_the_status_and_with_nothing_else() {
    let [alice] = server().people(["alice"]);
    let begun = now_ms();
    alice.open("web", "active").await;
    let online = alice.sees("me").await;
    let since = online["since"].as_u64().expect("since");
    assert!((begun..=now_ms()).contains(&since));
    let texted = alice.set_status(json!({"status": "online", "text": "x"})).await;
    assert_eq!(texted["presence"]["since"], online["since"]);
    alice.open("mobile", "active").await;
    assert_eq!(alice.sees("me").await["since"], online["since"]);
    let away = alice.set_status(json!({"status": "away"})).await;
    assert!(away["presence"]["since"].as_u64() >= online["since"].as_u64());
    assert_eq!(away["presence"]["last_seen"], Value::Null, "null while not offline");
}

#[tokio::test]
async fn last_seen_is_the_last_evidence_of_life_and_never_moves_back() {
    let [alice] = server().people(["alice"]);
    let mut last = 0;
    for _ in 0..3 {
        let session = alice.open("web", "active").await;
        let before = now_ms();
        alice.close(&session).await;
        let offline = alice.sees("me").await;
        let seen = offline["last_seen"].as_u64().expect("last_seen while offline");
        assert!((before..=now_ms()).contains(&seen), "a clean end is evidence of life: {offline}");
        assert_eq!(offline["since"], offline["last_seen"], "a clean sign-off");
        assert!(seen >= last);
        last = seen;
    }
}

#[tokio::test]
async fn privacy_hides_the_same_from_everyone() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let session = alice.open("web", "active").await;
    let shown = alice.sees("me").await;
    let hidden = json!({"last_seen": "nobody", "devices": "nobody"});
    assert_eq!(
        alice.get("/v1/users/me/privacy").await.must(200),
        json!({"last_seen": "contacts", "devices": "contacts"})
    );
    assert_eq!(alice.put("/v1/users/me/privacy", hidden.clone()).await.must(200), hidden);
    assert_eq!(alice.get("/v1/users/me/privacy").await.must(200), hidden);

    let live = alice.sees("me").await;
    assert_eq!(live["devices"], json!([]));
    assert_eq!(live["since"], shown["since"], "since is hidden only while offline");
    assert!(version(&live) > version(&shown));
    alice.close(&session).await;
    let offline = alice.sees("me").await;
    assert_eq!((&offline["since"], &offline["last_seen"]), (&Value::Null, &Value::Null));
    assert!(version(&offline) > version(&live));
    assert_eq!(bob.sees(&alice.id).await, offline);
    assert_eq!(server().service().sees(&alice.id).await, offline, "a service gets the same bytes");

    let open = json!({"last_seen": "contacts", "devices": "contacts"});
    let _ = alice.put("/v1/users/me/privacy", open).await.must(200);
    let shown = bob.sees(&alice.id).await;
    assert!(shown["since"].is_u64() && shown["last_seen"].is_u64(), "{shown}");
    assert!(version(&shown) > version(&offline));
}

#[tokio::test]
async fn a_change_of_privacy_reaches_live_watchers() {
    let [alice, bob] = server().people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    alice.open("web", "active").await;
    let mut friend = bob.connect("").await;
    friend.until_held(&alice.id, |p| p["devices"] == json!(["web"])).await;
    let _ = alice.put("/v1/users/me/privacy", json!({"devices": "nobody"})).await.must(200);
    friend.until_held(&alice.id, |p| p["devices"] == json!([])).await;
    let _ = alice.put("/v1/users/me/privacy", json!({"devices": "contacts"})).await.must(200);
    friend.until_held(&alice.id, |p| p["devices"] == json!(["web"])).await;
}
