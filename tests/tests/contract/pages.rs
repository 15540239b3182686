//! Lists in pages: the bounds of `limit`, cursors that nobody else made, and pages while the list changes.

use super::usual as server;
use rollcall_tests::Client;
use serde_json::{Value, json};

/// The paths of all lists with pages.
const LISTS: [&str; 3] = ["contacts", "blocks", "history"];

fn path(list: &str) -> String {
    format!("/v1/users/me/{list}")
}

/// A page's ids or texts, and its cursor.
async fn page(user: &Client, list: &str, query: &str) -> (Vec<String>, Option<String>) {
    let page = user.get(&format!("{}?{query}", path(list))).await.must(200);
    let (items, field) = if list == "history" { ("entries", "text") } else { (list, "user") };
    let items = page[items].as_array().expect("a list").iter();
    let items = items.map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect();
    (items, page["next"].as_str().map(Into::into))
}

#[tokio::test]
async fn a_limit_is_a_whole_number_from_1_to_1000_on_every_list() {
    let [alice] = server().people(["alice"]);
    for list in LISTS {
        for bad in ["0", "1001", "-1", "1.5", "ten", "", "99999999999999999999", "1e2"] {
            let detail = alice.get(&format!("{}?limit={bad}", path(list))).await.problem(400, "invalid_request");
            assert!(detail.contains("limit"), "{list}, {bad:?}: {detail}");
        }
        for good in ["1", "1000"] {
            assert_eq!(page(&alice, list, &format!("limit={good}")).await, (vec![], None), "{list}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_nobody_gave_out_is_malformed_on_every_list() {
    let [alice] = server().people(["alice"]);
    for list in LISTS {
        for bad in ["%00", "no-cursor-of-ours", "a%20b", "%FF", "~", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA!"] {
            let detail = alice.get(&format!("{}?cursor={bad}", path(list))).await.problem(400, "invalid_request");
            assert!(detail.contains("cursor"), "{list}, {bad:?}: {detail}");
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_malformed() {
    let [alice] = server().people(["alice"]);
    for list in ["contacts", "blocks"] {
        let _ = alice.post(&path(list), json!({"add": ["a", "b"]})).await.must(200);
    }
    for text in ["one", "two"] {
        alice.set_status(json!({"status": "dnd", "text": text})).await;
    }
    for list in LISTS {
        let (_, next) = page(&alice, list, "limit=1").await;
        let cursor = next.expect("more");
        for other in LISTS.into_iter().filter(|other| *other != list) {
            let reply = alice.get(&format!("{}?cursor={cursor}", path(other))).await;
            reply.problem(400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn a_limit_and_a_cursor_are_given_once() {
    let [alice] = server().people(["alice"]);
    for list in LISTS {
        for repeated in ["limit=1&limit=1", "cursor=a&cursor=a"] {
            alice.get(&format!("{}?{repeated}", path(list))).await.problem(400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn pages_of_ids_have_each_once_while_others_come_and_go() {
    for list in ["contacts", "blocks"] {
        let [alice] = server().people(["alice"]);
        let _ = alice.post(&path(list), json!({"add": ["b", "d", "f", "h", "j", "l"]})).await.must(200);
        let (first, next) = page(&alice, list, "limit=2").await;
        assert_eq!(first, ["b", "d"]);
        // One before the cursor, one behind it, and the very one that the cursor stands at goes.
        let _ = alice.post(&path(list), json!({"add": ["a", "g"], "remove": ["d", "l"]})).await.must(200);
        let (second, next) = page(&alice, list, &format!("limit=3&cursor={}", next.expect("more"))).await;
        assert_eq!(second, ["f", "g", "h"]);
        let (third, end) = page(&alice, list, &format!("limit=3&cursor={}", next.expect("more"))).await;
        assert_eq!((third, end), (vec!["j".to_owned()], None));
    }
}

#[tokio::test]
async fn pages_of_history_are_not_shifted_by_newer_entries() {
    let [alice] = server().people(["alice"]);
    let _socket = alice.connect("watch=none").await;
    let write = async |n: usize| alice.set_status(json!({"status": "dnd", "text": format!("{n}")})).await;
    for number in 0..7 {
        write(number).await;
    }
    let (mut all, mut next) = page(&alice, "history", "limit=3").await;
    let mut number = 7;
    while let Some(cursor) = next {
        write(number).await;
        number += 1;
        let (more, then) = page(&alice, "history", &format!("limit=3&cursor={cursor}")).await;
        all.extend(more);
        next = then;
    }
    assert_eq!(all, ["6", "5", "4", "3", "2", "1", "0", ""], "connected and each once, none of the newer ones");
}

#[tokio::test]
async fn a_page_that_ends_with_the_list_has_no_next() {
    let [alice] = server().people(["alice"]);
    let _ = alice.post(&path("contacts"), json!({"add": ["a", "b", "c", "d"]})).await.must(200);
    for limit in [4, 5, 1_000] {
        assert_eq!(page(&alice, "contacts", &format!("limit={limit}")).await.1, None, "{limit}");
    }
    let (first, next) = page(&alice, "contacts", "limit=2").await;
    let (second, end) = page(&alice, "contacts", &format!("limit=2&cursor={}", next.expect("more"))).await;
    assert_eq!([first, second].concat(), ["a", "b", "c", "d"]);
    assert_eq!(end, None);
}

#[tokio::test]
async fn a_window_of_history_comes_in_pages_too() {
    let [alice] = server().people(["alice"]);
    let _socket = alice.connect("watch=none").await;
    for number in 0..9 {
        alice.set_status(json!({"status": "dnd", "text": format!("{number}")})).await;
    }
    let entries = alice.history().await;
    let at = |index: usize| entries[index]["at"].as_u64().expect("at");
    let (from, to) = (at(7), at(1));
    let expected: Vec<&str> = entries
        .iter()
        .filter(|e| e["at"].as_u64().is_some_and(|at| (from..to).contains(&at)))
        .filter_map(|e| e["text"].as_str())
        .collect();
    let mut query = format!("from={from}&to={to}&limit=2");
    let mut all = Vec::new();
    loop {
        let (items, next) = page(&alice, "history", &query).await;
        all.extend(items);
        let Some(next) = next else { break };
        query = format!("from={from}&to={to}&limit=2&cursor={next}");
    }
    assert_eq!(all, expected);
}

#[tokio::test]
async fn duplicates_in_a_list_count_once_even_against_its_bound() {
    let [alice] = server().people(["alice"]);
    let twice: Vec<String> = (0..500).chain(0..500).map(|n| format!("dup-{n}")).collect();
    let total = alice.post(&path("contacts"), json!({"add": twice})).await.must(200);
    assert_eq!(total, json!({"total": 500}));
    let added: Vec<Value> = alice.get(&format!("{}?limit=1000", path("contacts"))).await.must(200)["contacts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(added.len(), 500);
    let gone = alice.post(&path("contacts"), json!({"remove": twice})).await.must(200);
    assert_eq!(gone, json!({"total": 0}));
}
