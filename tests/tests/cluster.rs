//! What a cluster of one says about itself, and what it says to everybody without a token.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Server, eventually, exchange};
use serde_json::{Value, json};
use std::sync::OnceLock;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().arg("--name").arg("solo").start())
}

fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn the_status_has_true_figures_for_one_node() {
    let [alice, bob] = server().people(["alice", "bob"]);
    alice.open("web", "active").await;
    let _socket = bob.connect("watch=none").await;
    let admin = server().admin();
    let status = eventually("the node has counted both sessions", async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        (status["nodes"][0]["sessions"].as_u64() >= Some(2)).then_some(status)
    })
    .await;
    assert_eq!(
        fields(&status),
        ["cluster_id", "healthy", "moves", "nodes", "nodes_total", "nodes_up", "partitions", "ring", "version"]
    );
    assert_eq!((&status["healthy"], &status["nodes_up"], &status["nodes_total"]), (&json!(true), &json!(1), &json!(1)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["moves"], json!([]));
    assert_eq!(fields(&status["ring"]), ["epoch", "partitions", "replication"]);
    assert_eq!(status["ring"]["partitions"], 8);
    let node = &status["nodes"][0];
    let names = "connections http name partitions_held partitions_led peer rss_bytes sessions state uptime_s user_actors version";
    assert_eq!(fields(node), names.split(' ').collect::<Vec<_>>());
    assert_eq!(
        (&node["name"], &node["state"], &node["http"]),
        (&json!("solo"), &json!("up"), &json!(server().address))
    );
    assert_eq!((&node["partitions_led"], &node["partitions_held"]), (&json!(8), &json!(8)));
    assert!(node["connections"].as_u64() >= Some(1), "{node}");
    assert!(node["user_actors"].as_u64() >= Some(2), "{node}");
    assert!(node["rss_bytes"].as_u64() > Some(1_000_000), "{node}");
    let partitions = status["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 8);
    for (id, partition) in partitions.iter().enumerate() {
        assert_eq!(
            fields(partition),
            ["applied", "committed", "healthy", "id", "leader", "online", "replicas", "term", "users"]
        );
        assert_eq!((&partition["id"], &partition["leader"]), (&json!(id), &json!("solo")));
        assert_eq!((&partition["replicas"], &partition["healthy"]), (&json!(["solo"]), &json!(true)));
        assert_eq!(fields(&partition["applied"]), ["solo"]);
    }
    let online: u64 = partitions.iter().filter_map(|p| p["online"].as_u64()).sum();
    assert!(online >= 2, "{online}");
}

#[tokio::test]
async fn a_user_is_located_where_its_changes_are_committed() {
    let admin = server().admin();
    let [alice] = server().people(["alice"]);
    let located = admin.get(&format!("/v1/cluster/locate/{}", alice.id)).await.must(200);
    let partition = located["partition"].as_u64().expect("a partition");
    assert_eq!(located, json!({"user": alice.id, "partition": partition, "leader": "solo", "replicas": ["solo"]}));
    let users = async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        let partitions = status["partitions"].as_array().expect("partitions").clone();
        let home = partitions.into_iter().find(|p| p["id"] == partition).expect("the partition");
        home["committed"].as_u64().expect("a figure")
    };
    let before = users().await;
    alice.set_status(json!({"status": "dnd"})).await;
    assert!(users().await > before);
    admin.get("/v1/cluster/locate/bad%20id").await.problem(400, "invalid_request");
}

#[tokio::test]
async fn unknown_nodes_and_the_last_replica_are_not_removed() {
    let admin = server().admin();
    admin.delete("/v1/cluster/nodes/nobody").await.problem(404, "not_found");
    admin.send("POST", "/v1/cluster/nodes/nobody/drain", &[], None).await.problem(404, "not_found");
    admin.delete("/v1/cluster/nodes/solo").await.problem(409, "conflict");
    let _ = admin.get("/v1/cluster/status").await.must(200);
}

#[tokio::test]
async fn health_needs_no_token() {
    for path in ["/healthz", "/readyz"] {
        let reply = exchange(&server().address, &format!("GET {path} HTTP/1.1"), b"").await;
        assert_eq!(reply.must(200), json!({"status": "ok"}), "{path}");
    }
}
