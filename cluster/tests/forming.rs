//! Nodes become a cluster, and everything spreads over them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::several::Several;
use rollcall_presence::PartitionId;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_follows_and_with_a_third_everything_has_three_voters_and_leaders_are_even() {
    let several = Several::new(8);
    several.start(1).await;
    for user in 0..20 {
        several.write(user).await;
    }
    several.settled(1, 1, 0).await;
    several.start(2).await;
    several.settled(2, 1, 1).await;
    assert_eq!(several.led().into_values().collect::<Vec<_>>(), [4, 4], "votes are shared out, one a partition");
    several.start(3).await;
    several.settled(3, 3, 0).await;
    let led = several.led();
    assert!(led.values().all(|count| (2..=3).contains(count)), "{led:?}");
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_that_start_at_once_form_one_cluster() {
    let several = Several::new(8);
    let begun = Instant::now();
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    println!("formed in {:?}", begun.elapsed());
    let ids: Vec<String> = several.running().iter().map(|cluster| cluster.identity().cluster_id.clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for id in (0..8).map(PartitionId) {
        for cluster in several.running() {
            assert!(cluster.partition(id).held(), "{id} on {:?}", cluster.identity().node);
        }
    }
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_takes_its_share_while_others_write_and_nothing_is_lost() {
    let several = std::sync::Arc::new(Several::new(8));
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    let writer = tokio::spawn({
        let several = std::sync::Arc::clone(&several);
        async move {
            for user in 0..100 {
                several.write(user).await;
            }
        }
    });
    several.start(4).await;
    several.settled(4, 3, 0).await;
    writer.await.unwrap();
    // Between two moves all is settled for a moment.
    let held = || several.running().iter().map(|cluster| cluster.held().len()).collect::<Vec<_>>();
    bench::until("24 replicas evenly over four nodes", || held() == [6; 4]).await;
    bench::until("8 leaders evenly over four nodes", || several.led().into_values().eq([2; 4])).await;
    several.settled(4, 3, 0).await;
    assert_eq!(several.missing(100), [0_u64; 0]);
    several.stop_all().await;
}
