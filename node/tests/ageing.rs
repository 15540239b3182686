//! History entries that are too old are not shown, and are dropped from the disk also of users who do nothing more.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod standing;

use rollcall_node::home::{
    expiring::drop_expired,
    partition::HomeRules,
    request::{HomeReply, HomeRequest},
};
use rollcall_presence::{HistoryEntry, Intent, PartitionId, RequestKey, UserId, Visibility, limits::KEY_LIFETIME_MS};
use standing::{DEADLINE, Standing, open, write};

const AGE_MS: u64 = 100_000;

fn rules() -> HomeRules {
    HomeRules { visibility: Visibility::Everyone, session_ttl_ms: 86_400_000, grace_ms: 1_000, history_age_ms: AGE_MS }
}

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

async fn page(standing: &Standing, before: Option<u64>, limit: u32) -> Vec<u64> {
    let request = HomeRequest::History { user: alice(), from: 0, to: u64::MAX, before, limit };
    match standing.home.serve(request).await.unwrap() {
        HomeReply::History(entries) => entries.into_iter().map(|entry| entry.seq).collect(),
        other => unreachable!("{other:?} for a history"),
    }
}

/// What is stored, shown or not.
fn stored(standing: &Standing) -> Vec<HistoryEntry> {
    let partition = standing.cluster.partition(PartitionId(0));
    partition.read(|view| view.history(&alice(), 0, u64::MAX, None, 1_000).unwrap()).unwrap()
}

/// Half of the entries are old, half are not.
async fn with_history() -> Standing {
    let standing = Standing::start(rules()).await;
    write(&standing.home, &alice(), open()).await;
    for expires_in_s in 1_000..1_005 {
        write(&standing.home, &alice(), standing::status(expires_in_s)).await;
    }
    standing.pass(AGE_MS / 2);
    for expires_in_s in 2_000..2_003 {
        write(&standing.home, &alice(), standing::status(expires_in_s)).await;
    }
    standing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_end_where_history_is_too_old() {
    let standing = with_history().await;
    assert_eq!(page(&standing, None, 100).await, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    standing.pass(AGE_MS / 2);
    assert_eq!(stored(&standing).len(), 9, "nothing was dropped yet");
    assert_eq!(page(&standing, None, 2).await, [8, 7]);
    assert_eq!(page(&standing, Some(7), 2).await, [6]);
    assert_eq!(page(&standing, Some(6), 2).await, [] as [u64; 0]);
    standing.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_dropped_of_users_who_do_nothing_more_and_nothing_else_is() {
    let standing = with_history().await;
    standing.pass(AGE_MS / 2);
    let sweeping = tokio::spawn(drop_expired(vec![standing.home.clone()]));
    let dropped = async {
        while stored(&standing).len() > 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dropped).await.unwrap();
    assert_eq!(page(&standing, None, 100).await, [8, 7, 6]);
    sweeping.abort();
    standing.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_deletion_does_not_outlive_its_time() {
    let standing = with_history().await;
    let key = Some(RequestKey { key: "a-key".into(), digest: [1; 32] });
    standing.home.serve(HomeRequest::Write { user: alice(), intent: Intent::DeleteUser, key }).await.unwrap();
    let now = || standing.cluster.partition(PartitionId(0)).read(|view| view.expired(None, 10, u64::MAX, 1).unwrap());
    assert_eq!(now().unwrap().users, [alice()], "its row is there, for who asks again");
    standing.pass(KEY_LIFETIME_MS);
    let sweeping = tokio::spawn(drop_expired(vec![standing.home.clone()]));
    let dropped = async {
        while now().unwrap().last.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dropped).await.unwrap();
    sweeping.abort();
    standing.stop().await;
}
