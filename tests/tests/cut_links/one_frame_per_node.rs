//! A user with many watchers costs the home one frame a node and change, however many sockets watch there.

use futures::future::join_all;
use rollcall_tests::{Socket, TestCluster, befriend};
use serde_json::json;

/// Changes that are counted.
const CHANGES: usize = 40;
/// Watching sockets a node: each would cost the link more than [`FRAME_MAX_BYTES`] if it were told by the home.
const SOCKETS: usize = 60;
/// What a change may cost on a link, bytes: its log entry, its frame, and the answers and heartbeats around them.
const FRAME_MAX_BYTES: u64 = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_crosses_each_link_once_however_many_sockets_watch_behind_it() {
    let cluster = TestCluster::plan(3).start().await;
    let (star, fan) = (cluster.client(0, "star", "user"), cluster.client(0, "fan", "user"));
    befriend(&star, &fan).await;
    star.open("web", "active").await;
    let mut sockets: Vec<Socket> = Vec::new();
    for at in 0..3 {
        let fan = cluster.client(at, "fan", "user");
        sockets.extend(join_all((0..SOCKETS).map(|_| fan.connect("session=false&watch=contacts"))).await);
    }
    join_all(sockets.iter_mut().map(|s| s.until_status("star", "online"))).await;
    let home = cluster.home_of(0, "star").await;
    let names = cluster.names();
    let others = || names.iter().enumerate().filter(|(at, _)| *at != home).map(|(_, name)| name);
    let sent = || others().map(|name| cluster.links.bytes(&names[home], name)).collect::<Vec<_>>();
    let (before, frames_before) = (sent(), cluster.frames_sent(home).await);
    let mut last = String::new();
    for number in 0..CHANGES {
        // As long as a text may be, so that a frame for each socket could not hide.
        last = format!("{number:0>500}");
        star.set_status(json!({"status": "dnd", "text": last})).await;
        join_all(sockets.iter_mut().map(|s| s.until_held("star", |p| p["text"] == last.as_str()))).await;
    }
    assert!(!last.is_empty());
    let frames: Vec<u64> =
        cluster.frames_sent(home).await.iter().zip(frames_before).map(|(after, before)| after - before).collect();
    assert_eq!(frames, [CHANGES as u64; 3], "frames to each node, the home's own among them");
    for (before, after) in before.into_iter().zip(sent()) {
        let each = (after - before) / CHANGES as u64;
        assert!(each > 500, "the link was not counted: {each} bytes a change");
        assert!(each < FRAME_MAX_BYTES, "{each} bytes a change for {SOCKETS} sockets");
    }
    cluster.stop().await;
}
