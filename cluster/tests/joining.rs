//! Who is let into a cluster, who is not, and what those are told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::several::{Several, address, node};
use rollcall_cluster::StartError;
use rollcall_presence::MemberState;

async fn refused(
    several: &Several,
    n: u64,
    change: impl FnOnce(&mut rollcall_cluster::Options),
    key: &[u8],
) -> StartError {
    let mut options = several.options(n, &[1]);
    options.join_patience_ms = 3_000;
    change(&mut options);
    match several.try_start(n, options, key).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_why_and_what_to_do() {
    let several = Several::new(4);
    several.start(1).await;
    several.settled(1, 1, 0).await;

    let error = refused(&several, 2, |_| {}, b"another").await;
    assert!(matches!(&error, StartError::WrongKey { address: a } if *a == address(1)), "{error}");

    let error = refused(&several, 2, |options| options.partitions = 5, b"key").await;
    assert!(matches!(error, StartError::Partitions { founded: 4, asked: 5 }), "{error}");

    let error = refused(&several, 2, |options| options.join = vec![address(7), address(8)], b"key").await;
    let text = error.to_string();
    assert!(matches!(error, StartError::NeverJoined { .. }), "{text}");
    assert!(text.contains(&address(7)) && text.contains(&address(8)), "{text}");

    // After all that the very same directory is let in.
    several.start(2).await;
    several.settled(2, 1, 1).await;
    several.stop(2).await;
    std::fs::remove_dir_all(several.dir.path().join("n2")).unwrap();
    let error = refused(&several, 2, |_| {}, b"key").await;
    let text = error.to_string();
    assert!(matches!(error, StartError::NameInUse { .. }), "{text}");
    assert!(text.contains("DELETE /v1/cluster/nodes/n2"), "{text}");
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_never_founds_and_gives_up_in_time() {
    let several = Several::new(4);
    let error = refused(&several, 2, |_| {}, b"key").await;
    assert!(matches!(error, StartError::NeverJoined { .. }), "{error}");
    // It goes on trying with what it has, once there is a cluster.
    several.start(1).await;
    several.start(2).await;
    several.settled(2, 1, 1).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_keeps_its_identity_and_is_a_new_generation() {
    let several = Several::new(4);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    let before = several.placement().members[&node(2)].clone();
    several.stop(2).await;
    several.start(2).await;
    bench::until("the new generation is known", || {
        let after = several.placement().members[&node(2)].clone();
        after.generation > before.generation && after.state == MemberState::Up && after.raft_id == before.raft_id
    })
    .await;
    several.settled(3, 3, 0).await;
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_leads_a_newcomer_to_the_placement_leader() {
    let several = Several::new(4);
    tokio::join!(several.start(1), several.start(2));
    several.settled(2, 1, 1).await;
    let mut options = several.options(3, &[2]);
    options.join = vec![address(9), address(2)];
    several.try_start(3, options, b"key").await.unwrap();
    several.settled(3, 3, 0).await;
    several.stop_all().await;
}
