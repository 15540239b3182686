//! Who sees what, as a table: contacts or everyone, blocks on either side, invisible, last-seen and devices hidden.
//!
//! Walks all combinations, one change at a time, so that each change must correct a live watcher at once.

use super::{open, usual};
use rollcall_tests::{Client, Stage, befriend};
use serde_json::{Value, json};

/// What stands between two users; one bit each.
#[derive(Debug, Clone, Copy)]
struct Between {
    contact: bool,
    blocks: bool,
    blocked: bool,
    invisible: bool,
    hidden: bool,
}

impl Between {
    fn of(bits: u32) -> Self {
        let bit = |at: u32| bits >> at & 1 == 1;
        Self { contact: !bit(0), blocks: bit(1), blocked: bit(2), invisible: bit(3), hidden: bit(4) }
    }

    fn may_see(self, everyone: bool) -> bool {
        (everyone || self.contact) && !self.blocks && !self.blocked
    }
}

/// Changes the one thing in which `now` differs from `before`.
async fn change(alice: &Client, bob: &Client, before: Between, now: Between) {
    let set = async |user: &Client, list: &str, other: &Client, there: bool| {
        let path = format!("/v1/users/me/{list}/{}", other.id);
        let method = if there { "PUT" } else { "DELETE" };
        let _ = user.send(method, &path, &[], None).await.must(204);
    };
    if before.contact != now.contact {
        set(alice, "contacts", bob, now.contact).await;
    }
    if before.blocks != now.blocks {
        set(alice, "blocks", bob, now.blocks).await;
    }
    if before.blocked != now.blocked {
        set(bob, "blocks", alice, now.blocked).await;
    }
    if before.invisible != now.invisible {
        let status = if now.invisible { "invisible" } else { "dnd" };
        alice.set_status(json!({"status": status, "text": "x", "meta": {"k": 1}})).await;
    }
    if before.hidden != now.hidden {
        let who = if now.hidden { "nobody" } else { "contacts" };
        let _ = alice.put("/v1/users/me/privacy", json!({"last_seen": who, "devices": who})).await.must(200);
    }
}

fn never_seen(user: &str) -> Value {
    json!({"user": user, "status": "offline", "text": null, "meta": {}, "since": null, "last_seen": null,
        "devices": [], "version": 0, "stale": false})
}

/// What the public presence must show, but for its times and its version.
fn shown(between: Between, live: bool, presence: &Value) {
    let offline = between.invisible || !live;
    let expected = if offline { json!(["offline", null, {}]) } else { json!(["dnd", "x", {"k": 1}]) };
    assert_eq!(json!([presence["status"], presence["text"], presence["meta"]]), expected, "{between:?}: {presence}");
    let devices = if offline || between.hidden { json!([]) } else { json!(["web"]) };
    assert_eq!(presence["devices"], devices, "{between:?}");
    assert_eq!(presence["last_seen"].is_u64(), offline && !between.hidden, "{between:?}: {presence}");
    assert_eq!(presence["since"].is_u64(), !(offline && between.hidden), "{between:?}: {presence}");
}

/// Walks all combinations with a live or an offline alice, whom bob watches all the while.
async fn walk(stage: &Stage, everyone: bool, live: bool) {
    let [alice, bob] = stage.people(["alice", "bob"]);
    befriend(&alice, &bob).await;
    let profile = json!({"name": "Alice", "meta": {}});
    let _ = alice.put("/v1/users/me/profile", profile.clone()).await.must(200);
    let session = alice.open("web", "active").await;
    alice.set_status(json!({"status": "dnd", "text": "x", "meta": {"k": 1}})).await;
    if !live {
        alice.close(&session).await;
    }
    let service = stage.service();
    let mut watcher = bob.connect("session=false&watch=none").await;
    watcher.watch(json!([alice.id])).await;
    let mut before = Between::of(0);
    for step in 0..32_u32 {
        // Gray's code: each step changes one bit.
        let now = Between::of(step ^ (step >> 1));
        change(&alice, &bob, before, now).await;
        before = now;
        let public = alice.sees("me").await;
        shown(now, live, &public);
        let seen = now.may_see(everyone);
        let expected = if seen { public.clone() } else { never_seen(&alice.id) };
        assert_eq!(bob.sees(&alice.id).await, expected, "{now:?}");
        let query = bob.post("/v1/presence/query", json!({"users": [alice.id]})).await.must(200);
        assert_eq!(query["presences"], json!([expected]), "{now:?}");
        let read = bob.get(&format!("/v1/users/{}/profile", alice.id)).await.must(200);
        assert_eq!(read, if seen { profile.clone() } else { json!({"name": null, "meta": {}}) }, "{now:?}");
        assert_eq!(service.sees(&alice.id).await, public, "{now:?}: a service sees what is public");
        watcher.until_held(&alice.id, |held| *held == expected).await;
    }
    assert!(watcher.fence().await.is_empty());
}

#[tokio::test]
async fn who_sees_a_live_user_with_visibility_contacts_and_watchers_are_corrected_at_once() {
    walk(usual(), false, true).await;
}

#[tokio::test]
async fn who_sees_an_offline_user_with_visibility_contacts_and_watchers_are_corrected_at_once() {
    walk(usual(), false, false).await;
}

#[tokio::test]
async fn who_sees_a_live_user_with_visibility_everyone_and_watchers_are_corrected_at_once() {
    walk(open(), true, true).await;
}

#[tokio::test]
async fn who_sees_an_offline_user_with_visibility_everyone_and_watchers_are_corrected_at_once() {
    walk(open(), true, false).await;
}
