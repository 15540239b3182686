//! What a connection is told, and what not.

use super::{
    following::Follow,
    outbox::{Outbox, Pending},
    slot::Why,
    subject::Subjects,
};
use rollcall_api::service::{Delivery, GoodbyeReason};
use rollcall_presence::{PublicPresence, Status, UserId, Viewer};
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn presence(name: &str, version: u64) -> PublicPresence {
    PublicPresence { status: Status::Online, since: Some(1), version, ..PublicPresence::never_seen(user(name)) }
}

struct Watch {
    subjects: Subjects,
    outbox: Arc<Outbox>,
}

impl Watch {
    /// A connection of bob that watches `names`, each allowed, at revision 1 and version 1, snapshot taken.
    fn of(names: &[&str]) -> Self {
        let subjects = Subjects::default();
        let outbox = Outbox::new(Viewer { user: user("bob"), service: false });
        for name in names {
            assert!(outbox.add(&subjects, &user(name), true));
            subjects.get(&user(name)).unwrap().publish(&presence(name, 1), 1, false);
            outbox.granted(&user(name), (true, 1), (true, 1));
        }
        let asked: Vec<_> = names.iter().map(|n| (user(n), None)).collect();
        assert_eq!(outbox.snapshot(&asked).len(), names.len());
        Self { subjects, outbox }
    }

    fn publish(&self, name: &str, version: u64, revision: u64) {
        self.subjects.get(&user(name)).unwrap().publish(&presence(name, version), revision, false);
    }

    fn decide(&self, name: &str, allowed: bool, revision: u64) {
        self.subjects.get(&user(name)).unwrap().decide(revision, |_| Some(allowed));
    }

    fn poll(&self) -> Option<Delivery> {
        match self.outbox.poll(&Context::from_waker(Waker::noop()), true) {
            Poll::Ready(Pending::Delivery(delivery)) => Some(delivery),
            Poll::Ready(Pending::Follows(_)) | Poll::Pending => None,
        }
    }

    /// The versions that come next, by user.
    fn versions(&self) -> Vec<(String, u64)> {
        match self.poll() {
            Some(Delivery::Presences(all)) => all.iter().map(|p| (p.user.to_string(), p.version)).collect(),
            other => {
                assert!(other.is_none(), "{other:?}");
                Vec::new()
            }
        }
    }
}

fn told(name: &str, version: u64) -> (String, u64) {
    (name.to_owned(), version)
}

#[test]
fn only_the_latest_state_of_a_watched_user_is_pending() {
    let watch = Watch::of(&["alice", "carol"]);
    for version in 2..100 {
        watch.publish("alice", version, version);
    }
    watch.publish("carol", 2, 2);
    assert_eq!(watch.versions(), [told("alice", 99), told("carol", 2)]);
    assert_eq!(watch.versions(), []);
}

#[test]
fn what_went_out_with_a_snapshot_does_not_come_again() {
    let watch = Watch::of(&["alice"]);
    watch.publish("alice", 2, 2);
    let snapshot = watch.outbox.snapshot(&[(user("alice"), None)]);
    assert_eq!(snapshot[0].version, 2);
    assert_eq!(watch.versions(), []);
}

#[test]
fn a_snapshot_after_known_versions_holds_what_is_newer_and_what_was_lost() {
    let watch = Watch::of(&["alice", "carol", "dave"]);
    watch.publish("alice", 5, 5);
    watch.decide("dave", false, 5);
    let asked = [(user("alice"), Some(4)), (user("carol"), Some(1)), (user("dave"), Some(1))];
    let snapshot = watch.outbox.snapshot(&asked);
    let versions: Vec<_> = snapshot.iter().map(|p| told(&p.user, p.version)).collect();
    assert_eq!(versions, [told("alice", 5), told("dave", 0)]);
}

#[test]
fn a_revoked_view_is_told_at_once_and_not_revived_by_a_late_grant() {
    let watch = Watch::of(&["alice"]);
    watch.decide("alice", false, 7);
    assert_eq!(watch.versions(), [told("alice", 0)]);
    watch.outbox.granted(&user("alice"), (true, 1), (true, 6));
    watch.publish("alice", 8, 8);
    assert_eq!(watch.versions(), [], "a change of somebody who may not be seen is silent");
    watch.decide("alice", true, 9);
    assert_eq!(watch.versions(), [told("alice", 8)]);
}

#[test]
fn the_viewers_own_half_hides_as_well() {
    let watch = Watch::of(&["alice"]);
    watch.outbox.viewer_decides(&user("alice"), false, 3);
    assert_eq!(watch.versions(), [told("alice", 0)]);
    watch.outbox.viewer_decides(&user("alice"), true, 2);
    assert_eq!(watch.versions(), [], "an older decision changes nothing");
}

#[test]
fn a_presence_that_is_not_newer_is_dropped() {
    let watch = Watch::of(&["alice"]);
    watch.publish("alice", 9, 9);
    watch.publish("alice", 8, 8);
    assert_eq!(watch.versions(), [told("alice", 9)]);
}

#[test]
fn a_first_decision_at_revision_zero_counts() {
    let subjects = Subjects::default();
    let outbox = Outbox::new(Viewer { user: user("bob"), service: false });
    outbox.add(&subjects, &user("bob"), true);
    subjects.get(&user("bob")).unwrap().publish(&PublicPresence::never_seen(user("bob")), 0, false);
    outbox.granted(&user("bob"), (true, 0), (true, 0));
    outbox.snapshot(&[(user("bob"), None)]);
    subjects.get(&user("bob")).unwrap().publish(&presence("bob", 1), 1, false);
    let watch = Watch { subjects, outbox };
    assert_eq!(watch.versions(), [told("bob", 1)]);
}

#[test]
fn nothing_comes_of_a_user_who_is_not_watched_any_more_and_its_home_is_told() {
    let watch = Watch::of(&["alice", "carol"]);
    watch.publish("alice", 2, 2);
    let mut told_home = None;
    assert!(watch.outbox.remove(&watch.subjects, &user("alice"), Why::Any, |gone| told_home = Some(gone.clone())));
    assert_eq!(told_home, Some(user("alice")));
    assert!(watch.subjects.get(&user("alice")).is_none());
    assert_eq!(watch.versions(), []);
}

#[test]
fn watchers_of_one_subject_leave_in_any_order() {
    let subjects = Subjects::default();
    let viewers: Vec<_> =
        (0..5).map(|i| Outbox::new(Viewer { user: user(&format!("viewer{i}")), service: false })).collect();
    for outbox in &viewers {
        outbox.add(&subjects, &user("alice"), true);
        outbox.granted(&user("alice"), (true, 1), (true, 1));
        outbox.snapshot(&[(user("alice"), None)]);
    }
    for (left, gone) in [1, 4, 0].into_iter().enumerate() {
        viewers[gone].remove(&subjects, &user("alice"), Why::Any, |_| panic!("others still watch"));
        let version = left as u64 + 1;
        subjects.get(&user("alice")).unwrap().publish(&presence("alice", version), version, false);
        for stays in [2, 3] {
            let polled = viewers[stays].poll(&Context::from_waker(Waker::noop()), true);
            assert!(matches!(polled, Poll::Ready(Pending::Delivery(Delivery::Presences(_)))), "{stays}");
        }
        assert!(viewers[gone].poll(&Context::from_waker(Waker::noop()), true).is_pending());
    }
}

#[test]
fn a_contact_that_is_watched_explicitly_too_stays_watched() {
    let watch = Watch::of(&["alice"]);
    assert!(watch.outbox.add(&watch.subjects, &user("alice"), false));
    assert!(!watch.outbox.add(&watch.subjects, &user("alice"), false), "it is known as a contact");
    assert!(!watch.outbox.remove(&watch.subjects, &user("alice"), Why::Contact, |_| {}));
    watch.publish("alice", 2, 2);
    assert_eq!(watch.versions(), [told("alice", 2)]);
    assert_eq!(watch.outbox.explicit_with([user("alice"), user("x")].iter()), 2);
}

#[test]
fn a_contact_whose_explicit_watch_came_to_nothing_is_a_contact_as_before() {
    let (outbox, subjects) = (Outbox::new(Viewer { user: user("bob"), service: false }), Subjects::default());
    assert!(outbox.add(&subjects, &user("alice"), false));
    assert!(outbox.add(&subjects, &user("alice"), true));
    assert!(!outbox.remove(&subjects, &user("alice"), Why::Asked, |_| panic!("the contact is watched")));
    assert_eq!(outbox.explicit_with(std::iter::empty()), 0, "it does not count as asked for");
    assert!(outbox.remove(&subjects, &user("alice"), Why::Contact, |_| {}), "it goes with the contact");
}

#[test]
fn the_last_word_on_a_contact_is_the_one_that_is_followed() {
    let outbox = Outbox::new(Viewer { user: user("bob"), service: false });
    outbox.follow([(user("alice"), Follow::Added { blocked: false, revision: 1 })].into_iter(), 1);
    outbox.follow([(user("alice"), Follow::Removed)].into_iter(), 2);
    match outbox.poll(&Context::from_waker(Waker::noop()), true) {
        Poll::Ready(Pending::Follows(changes)) => assert_eq!(changes[&user("alice")], Follow::Removed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_goodbye_comes_before_everything_else_and_stays() {
    let watch = Watch::of(&["alice"]);
    watch.publish("alice", 2, 2);
    watch.outbox.goodbye(GoodbyeReason::Replaced, 0);
    watch.outbox.goodbye(GoodbyeReason::Shutdown, 5);
    for _ in 0..2 {
        let goodbye = watch.poll();
        assert!(matches!(goodbye, Some(Delivery::Goodbye { reason: GoodbyeReason::Replaced, .. })), "{goodbye:?}");
    }
}

#[test]
fn who_knows_more_is_not_sent_an_older_state_that_cannot_be_confirmed() {
    let watch = Watch::of(&["alice"]);
    let alice = watch.subjects.get(&user("alice")).unwrap();
    alice.restale(true);
    let snapshot = |known| watch.outbox.snapshot(&[(user("alice"), known)]);
    assert_eq!(snapshot(None).len(), 1);
    assert_eq!(snapshot(Some(1)).len(), 1, "that it is stale is told of the version that is held");
    assert!(snapshot(Some(5)).is_empty());
    // A replica that catches up brings versions that the client has had.
    alice.publish(&presence("alice", 3), 3, true);
    assert!(watch.versions().is_empty());
    alice.publish(&presence("alice", 5), 5, false);
    alice.publish(&presence("alice", 6), 6, false);
    assert_eq!(watch.versions(), [("alice".to_owned(), 6)]);
}
