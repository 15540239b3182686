//! A slow reader gets fewer, newer states, never less than the latest, and slows nobody else.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use rollcall_tests::{Client, DEADLINE, Server, Socket, eventually_within};
use serde_json::{Value, json};
use std::sync::OnceLock;
use tokio::{net::TcpSocket, task::JoinSet};

/// Users who change, and how often each does.
const USERS: usize = 8;
const CHANGES: usize = 250;
/// Receive buffer of a slow reader, bytes: the kernel must not read ahead for it.
const TINY_BUFFER: u32 = 4 * 1_024;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::launch().start())
}

/// A connection that takes in next to nothing unless it is read from.
async fn slow_reader(server: &Server, client: &Client) -> Socket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(TINY_BUFFER).expect("a small buffer");
    let stream = socket.connect(server.address.parse().expect("an address")).await.expect("a connection");
    let bearer = format!("Bearer {}", client.token);
    let opened = Socket::open_on(stream, "session=false&watch=none", &[("authorization", &bearer)]).await;
    let mut socket = opened.expect("an upgrade");
    socket.take_welcome().await;
    socket
}

/// Users who are online, `count` of them.
async fn online(server: &Server, prefix: &str, count: usize) -> Vec<Client> {
    let mut users = Vec::new();
    for number in 0..count {
        let user = server.client(&format!("{prefix}-{number}"), "user");
        user.open("web", "active").await;
        users.push(user);
    }
    users
}

/// Each user changes its status again and again, all at once; gives the last presence of each.
async fn churn(users: &[Client], changes: usize) -> Vec<Value> {
    let mut all = JoinSet::new();
    for user in users {
        let user = user.clone();
        all.spawn(async move {
            let filler = "x".repeat(1_900);
            let mut last = Value::Null;
            for number in 0..changes {
                let setting = json!({"status": "dnd", "text": format!("{number}"), "meta": {"filler": filler}});
                last = user.set_status(setting).await["presence"].clone();
            }
            last
        });
    }
    let mut last = all.join_all().await;
    last.sort_by_key(|p| p["user"].as_str().map(ToOwned::to_owned));
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_the_latest_state_and_versions_never_fall() {
    let service = server().service();
    let users = online(server(), "slow", USERS).await;
    let ids: Vec<&str> = users.iter().map(|u| u.id.as_str()).collect();
    let mut slow = slow_reader(server(), &service).await;
    slow.watch(json!(ids)).await;
    let mut fast = service.connect("session=false&watch=none").await;
    fast.watch(json!(ids)).await;

    let fast_ids: Vec<String> = users.iter().map(|u| u.id.clone()).collect();
    let listening = tokio::spawn(async move {
        for id in &fast_ids {
            fast.until_held(id, |p| p["text"] == format!("{}", CHANGES - 1)).await;
        }
        fast
    });
    let last = churn(&users, CHANGES).await;
    // The fast one has everything while the slow one has not read a byte.
    let fast = listening.await.expect("the fast reader is not slowed");
    let mut frames = 0;
    for presence in &last {
        let user = presence["user"].as_str().expect("a user");
        assert_eq!(fast.held(user), Some(presence));
        // The socket checks that versions never fall on the way.
        while slow.held(user) != Some(presence) {
            slow.frame().await;
            frames += 1;
        }
    }
    assert!(frames < USERS * CHANGES / 2, "{frames} frames: it was not spared what was superseded");
    assert!(slow.fence().await.is_empty(), "the latest states were the last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_ends_with_the_latest_state() {
    let [alice] = server().people(["burst"]);
    alice.open("web", "active").await;
    let service = server().service();
    let mut socket = service.connect("session=false&watch=none").await;
    socket.watch(json!([alice.id])).await;
    let last = churn(std::slice::from_ref(&alice), 100).await;
    socket.until_held(&alice.id, |p| *p == last[0]).await;
    assert!(socket.fence().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_nothing_for_long_is_closed_as_slow() {
    let server = Server::launch().start();
    let (service, admin) = (server.service(), server.admin());
    let users = online(&server, "stuck", USERS).await;
    let ids: Vec<&str> = users.iter().map(|u| u.id.as_str()).collect();
    let mut stuck = slow_reader(&server, &service).await;
    stuck.watch(json!(ids)).await;
    churn(&users, CHANGES).await;
    let connections = async || {
        let status = admin.get("/v1/cluster/status").await.must(200);
        status["nodes"][0]["connections"].as_u64()
    };
    assert_eq!(connections().await, Some(1));
    // 30 s of silence are the contract's, which one deadline does not hold.
    eventually_within(DEADLINE * 2, "the node gives the connection up", async || {
        (connections().await == Some(0)).then_some(())
    })
    .await;
    let ended = stuck.ended().await;
    assert!(matches!(ended.code, None | Some(4004)), "{ended:?}");
}
