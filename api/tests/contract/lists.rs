//! Section 6: contacts and blocks, the same four calls for both.

use crate::stage::{Stage, problem};
use reqwest::Method;
use serde_json::{Value, json};

const LISTS: [&str; 2] = ["contacts", "blocks"];

async fn users(stage: &Stage, list: &str, query: &str) -> (Vec<String>, Value) {
    let page = stage.get("alice", &format!("/v1/users/me/{list}{query}")).await;
    let users = page[list].as_array().unwrap().iter().map(|e| {
        assert!(e["added"].is_u64());
        e["user"].as_str().unwrap().to_owned()
    });
    (users.collect(), page["next"].clone())
}

#[tokio::test]
async fn one_at_a_time_is_204_and_idempotent() {
    let stage = Stage::new().await;
    for list in LISTS {
        let path = format!("/v1/users/me/{list}/bob");
        for _ in 0..2 {
            assert_eq!(stage.by("alice", Method::PUT, &path).send().await.unwrap().status(), 204);
            assert_eq!(users(&stage, list, "").await, (vec!["bob".to_owned()], Value::Null));
        }
        for _ in 0..2 {
            assert_eq!(stage.delete("alice", &path).await.status(), 204);
            assert_eq!(users(&stage, list, "").await.0, Vec::<String>::new());
        }
        let own = stage.by("alice", Method::PUT, &format!("/v1/users/me/{list}/alice")).send().await.unwrap();
        assert!(problem(own, 400, "invalid_request").await.starts_with("other:"));
    }
}

#[tokio::test]
async fn many_at_once_are_all_or_nothing_and_count_duplicates_once() {
    let stage = Stage::new().await;
    stage.fake.capacities(3, 3, 5);
    for list in LISTS {
        let path = format!("/v1/users/me/{list}");
        let change = |body: Value| stage.post("alice", &path, body);
        let total = change(json!({ "add": ["c", "b", "c"] })).await;
        assert_eq!((total.status().as_u16(), total.json::<Value>().await.unwrap()), (200, json!({ "total": 2 })));
        problem(change(json!({ "add": ["d", "e"] })).await, 422, "limit_exceeded").await;
        assert_eq!(users(&stage, list, "").await.0, ["b", "c"]);
        let swapped = change(json!({ "add": ["d"], "remove": ["b", "x"] })).await;
        assert_eq!(swapped.json::<Value>().await.unwrap(), json!({ "total": 2 }));
        assert_eq!(users(&stage, list, "").await.0, ["c", "d"]);
        assert_eq!(change(json!({})).await.json::<Value>().await.unwrap(), json!({ "total": 2 }));
        for (bad, field) in [
            (json!({ "add": ["x"], "remove": ["x"] }), "remove"),
            (json!({ "add": ["alice"] }), "add"),
            (json!({ "remove": ["alice"] }), "remove"),
            (json!({ "add": ["a b"] }), "add"),
            (json!({ "add": "x" }), "add"),
            (json!({ "add": [7] }), "add"),
        ] {
            assert!(problem(change(bad).await, 400, "invalid_request").await.starts_with(field));
        }
    }
}

#[tokio::test]
async fn a_bulk_call_takes_1000_ids_together() {
    let stage = Stage::new().await;
    let ids = |from: u32, to: u32| (from..to).map(|n| format!("u{n}")).collect::<Vec<_>>();
    let good =
        stage.post("alice", "/v1/users/me/contacts", json!({ "add": ids(0, 600), "remove": ids(600, 1_000) })).await;
    assert_eq!(good.json::<Value>().await.unwrap(), json!({ "total": 600 }));
    let bad =
        stage.post("alice", "/v1/users/me/contacts", json!({ "add": ids(0, 600), "remove": ids(600, 1_001) })).await;
    assert!(problem(bad, 400, "invalid_request").await.contains("1000"));
    let mut twice = ids(0, 1_000);
    twice.extend(ids(0, 1_000));
    let once = stage.post("alice", "/v1/users/me/contacts", json!({ "add": twice })).await;
    assert_eq!(once.json::<Value>().await.unwrap(), json!({ "total": 1_000 }));
}

#[tokio::test]
async fn pages_come_in_byte_order_and_lead_through_the_whole_list() {
    let stage = Stage::new().await;
    for list in LISTS {
        let path = format!("/v1/users/me/{list}");
        stage.post("alice", &path, json!({ "add": ["b", "B", "a~", "_", "0", "zz", "a"] })).await;
        let mut seen = Vec::new();
        let mut query = "?limit=3".to_owned();
        loop {
            let (page, next) = users(&stage, list, &query).await;
            assert!(page.len() <= 3);
            seen.extend(page);
            let Some(cursor) = next.as_str() else { break };
            query = format!("?limit=3&cursor={cursor}");
        }
        assert_eq!(seen, ["0", "B", "_", "a", "a~", "b", "zz"]);
        for bad in ["x", "", "%20", "Y2Jvbw=="] {
            let response = stage.by("alice", Method::GET, &format!("{path}?cursor={bad}")).send().await.unwrap();
            assert!(problem(response, 400, "invalid_request").await.starts_with("cursor:"), "{bad}");
        }
    }
}
