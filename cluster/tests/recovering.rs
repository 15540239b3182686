//! A cluster whose quorum is lost for good goes on with what one node has left.

mod bench;

use bench::several::{Several, node};
use rollcall_cluster::{
    StartError,
    recover::{self, Kept},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_of_three_has_left_becomes_a_cluster_that_others_join() {
    let several = Several::new(4);
    tokio::join!(several.start(1), several.start(2), several.start(3));
    several.settled(3, 3, 0).await;
    for user in 0..20 {
        several.write(user).await;
    }
    let held = |n: u64| several.get(n).partition(rollcall_presence::PartitionId(0)).status().unwrap().applied;
    bench::until("all have all", || held(1) == held(3) && held(2) == held(3)).await;
    let before = several.get(3).identity().cluster_id.clone();
    several.stop_all().await;
    let dir = several.dir.path().join("n3");

    let remains = recover::inspect(&dir).await.unwrap();
    assert_eq!((&remains.node, &remains.others[..]), (&node(3), &[node(1), node(2)][..]));
    assert_eq!(remains.cluster_id, before);
    assert_eq!(remains.users, 20);
    assert!(remains.partitions.iter().all(|partition| matches!(partition.kept, Kept::Upto(_))), "{remains:?}");

    recover::force(&dir).await.unwrap();
    let back = several.try_start(3, several.options(3, &[1, 2]), b"key").await.unwrap();
    assert_ne!(back.identity().cluster_id, before);
    several.settled(1, 1, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.write(21).await;

    // The others come with empty directories.
    for n in [1, 2] {
        std::fs::remove_dir_all(several.dir.path().join(format!("n{n}"))).unwrap();
        several.try_start(n, several.options(n, &[3]), b"key").await.unwrap();
    }
    several.settled(3, 3, 0).await;
    assert_eq!(several.missing(20), [0_u64; 0]);
    several.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_left_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let error = recover::inspect(dir.path()).await.unwrap_err();
    assert!(matches!(error, StartError::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
