//! Sessions end once, for a reason, and only when nobody is there any more: dead nodes, resumed sessions, ghosts, moved homes.

use crate::{
    client::{Client, Services},
    stage::{PARTITIONS, Stage},
};
use rollcall_api::service::{Ending, GoodbyeReason, PresenceService};
use rollcall_node::{home::request::HomeRequest, peers::message::LastHeard};
use rollcall_presence::{
    Device, Intent, ListKind, MemberState, Reason, SessionId, SessionKind, Standing, UserId, partition_of,
};

async fn watched(stage: &Stage, at: usize) -> (UserId, Client) {
    let (alice, bob) = (Stage::user_at(0, 0), Stage::user_at(1, 0));
    stage.list(0, &alice, ListKind::Contacts, &[&bob], &[]).await;
    let mut friend = Client::connect(stage, at, &bob).await;
    friend.watch(&[&alice]).await;
    (alice, friend)
}

/// Waits until so many people have come and gone, one after the other, at a node that nothing befalls, each for a whole grace.
async fn graces(stage: &Stage, count: usize) {
    let carol = Stage::user_at(0, 9);
    let mut watcher = Client::connect(stage, 0, &carol).await;
    for nth in 0..count {
        let passing = Stage::user_at(0, 10 + nth);
        stage.list(0, &passing, ListKind::Contacts, &[&carol], &[]).await;
        watcher.watch(&[&passing]).await;
        let online = Client::connect(stage, 0, &passing).await;
        watcher.until("somebody came", |c| c.sees(&passing, "status", "online")).await;
        drop(online);
        watcher.until("a grace has passed", |c| c.sees(&passing, "status", "offline")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_dead_node_end_once_after_their_grace() {
    let stage = Stage::new().await;
    let (alice, mut friend) = watched(&stage, 0).await;
    let online = Client::connect(&stage, 2, &alice).await;
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    stage.nodes[2].assembled.stop();
    std::mem::forget(online); // its process is dead: nobody ends anything
    stage.member(2, |member| member.state = MemberState::Down(Standing::Staying));
    friend.until("offline", |c| c.sees(&alice, "status", "offline")).await;
    // A new home looks again, and finds nothing to end.
    stage.make_home(partition_of(&alice, PARTITIONS), 1);
    stage.put(0, &alice, "still off").await;
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected, Reason::NodeLost, Reason::StatusSet]);
    assert_eq!(friend.offlines(), 1, "{:?}", friend.told);
    drop(friend);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_resumed_on_another_node_takes_no_harm_from_the_death_of_the_first() {
    let stage = Stage::new().await;
    let (alice, mut friend) = watched(&stage, 0).await;
    let first = Client::connect(&stage, 2, &alice).await;
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    let second = first.resume(&stage, 1, &alice).await;
    assert!(second.welcome.resumed);
    assert_eq!(second.welcome.session, first.welcome.session);
    stage.nodes[2].assembled.stop();
    std::mem::forget(first);
    stage.member(2, |member| member.state = MemberState::Down(Standing::Staying));
    graces(&stage, 3).await; // in which nothing is to happen
    stage.put(0, &alice, "alive").await;
    friend.until("the text", |c| c.sees(&alice, "text", "alive")).await;
    assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected, Reason::StatusSet]);
    drop((second, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_connection_hears_that_it_was_replaced_on_another_node() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let mut first = Client::connect(&stage, 2, &alice).await;
    // The home moves in between: the new one knows of the connection from what its node announced.
    stage.make_home(partition_of(&alice, PARTITIONS), 1);
    stage.until("announced", || stage.nodes.iter().all(|n| n.assembled.ties.are_settled())).await;
    let second = first.resume(&stage, 0, &alice).await;
    assert!(second.welcome.resumed);
    first.until("replaced", |c| c.goodbye == Some(GoodbyeReason::Replaced)).await;
    let Client { connection, .. } = first;
    connection.close(Ending::Lost { heard_at: 0 }).await;
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected]);
    drop(second);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_while_its_node_was_out_of_reach_is_not_revived() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let mut online = Client::connect(&stage, 2, &alice).await;
    let names = [stage.nodes[0].holder.node.clone(), stage.nodes[2].holder.node.clone()];
    stage.net.cut(&names[0], &names[1]);
    stage.net.cut(&names[1], &names[0]);
    let session = online.welcome.session.clone().unwrap();
    let cause = rollcall_presence::EndCause::Closed;
    stage.write(0, &alice, Intent::EndSession { session, attachment: None, cause, heard_at: 0 }).await.unwrap();
    stage.net.heal();
    online.until("revoked", |c| c.goodbye == Some(GoodbyeReason::Revoked)).await;
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected, Reason::Disconnected]);
    drop(online);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_live_node_does_not_know_it_ends_after_its_grace() {
    let stage = Stage::new().await;
    let (alice, mut friend) = watched(&stage, 0).await;
    // As left behind by a node that forgot the connection without ending its session.
    let at = rollcall_presence::ConnectionAt { holder: stage.nodes[2].holder.clone(), number: 0 };
    let open = Intent::OpenSession {
        session: SessionId::new("ghost").unwrap(),
        device: Device::new("web").unwrap(),
        activity: rollcall_presence::Activity::Active,
        kind: SessionKind::WebSocket,
        held_by: Some(at),
        resume_hash: None,
    };
    stage.write(0, &alice, open).await.unwrap();
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    stage.make_home(partition_of(&alice, PARTITIONS), 1);
    friend.until("offline", |c| c.sees(&alice, "status", "offline")).await;
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected, Reason::Expired]);
    drop(friend);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_home_does_not_end_what_a_live_node_has_not_announced_yet() {
    let stage = Stage::new().await;
    let (alice, mut friend) = watched(&stage, 0).await;
    let online = Client::connect(&stage, 2, &alice).await;
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    let (one, two) = (stage.nodes[1].holder.node.clone(), stage.nodes[2].holder.node.clone());
    stage.net.cut(&one, &two);
    stage.net.cut(&two, &one);
    stage.make_home(partition_of(&alice, PARTITIONS), 1);
    graces(&stage, 3).await; // in which nothing is to happen
    stage.net.heal();
    stage.put(0, &alice, "alive").await;
    friend.until("the text", |c| c.sees(&alice, "text", "alive")).await;
    assert_eq!(friend.offlines(), 0, "{:?}", friend.told);
    drop((online, friend));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handed_over_session_gets_no_fresh_time_to_live_and_its_last_sign_of_life_is_kept() {
    let stage = Stage::with(|settings| {
        settings.presence.session_ttl_ms = 6_000;
        settings.presence.heartbeat_ms = 1_000;
    })
    .await;
    let (alice, mut friend) = watched(&stage, 0).await;
    let (bob, dave) = (Stage::user_at(1, 0), Stage::user_at(2, 0));
    stage.list(2, &dave, ListKind::Contacts, &[&bob], &[]).await;
    friend.watch(&[&dave]).await;
    stage.write(0, &alice, http(&SessionId::new("http").unwrap())).await.unwrap();
    friend.until("online", |c| c.sees(&alice, "status", "online")).await;
    graces(&stage, 1).await;
    // Opened after hers and before the hand-over: he outlasts her, and would not if her time began anew.
    stage.write(2, &dave, http(&SessionId::new("later").unwrap())).await.unwrap();
    friend.until("online", |c| c.sees(&dave, "status", "online")).await;
    graces(&stage, 1).await;
    let partition = partition_of(&alice, PARTITIONS);
    stage.lane(0).hand_over(partition, &stage.nodes[1].holder.node).await;
    stage.make_home(partition, 1);
    assert_eq!(stage.nodes[1].service.sessions(&alice).await.unwrap().len(), 1, "her time is not over");
    friend.until("offline", |c| c.sees(&alice, "status", "offline")).await;
    assert!(friend.sees(&dave, "status", "online"), "with a fresh time to live she would outlast him");
    assert_eq!(stage.reasons(0, &alice).await, [Reason::Connected, Reason::Expired]);
    drop(friend);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_know_when_sessions_were_last_heard() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let open = http(&SessionId::new("http").unwrap());
    stage.write(0, &alice, open).await.unwrap();
    let session = SessionId::new("http").unwrap();
    let opened = stage.nodes[0].service.sessions(&alice).await.unwrap()[0].opened;
    let heard = async || stage.nodes[2].service.sessions(&alice).await.unwrap()[0].last_heartbeat;
    while heard().await <= opened {
        stage.nodes[2].service.heartbeat(&alice, &session, None, None).await.unwrap();
    }
    let last = heard().await;
    stage.nodes[0].assembled.node.homes.tell_heard();
    let partition = partition_of(&alice, PARTITIONS);
    // Told in order before what is asked later.
    stage.nodes[0]
        .assembled
        .node
        .homes
        .peers()
        .ask(&stage.nodes[1].holder.node, &rollcall_node::peers::message::Question::Report, crate::stage::DEADLINE)
        .await
        .unwrap();
    stage.make_home(partition, 1);
    stage.until("taken up", || stage.group_home(1, partition).tenure().is_some()).await;
    assert_eq!(heard().await, last);
    stage.end().await;
}

fn http(session: &SessionId) -> Intent {
    Intent::OpenSession {
        session: session.clone(),
        device: Device::new("web").unwrap(),
        activity: rollcall_presence::Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_of_life_counts_at_a_new_home_also_while_nothing_else_happens_to_its_user() {
    let stage = Stage::new().await;
    let alice = Stage::user_at(0, 0);
    let online = Client::connect(&stage, 2, &alice).await;
    let partition = partition_of(&alice, PARTITIONS);
    stage.make_home(partition, 1);
    let knows = || stage.group_home(1, partition).last_heard(true).concat().iter().any(|heard| heard.user == alice);
    stage.until("announced", knows).await;
    assert_eq!(stage.group_home(1, partition).user_actors(), 0);
    let (session, at) = (online.welcome.session.clone().unwrap(), u64::MAX / 2);
    stage.nodes[2].assembled.node.homes.tell(&alice, HomeRequest::Heard { user: alice.clone(), session, at });
    // Told in order before what is asked later.
    assert_eq!(stage.nodes[2].service.sessions(&alice).await.unwrap()[0].last_heartbeat, at);
    drop(online);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_forgets_when_a_session_was_heard_once_it_has_ended() {
    let stage = Stage::new().await;
    let (alice, session) = (Stage::user_at(0, 0), SessionId::new("http").unwrap());
    let partition = partition_of(&alice, PARTITIONS);
    stage.write(0, &alice, http(&session)).await.unwrap();
    let at = u64::MAX / 2;
    let heard = LastHeard { user: alice.clone(), session: session.clone(), at, ago_ms: 0 };
    stage.group_home(1, partition).was_heard(vec![heard], false);
    let cause = rollcall_presence::EndCause::Closed;
    let end = Intent::EndSession { session: session.clone(), attachment: None, cause, heard_at: 0 };
    stage.write(0, &alice, end).await.unwrap();
    stage.write(0, &alice, http(&session)).await.unwrap();
    stage.make_home(partition, 1);
    stage.until("taken up", || stage.group_home(1, partition).tenure().is_some()).await;
    let known = || !stage.group_home(1, partition).last_heard(true).is_empty();
    stage.put(2, &alice, "here").await;
    stage.until("its session is known", known).await;
    assert!(stage.nodes[2].service.sessions(&alice).await.unwrap()[0].last_heartbeat < at);
    stage.end().await;
}
