//! Section 10: the cluster, and health.

use crate::stage::{Setting, Stage, problem};
use reqwest::Method;
use rollcall_api::service::ServiceError;
use rollcall_config::Http;
use serde_json::{Value, json};

#[tokio::test]
async fn the_status_has_every_field_of_the_contract() {
    let stage = Stage::new().await;
    let status = stage.get("ops@admin", "/v1/cluster/status").await;
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&status),
        ["cluster_id", "healthy", "moves", "nodes", "nodes_total", "nodes_up", "partitions", "ring", "version"]
    );
    assert_eq!(names(&status["ring"]), ["epoch", "partitions", "replication"]);
    assert_eq!(
        names(&status["nodes"][0]),
        [
            "connections",
            "http",
            "name",
            "partitions_held",
            "partitions_led",
            "peer",
            "rss_bytes",
            "sessions",
            "state",
            "uptime_s",
            "user_actors",
            "version"
        ]
    );
    assert_eq!(
        names(&status["partitions"][0]),
        ["applied", "committed", "healthy", "id", "leader", "online", "replicas", "term", "users"]
    );
    assert_eq!(status["nodes"][0]["state"], "up");
}

#[tokio::test]
async fn locate_says_where_a_user_lives() {
    let stage = Stage::new().await;
    let located = stage.get("ops@admin", "/v1/cluster/locate/bob").await;
    assert_eq!(located, json!({ "user": "bob", "partition": 0, "leader": "n1", "replicas": ["n1"] }));
    assert_eq!(stage.get("ops@admin", "/v1/cluster/locate/me").await["user"], "ops");
    let bad = stage.by("ops@admin", Method::GET, "/v1/cluster/locate/a%20b").send().await.unwrap();
    assert!(problem(bad, 400, "invalid_request").await.starts_with("user:"));
}

#[tokio::test]
async fn draining_and_removing_begin_or_say_why_not() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        let drained = stage.by("ops@admin", Method::POST, "/v1/cluster/nodes/n1/drain").send().await.unwrap();
        assert_eq!((drained.status().as_u16(), drained.json::<Value>().await.unwrap()), (202, json!({})));
    }
    problem(stage.delete("ops@admin", "/v1/cluster/nodes/n1").await, 409, "conflict").await;
    problem(stage.delete("ops@admin", "/v1/cluster/nodes/n9").await, 404, "not_found").await;
    assert_eq!(*stage.fake.orders.lock(), ["drain n1", "drain n1", "remove n1"]);
    let bad = stage.delete("ops@admin", "/v1/cluster/nodes/n%201").await;
    assert!(problem(bad, 400, "invalid_request").await.starts_with("name:"));
}

#[tokio::test]
async fn health_needs_no_token() {
    let stage = Stage::new().await;
    for path in ["/healthz", "/readyz"] {
        let response = stage.call(Method::GET, path).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.json::<Value>().await.unwrap()),
            (200, json!({ "status": "ok" }))
        );
    }
    *stage.fake.refusal.lock() = Some(ServiceError::Internal);
    assert_eq!(stage.call(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    problem(stage.call(Method::GET, "/readyz").send().await.unwrap(), 503, "unavailable").await;
}

#[tokio::test]
async fn health_moves_to_the_address_for_operations() {
    let http = Http { ops_listen: Some("127.0.0.1:7790".into()), ..Http::default() };
    let stage = Stage::with(Setting { http, ..Setting::default() }).await;
    problem(stage.call(Method::GET, "/healthz").send().await.unwrap(), 404, "not_found").await;
}

#[tokio::test]
async fn a_backup_is_bytes_and_what_is_restored_is_checked_as_any_call_is() {
    let stage = Stage::new().await;
    let backup = stage.by("ops@admin", Method::GET, "/v1/cluster/backup").send().await.unwrap();
    assert_eq!(backup.status(), 200);
    assert_eq!(backup.headers()["content-type"], "application/octet-stream");
    assert_eq!(backup.bytes().await.unwrap(), "onetwo");
    let head = stage.by("ops@admin", Method::HEAD, "/v1/cluster/backup").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    let restore = |query: &str, kind: &str, body: &'static str| {
        let path = format!("/v1/cluster/restore{query}");
        stage.by("ops@admin", Method::POST, &path).header("content-type", kind).body(body).send()
    };
    let bytes = "application/octet-stream";
    let done = restore("?overwrite=true", bytes, "users").await.unwrap();
    assert_eq!(done.json::<Value>().await.unwrap(), json!({ "restored": 1, "left_alone": 2 }));
    let done = restore("", bytes, "users").await.unwrap();
    assert_eq!(done.json::<Value>().await.unwrap(), json!({ "restored": 0, "left_alone": 2 }));
    problem(restore("", "application/json", "{}").await.unwrap(), 415, "unsupported_media_type").await;
    let detail = problem(restore("?overwrite=1", bytes, "users").await.unwrap(), 400, "invalid_request").await;
    assert!(detail.starts_with("overwrite:"), "{detail}");
    let detail = problem(restore("", bytes, "nonsense").await.unwrap(), 400, "invalid_request").await;
    assert!(detail.starts_with("body:"), "{detail}");
}
