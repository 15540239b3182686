//! A pause of the process is no silence of its clients, and no reason for a status to outlive its time.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod standing;

use rollcall_node::home::{
    partition::HomeRules,
    request::{HomeReply, HomeRequest},
};
use rollcall_presence::{Intent, ManualStatus, Meta, Status, UserId, Visibility, command::HISTORY_AGE_NEVER};
use standing::{DEADLINE, Standing, open, write};

const PAUSE_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_expires_at_its_time_although_the_process_stood_still_and_no_session_does() {
    let rules = HomeRules {
        visibility: Visibility::Everyone,
        session_ttl_ms: PAUSE_MS / 2,
        grace_ms: 1_000,
        history_age_ms: HISTORY_AGE_NEVER,
    };
    let standing = Standing::start(rules).await;
    let home = &standing.home;
    let alice = UserId::new("alice").unwrap();
    write(home, &alice, open()).await;
    let (status, expires_in_s) = (ManualStatus::Dnd, Some(PAUSE_MS / 2_000));
    write(home, &alice, Intent::PutStatus { status, text: None, meta: Meta::empty(), expires_in_s }).await;

    standing.pass(PAUSE_MS);
    let expired = async {
        loop {
            home.tick();
            let HomeReply::Status { presence, .. } = home.serve(HomeRequest::Status(alice.clone())).await.unwrap()
            else {
                unreachable!("a status was asked for")
            };
            assert_ne!(presence.status, Status::Offline, "the pause was taken for silence");
            if presence.status == Status::Online {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, expired).await.unwrap();
    standing.stop().await;
}
