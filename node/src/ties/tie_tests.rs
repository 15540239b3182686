//! When a tie announces, compares, and calls what it holds stale.

use super::*;
use rollcall_presence::Holder;

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn tenure(name: &str, number: u64) -> Tenure {
    Tenure { holder: Holder { node: node(name), generation: 1 }, term: number, number }
}

const TICK: Event = Event::Tick { tied: true };

/// A tie to n1 that has announced everything at time 0.
fn settled() -> Tie {
    let mut tie = Tie::new(0, 0);
    tie.on(Event::Leader(Some(node("n1"))), 0);
    assert_eq!(tie.on(TICK, 0), [Effect::Announce]);
    let announced = Event::Announced { tenure: tenure("n1", 1), number: 0, stale: false };
    // Whatever came from a replica is fresh from now on, too.
    assert_eq!(tie.on(announced, 0), [Effect::Stale(false)]);
    assert!(tie.is_settled());
    tie
}

#[test]
fn everything_is_announced_to_a_new_home_once() {
    let mut tie = settled();
    assert!(tie.on(TICK, 1).is_empty());
    tie.on(Event::TakenUp(tenure("n2", 2)), 1);
    tie.on(Event::Leader(Some(node("n2"))), 1);
    assert_eq!(tie.on(TICK, 1), [Effect::Announce]);
    assert!(tie.on(TICK, 2).is_empty(), "one at a time");
    tie.on(Event::Announced { tenure: tenure("n2", 2), number: 0, stale: false }, 3);
    tie.on(Event::TakenUp(tenure("n2", 2)), 4);
    assert!(tie.on(TICK, 5).is_empty(), "it is known already");
}

#[test]
fn a_home_taken_up_again_in_the_same_term_hears_everything_again() {
    let mut tie = settled();
    tie.on(Event::TakenUp(Tenure { number: 2, ..tenure("n1", 1) }), 1);
    assert_eq!(tie.on(TICK, 1), [Effect::Announce]);
}

#[test]
fn a_gap_between_parcels_is_repaired_and_none_is_not() {
    let mut tie = settled();
    for number in [1, 2, 3, 3] {
        tie.on(Event::Parcel(tenure("n1", 1), number), 1);
    }
    assert!(tie.on(TICK, 1).is_empty());
    tie.on(Event::Parcel(tenure("n1", 1), 5), 1);
    assert_eq!(tie.on(TICK, 1), [Effect::Announce]);
}

#[test]
fn a_gap_while_announcing_is_repaired_too() {
    let mut tie = settled();
    tie.on(Event::Linked(node("n1")), 1);
    assert_eq!(tie.on(TICK, 1), [Effect::Announce]);
    tie.on(Event::Parcel(tenure("n1", 1), 7), 1);
    tie.on(Event::Announced { tenure: tenure("n1", 1), number: 5, stale: false }, 1);
    assert_eq!(tie.on(TICK, 1 + TIE_RETRY_MS), [Effect::Announce], "6 is missing");
    tie.on(Event::Parcel(tenure("n1", 1), 8), 2);
    tie.on(Event::Announced { tenure: tenure("n1", 1), number: 7, stale: false }, 2);
    assert!(tie.on(TICK, 2 + TIE_RETRY_MS).is_empty());
}

#[test]
fn a_lost_last_parcel_shows_when_digests_are_compared() {
    let mut tie = settled();
    let mut now = COMPARE_EVERY_MS;
    for _ in 0..STRIKES_MAX {
        assert_eq!(tie.on(TICK, now), [Effect::Compare]);
        tie.on(Event::Compared { tenure: tenure("n1", 1), number: 1, same: true, stale: false }, now);
        now += COMPARE_AGAIN_MS;
    }
    assert_eq!(tie.on(TICK, now), [Effect::Announce]);
}

#[test]
fn what_is_the_same_on_both_sides_is_left_alone() {
    let mut tie = settled();
    assert_eq!(tie.on(TICK, COMPARE_EVERY_MS), [Effect::Compare]);
    tie.on(Event::Compared { tenure: tenure("n1", 1), number: 0, same: true, stale: false }, COMPARE_EVERY_MS);
    assert!(tie.on(TICK, COMPARE_EVERY_MS + COMPARE_AGAIN_MS).is_empty());
    assert!(settled().on(Event::Tick { tied: false }, COMPARE_EVERY_MS).is_empty(), "nothing is tied");
}

#[test]
fn what_is_held_is_stale_while_its_home_is_lost_and_fresh_once_it_was_told_again() {
    let mut tie = settled();
    tie.on(Event::Unlinked(node("n2")), 10);
    assert!(tie.on(TICK, 10 + HOME_LOST_MS).is_empty(), "another node's link");
    tie.on(Event::Unlinked(node("n1")), 20);
    assert!(tie.on(TICK, 19 + HOME_LOST_MS).is_empty(), "a home may move meanwhile");
    assert_eq!(tie.on(TICK, 20 + HOME_LOST_MS), [Effect::Stale(true)]);
    tie.on(Event::Linked(node("n1")), 9_000);
    assert_eq!(tie.on(TICK, 9_000), [Effect::Announce]);
    let announced = Event::Announced { tenure: tenure("n1", 1), number: 0, stale: false };
    assert_eq!(tie.on(announced, 9_001), [Effect::Stale(false)]);
}

#[test]
fn a_node_that_is_cut_off_believes_no_home_not_even_itself() {
    let mut tie = settled();
    tie.on(Event::Confirmed(false), 0);
    tie.on(Event::Leader(Some(node("n3"))), 1);
    assert_eq!(tie.on(TICK, 1), [Effect::Announce]);
    assert!(tie.on(Event::Announced { tenure: tenure("n3", 1), number: 0, stale: false }, 2).is_empty());
    assert!(tie.on(Event::Tick { tied: false }, HOME_LOST_MS).contains(&Effect::Stale(true)));
    tie.on(Event::Confirmed(true), HOME_LOST_MS);
    tie.on(Event::NotAnnounced, HOME_LOST_MS);
    assert_eq!(tie.on(TICK, HOME_LOST_MS + TIE_RETRY_MS), [Effect::Announce]);
    let announced = Event::Announced { tenure: tenure("n3", 1), number: 0, stale: false };
    assert_eq!(tie.on(announced, 9_000), [Effect::Stale(false)]);
}

#[test]
fn a_home_that_cannot_confirm_itself_is_asked_again() {
    let mut tie = settled();
    tie.on(Event::Linked(node("n1")), 0);
    assert_eq!(tie.on(TICK, 0), [Effect::Announce]);
    tie.on(Event::Announced { tenure: tenure("n1", 1), number: 0, stale: true }, 0);
    assert!(!tie.is_settled());
    assert_eq!(tie.on(TICK, COMPARE_AGAIN_MS), [Effect::Announce]);
}

#[test]
fn what_no_home_confirmed_is_announced_again_and_fresh_after_that() {
    let mut tie = settled();
    tie.on(Event::Doubted, 5);
    assert!(!tie.is_settled());
    assert_eq!(tie.on(TICK, 5 + TIE_RETRY_MS), [Effect::Announce]);
    let announced = Event::Announced { tenure: tenure("n1", 1), number: 0, stale: false };
    assert_eq!(tie.on(announced, 400), [Effect::Stale(false)]);
}

#[test]
fn what_no_home_confirms_becomes_stale_as_a_whole_in_the_end() {
    let mut tie = settled();
    tie.on(Event::Doubted, 5);
    assert_eq!(tie.on(TICK, 5 + TIE_RETRY_MS), [Effect::Announce]);
    tie.on(Event::NotAnnounced, 400);
    assert!(tie.on(TICK, 5 + HOME_LOST_MS).contains(&Effect::Stale(true)));
}

#[test]
fn a_node_that_is_linked_again_may_be_the_home_by_now() {
    let mut tie = settled();
    tie.on(Event::Linked(node("n2")), 10);
    assert_eq!(tie.on(TICK, 10), [Effect::Compare]);
}

#[test]
fn a_home_of_which_nobody_told_is_looked_for_at_a_pace() {
    let mut tie = settled();
    tie.on(Event::Leader(None), 10);
    assert!(tie.on(TICK, 9 + TIE_RETRY_MS).is_empty());
    assert_eq!(tie.on(TICK, 10 + TIE_RETRY_MS), [Effect::Announce]);
    tie.on(Event::NotAnnounced, 1_000);
    assert!(tie.on(TICK, 999 + TIE_RETRY_MS).is_empty());
    assert_eq!(tie.on(TICK, 1_000 + TIE_RETRY_MS), [Effect::Announce]);
    let announced = Event::Announced { tenure: tenure("n2", 2), number: 0, stale: false };
    assert_eq!(tie.on(announced, 1_400), [Effect::Stale(false)]);
    assert!(tie.is_settled());
}

#[test]
fn what_came_while_all_was_stale_is_marked_when_the_home_is_lost_again() {
    let mut tie = settled();
    tie.on(Event::Unlinked(node("n1")), 0);
    assert_eq!(tie.on(TICK, HOME_LOST_MS), [Effect::Stale(true)]);
    // The home is back, and answers whoever asks; it was lost again before everything was announced to it.
    tie.on(Event::Linked(node("n1")), 3_000);
    tie.on(Event::Unlinked(node("n1")), 3_050);
    assert_eq!(tie.on(TICK, 3_100), [Effect::Announce]);
    assert!(tie.on(TICK, 3_049 + HOME_LOST_MS).is_empty());
    assert_eq!(tie.on(TICK, 3_050 + HOME_LOST_MS), [Effect::Stale(true)]);
    assert!(tie.on(TICK, 3_051 + HOME_LOST_MS).is_empty(), "once a loss");
    tie.on(Event::NotAnnounced, 6_000);
    assert!(tie.on(TICK, 6_000 + HOME_LOST_MS).contains(&Effect::Stale(true)), "it is lost still");
}
