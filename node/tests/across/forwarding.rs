//! Any node takes any request: one hop to the home, one more for a stale hint, never a wrong answer.

use crate::{
    client::{Services, status},
    stage::{PARTITIONS, Stage},
};
use rollcall_api::service::{PresenceService, ServiceError};
use rollcall_cluster::Role;
use rollcall_node::home::group::Group;
use rollcall_presence::{Activity, Device, Intent, SessionId, SessionKind, Viewer, partition_of};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_any_request() {
    let stage = Stage::new().await;
    for home in 0..3 {
        let user = Stage::user_at(home, 0);
        for at in 0..3 {
            stage.put(at, &user, &format!("from {at}")).await;
            for read_at in 0..3 {
                let (setting, seen) = stage.nodes[read_at].service.status(&user).await.unwrap();
                assert_eq!(setting.text.as_deref(), Some(format!("from {at}").as_str()));
                assert!(!seen.stale);
            }
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_hint_costs_a_hop_and_never_a_wrong_answer() {
    let stage = Stage::new().await;
    let user = Stage::user_at(0, 0);
    let partition = partition_of(&user, PARTITIONS);
    stage.believe(partition, 2, Some(1)); // which is not the home
    stage.put(2, &user, "found").await;
    let (setting, seen) = stage.nodes[2].service.status(&user).await.unwrap();
    assert_eq!((setting.text.as_deref(), seen.stale), (Some("found"), false));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_finds_a_home_that_whom_it_asked_did_not_know() {
    let stage = Stage::new().await;
    let user = Stage::user_at(1, 0);
    let partition = partition_of(&user, PARTITIONS);
    stage.group(2, &user).held.store(false, Ordering::Relaxed);
    stage.believe(partition, 0, None);
    stage.believe(partition, 2, Some(0));
    stage.put(2, &user, "found").await;
    let (setting, seen) = stage.nodes[2].service.status(&user).await.unwrap();
    assert_eq!((setting.text.as_deref(), seen.stale), (Some("found"), false));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_nothing_finds_a_home_for_its_watchers() {
    let stage = Stage::new().await;
    let user = Stage::user_at(1, 0);
    let partition = partition_of(&user, PARTITIONS);
    let group = stage.group(2, &user);
    group.held.store(false, Ordering::Relaxed);
    stage.believe(partition, 2, None);
    let home = Role::Follower { leader: Some(stage.nodes[1].holder.node.clone()) };
    stage.until("the home is found", || *group.role().borrow() == home).await;
    stage.until("it has heard everything", || stage.nodes[2].assembled.ties.are_settled()).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_new_home_and_is_then_carried_out() {
    let stage = Stage::new().await;
    let user = Stage::user_at(0, 0);
    let partition = partition_of(&user, PARTITIONS);
    stage.no_home(partition);
    let before = stage.group(2, &user).watchers();
    let writing = stage.write(2, &user, status("late"));
    let electing = async {
        stage.until("the write waits for a home", || stage.group(2, &user).watchers() > before).await;
        stage.make_home(partition, 1);
    };
    let (written, ()) = tokio::join!(writing, electing);
    written.unwrap();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_home_presences_are_stale_and_everything_else_is_refused() {
    let stage = Stage::new().await;
    let user = Stage::user_at(0, 0);
    stage.put(0, &user, "before").await;
    stage.no_home(partition_of(&user, PARTITIONS));
    let viewer = Viewer { user: user.clone(), service: false };
    for held in [true, false] {
        // Also where no replica is: another node's answers.
        stage.group(2, &user).held.store(held, Ordering::Relaxed);
        let seen = stage.nodes[2].service.presences(&viewer, std::slice::from_ref(&user)).await.unwrap();
        assert!(seen[0].stale, "{seen:?}");
        assert!(stage.nodes[2].service.status(&user).await.unwrap().1.stale);
        let refused = stage.write(2, &user, status("now")).await;
        assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
        let refused = stage.nodes[2].service.privacy(&user).await.map(|_| ());
        assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_not_sent_again() {
    let stage = Stage::new().await;
    let user = Stage::user_at(0, 0);
    let (home, other) = (stage.nodes[0].holder.node.clone(), stage.nodes[2].holder.node.clone());
    stage.net.cut(&home, &other); // questions arrive, answers do not
    let unknown = stage.write(2, &user, status("once")).await;
    assert!(matches!(unknown, Err(ServiceError::Unavailable { .. })), "{unknown:?}");
    let reasons = stage.reasons(0, &user).await;
    assert_eq!(reasons.len(), 1, "carried out {} times", reasons.len());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_cannot_confirm_itself_acknowledges_no_heartbeat() {
    let stage = Stage::new().await;
    let (user, session) = (Stage::user_at(0, 0), SessionId::new("http").unwrap());
    let open = Intent::OpenSession {
        session: session.clone(),
        device: Device::new("web").unwrap(),
        activity: Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    };
    stage.write(0, &user, open).await.unwrap();
    stage.nodes[2].service.heartbeat(&user, &session, None, None).await.unwrap();
    stage.group(0, &user).confirms.store(false, Ordering::Relaxed);
    let refused = stage.nodes[2].service.heartbeat(&user, &session, None, None).await.map(|_| ());
    assert!(matches!(refused, Err(ServiceError::Unavailable { .. })), "{refused:?}");
    stage.end().await;
}
