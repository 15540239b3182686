//! The same cluster over real sockets: it forms, loses a node, restarts and refuses strangers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::several::{Several, node};
use rollcall_cluster::StartError;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_form_lose_one_and_take_it_back() {
    let several = Several::over_sockets(8);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several.stop(2).await;
    several.all_led().await;
    for user in 20..40 {
        several.write(user).await;
    }
    bench::until("it is declared dead", || several.placement().members[&node(2)].is_down()).await;
    several.start(2).await;
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(40), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_restarts_and_a_wrong_key_is_refused() {
    let several = Several::over_sockets(4);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for user in 0..10 {
        several.write(user).await;
    }
    several.stop_all().await;
    tokio::join!(several.start(3), several.start(2), several.start(1));
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(10), [0_u64; 0]);
    let mut options = several.options(4, &[1]);
    options.join_patience_ms = 10_000;
    let Err(error) = several.try_start(4, options, b"another").await else { panic!("it was let in") };
    assert!(matches!(error, StartError::WrongKey { .. }), "{error}");
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_that_starts_again_at_new_addresses_forms_and_takes_writes() {
    let several = Several::over_sockets(4);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for user in 0..10 {
        several.write(user).await;
    }
    several.stop_all().await;
    // One address is enough for each to find the others by.
    let start = async |n, join: &[u64]| several.try_start(n, several.moved(n, join), b"key").await.unwrap();
    tokio::join!(start(1, &[]), start(2, &[1]), start(3, &[1]));
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(10), [0_u64; 0]);
    several.write(11).await;
    several.stop_all().await;
}
