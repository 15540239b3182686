//! Section 10: what every node says of the cluster, and to whom.

use super::usual as server;
use rollcall_tests::exchange;
use serde_json::{Value, json};

fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn every_node_answers_for_the_whole_cluster() {
    let admin = server().admin();
    for _ in 0..crate::NODES {
        let status = admin.get("/v1/cluster/status").await.must(200);
        assert_eq!((&status["nodes_up"], &status["nodes_total"]), (&json!(crate::NODES), &json!(crate::NODES)));
        assert_eq!(status["healthy"], true);
        assert_eq!(status["nodes"].as_array().map(Vec::len), Some(crate::NODES));
    }
}

#[tokio::test]
async fn the_status_has_exactly_the_listed_fields() {
    let status = server().admin().get("/v1/cluster/status").await.must(200);
    let whole = "cluster_id healthy moves nodes nodes_total nodes_up partitions ring version";
    assert_eq!(fields(&status), whole.split(' ').collect::<Vec<_>>());
    assert_eq!(fields(&status["ring"]), ["epoch", "partitions", "replication"]);
    let node = "connections http name partitions_held partitions_led peer rss_bytes sessions state uptime_s user_actors version";
    for row in status["nodes"].as_array().expect("nodes") {
        assert_eq!(fields(row), node.split(' ').collect::<Vec<_>>());
    }
    let partition = "applied committed healthy id leader online replicas term users";
    for row in status["partitions"].as_array().expect("partitions") {
        assert_eq!(fields(row), partition.split(' ').collect::<Vec<_>>());
        assert_eq!(row["replicas"].as_array().map(Vec::len), Some(crate::NODES), "one node one replica, three three");
    }
}

#[tokio::test]
async fn every_node_locates_a_user_alike() {
    let (admin, [alice]) = (server().admin(), server().people(["alice"]));
    let path = format!("/v1/cluster/locate/{}", alice.id);
    let first = admin.get(&path).await.must(200);
    assert_eq!(fields(&first), ["leader", "partition", "replicas", "user"]);
    for _ in (0..crate::NODES).skip(1) {
        assert_eq!(admin.get(&path).await.must(200)["partition"], first["partition"]);
    }
}

#[tokio::test]
async fn an_unknown_node_is_neither_drained_nor_removed() {
    let admin = server().admin();
    admin.delete("/v1/cluster/nodes/nobody").await.problem(404, "not_found");
    admin.send("POST", "/v1/cluster/nodes/nobody/drain", &[], None).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_cluster_endpoints_need_the_scope_admin() {
    for path in ["/v1/cluster/status", "/v1/cluster/locate/alice"] {
        server().service().get(path).await.problem(403, "forbidden");
    }
    server().service().delete("/v1/cluster/nodes/n1").await.problem(403, "forbidden");
    let drain = server().service().send("POST", "/v1/cluster/nodes/n1/drain", &[], None).await;
    drain.problem(403, "forbidden");
}

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    for path in ["/healthz", "/readyz"] {
        let reply = exchange(&server().address(), &format!("GET {path} HTTP/1.1"), b"").await;
        assert_eq!(reply.must(200), json!({"status": "ok"}), "{path}");
    }
}

#[tokio::test]
async fn a_user_is_located_by_a_valid_id_whether_or_not_it_was_ever_seen() {
    let admin = server().admin();
    let located = admin.get("/v1/cluster/locate/never-was-anybody").await.must(200);
    assert_eq!(located["user"], "never-was-anybody");
    let status = admin.get("/v1/cluster/status").await.must(200);
    let names: Vec<&Value> = status["nodes"].as_array().expect("nodes").iter().map(|n| &n["name"]).collect();
    assert!(names.contains(&&located["leader"]), "{located}");
    let replicas = located["replicas"].as_array().expect("replicas");
    assert_eq!(replicas.len(), crate::NODES);
    assert!(replicas.iter().all(|r| names.contains(&r)), "{located}");
    assert!(located["partition"].as_u64() < status["ring"]["partitions"].as_u64());
    for bad in ["a%20b", "%C3%A4", "a%25b"] {
        admin.get(&format!("/v1/cluster/locate/{bad}")).await.problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn the_status_counts_what_the_cluster_is() {
    let [alice] = server().people(["alice"]);
    let _socket = alice.connect("watch=none").await;
    let admin = server().admin();
    rollcall_tests::eventually("the session and the connection are counted", async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        let sum = |field: &str| -> u64 {
            status["nodes"].as_array().into_iter().flatten().filter_map(|n| n[field].as_u64()).sum()
        };
        let partitions = status["partitions"].as_array().map_or(0, Vec::len);
        let all_led = usize::try_from(sum("partitions_led")) == Ok(partitions);
        (sum("sessions") > 0 && sum("connections") > 0 && all_led).then_some(())
    })
    .await;
    let status = admin.get("/v1/cluster/status").await.must(200);
    assert_eq!(status["ring"]["replication"], crate::NODES);
    for node in status["nodes"].as_array().expect("nodes") {
        assert_eq!(node["state"], "up", "{node}");
        assert!(node["rss_bytes"].as_u64() > Some(1_000_000), "{node}");
    }
}

#[tokio::test]
async fn readiness_and_health_have_no_other_method_and_take_no_token_amiss() {
    for path in ["/healthz", "/readyz"] {
        let reply = exchange(&server().address(), &format!("POST {path} HTTP/1.1\nContent-Length: 0"), b"").await;
        assert_eq!(reply.status, 405, "{path}");
        let head = format!("GET {path} HTTP/1.1\nAuthorization: Bearer nonsense");
        assert_eq!(exchange(&server().address(), &head, b"").await.status, 200, "{path}");
    }
}
