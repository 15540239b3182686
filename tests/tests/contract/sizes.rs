//! Sizes to the byte: UTF-8 bytes, of JSON in its compact form, the same over HTTP and over a WebSocket.

use super::{
    errors::{JSON, raw},
    usual as server,
};
use serde_json::{Value, json};

/// An object of so many bytes in compact form.
fn meta_of(bytes: usize) -> Value {
    json!({"k": "m".repeat(bytes - r#"{"k":""}"#.len())})
}

#[tokio::test]
async fn a_status_frame_has_the_bounds_of_a_put() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none").await;
    for (field, fits, too_much) in [
        ("text", json!("t".repeat(512)), json!("t".repeat(513))),
        ("text", json!("\u{1f600}".repeat(128)), json!("\u{1f600}".repeat(128) + "t")),
        ("meta", meta_of(2_048), meta_of(2_049)),
        ("expires_in_s", json!(31_536_000), json!(31_536_001)),
        ("expires_in_s", json!(1), json!(0)),
    ] {
        let mut good = json!({"type": "status", "status": "dnd"});
        let mut bad = good.clone();
        good[field] = fits.clone();
        bad[field] = too_much;
        socket.must(good).await;
        let refused = socket.ask(bad).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("invalid_request")), "{field}");
        assert!(refused["detail"].as_str().is_some_and(|d| d.contains(field)), "{refused}");
        if field != "expires_in_s" {
            assert_eq!(alice.get("/v1/users/me/status").await.must(200)["setting"][field], fits);
        }
    }
}

#[tokio::test]
async fn meta_is_measured_in_its_compact_form() {
    let [alice] = server().people(["alice"]);
    for (path, rest, most) in
        [("/v1/users/me/status", r#""status":"dnd","#, 2_048), ("/v1/users/me/profile", "", 4_096)]
    {
        let line = format!("PUT {path}");
        // Blanks count for nothing, nor does the way that a character is written.
        let letters = most - r#"{"k":""}"#.len();
        let written = format!(r#"{{{rest}"meta":{{  "k" : "{}"{}}}}}"#, "\\u006d".repeat(letters), " ".repeat(5_000));
        let set = raw(Some(&alice), &line, &[JSON], &written).await.must(200);
        let meta = if rest.is_empty() { &set["meta"] } else { &set["setting"]["meta"] };
        assert_eq!(meta["k"], "m".repeat(letters), "{path}");
        let over = format!(r#"{{{rest}"meta":{{"k":"{}"}}}}"#, "m".repeat(letters + 1));
        raw(Some(&alice), &line, &[JSON], &over).await.problem(400, "invalid_request");
        // A quote takes two bytes in the compact form.
        let quoted = format!(r#"{{{rest}"meta":{{"k":"{}\""}}}}"#, "m".repeat(letters - 1));
        raw(Some(&alice), &line, &[JSON], &quoted).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn the_name_of_a_profile_is_counted_in_bytes() {
    let [alice] = server().people(["alice"]);
    let path = "/v1/users/me/profile";
    for good in ["n".repeat(128), "ä".repeat(64), "\u{1f600}".repeat(32)] {
        let kept = alice.put(path, json!({"name": good})).await.must(200);
        assert_eq!(kept, json!({"name": good, "meta": {}}));
    }
    for bad in ["ä".repeat(64) + "n", "\u{1f600}".repeat(32) + "n"] {
        alice.put(path, json!({"name": bad})).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_empty_text_is_none_over_a_socket_too() {
    let [alice] = server().people(["alice"]);
    let mut socket = alice.connect("watch=none").await;
    for none in [json!(""), Value::Null] {
        socket.must(json!({"type": "status", "status": "dnd", "text": "something"})).await;
        socket.must(json!({"type": "status", "status": "dnd", "text": none})).await;
        assert_eq!(alice.get("/v1/users/me/status").await.must(200)["setting"]["text"], Value::Null);
        assert_eq!(alice.sees("me").await["text"], Value::Null);
    }
}

#[tokio::test]
async fn a_text_has_no_control_character_and_may_have_any_other() {
    let [alice] = server().people(["alice"]);
    for control in ['\u{0}', '\u{1}', '\t', '\n', '\r', '\u{1f}', '\u{7f}', '\u{85}', '\u{9f}'] {
        let body = json!({"status": "dnd", "text": format!("a{control}b")});
        let detail = alice.put("/v1/users/me/status", body).await.problem(400, "invalid_request");
        assert!(detail.contains("text"), "{control:?}: {detail}");
    }
    for good in ["\u{a0}", "\u{1f469}\u{200d}\u{1f4bb}", "<b>\"&'\\", "\u{202e}txet", " ", "🇺🇳"] {
        let set = alice.set_status(json!({"status": "dnd", "text": good})).await;
        assert_eq!(set["setting"]["text"], good);
    }
}

#[tokio::test]
async fn a_device_has_one_to_thirty_two_bytes_of_its_alphabet_everywhere() {
    let [alice] = server().people(["alice"]);
    let longest = "0123456789_-abcdefghijklmnopqrst";
    assert_eq!(longest.len(), 32);
    for device in ["a", "-", "_", "7", longest] {
        let session = alice.open(device, "active").await;
        assert_eq!(alice.sees("me").await["devices"], json!([device]));
        alice.close(&session).await;
        let socket = alice.connect(&format!("watch=none&device={device}")).await;
        assert_eq!(alice.sees("me").await["devices"], json!([device]));
        socket.close(Some(1000)).await;
        rollcall_tests::eventually("the session is over", async || {
            (alice.sees("me").await["status"] == "offline").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_frame_never_has_more_than_256_kib() {
    // Each presence is near its largest: so many need more than one frame, far below 500 entries.
    let count = 110;
    let [bob] = server().people(["bob"]);
    let people = server().people(["large"; 110]);
    for part in people.chunks(10) {
        let making = part.iter().map(|user| async {
            user.adds(&bob).await;
            user.open("web", "active").await;
            let full = json!({"status": "dnd", "text": "t".repeat(512), "meta": meta_of(2_048)});
            user.set_status(full).await;
        });
        futures::future::join_all(making).await;
    }
    let ids: Vec<&str> = people.iter().map(|p| p.id.as_str()).collect();
    let mut socket = bob.connect("session=false&watch=none").await;
    socket.send(&json!({"type": "watch", "users": ids, "id": 1})).await;
    let (mut seen, mut frames) = (0, 0);
    loop {
        let frame = socket.frame().await;
        let bytes = frame.to_string().len();
        assert!(bytes <= 256 * 1_024, "{bytes} bytes");
        assert_eq!((&frame["type"], &frame["id"]), (&json!("snapshot"), &json!(1)));
        seen += frame["presences"].as_array().map_or(0, Vec::len);
        frames += 1;
        if frame["more"] == false {
            break;
        }
    }
    assert_eq!(seen, count);
    assert!(frames > 1, "all of it is more than one frame holds");
}
