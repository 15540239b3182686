//! The judge of a replay through faults is proved as the strict one: each fault is planted, and must be caught.

use super::super::{
    super::account::{Entry, Reason},
    *,
};
use super::*;
use Disturbance::{Lost, Unknown};
use Reason::{Connected, Disconnected, NodeLost};
use Status::{Away, Offline, Online};

const ALICE: UserIx = 0;
const BOB: UserIx = 1;
const CAROL: UserIx = 2;

fn shown(version: u64, status: Status) -> Shown {
    Shown { version, status, stale: false, digest: Some(version as u32) }
}

fn stale(version: u64, status: Status) -> Shown {
    Shown { stale: true, digest: None, ..shown(version, status) }
}

fn history(entries: &[(u64, Status, Reason)]) -> History {
    let entries = entries.iter().map(|&(version, status, reason)| Entry { version, status, reason }).collect();
    History { entries, complete: true }
}

const CAME: (u64, Status, Reason) = (4, Online, Connected);
const WENT: (u64, Status, Reason) = (9, Offline, Disconnected);

/// Alice and Bob are contacts; Bob is connected, and holds Alice as never seen.
fn bob_watches(strictness: Strictness) -> (Judge, Turn) {
    let mut judge = Judge::new(strictness, Arc::new(Friends::of_pairs(3, &[(ALICE, BOB)])), &[0, 0, 0]);
    judge.begin(BOB, Online, 0);
    let turn = judge.arriving(BOB);
    judge.snapshot(turn, &[(ALICE, shown(0, Offline))], false);
    judge.done(BOB, shown(1, Online), 0);
    (judge, turn)
}

/// Alice comes as version 4 and goes as version 9, both acknowledged.
fn alice_moves(judge: &mut Judge) {
    for (version, status, _) in [CAME, WENT] {
        judge.begin(ALICE, status, 10);
        judge.done(ALICE, shown(version, status), 10);
    }
}

/// Bob loses his connection, and takes it up again.
fn bob_again(judge: &mut Judge, turn: Turn, snapshot: &[(UserIx, Shown)]) -> Turn {
    judge.left(turn, None);
    judge.disturb(BOB, Lost, 20);
    let turn = judge.resuming(BOB);
    judge.snapshot(turn, snapshot, false);
    turn
}

/// Bob leaves, and everybody's history is read.
fn finish(judge: &mut Judge, turn: Turn, alice: &[(u64, Status, Reason)]) -> Verdict {
    let due = judge.due(turn);
    judge.left(turn, Some(&due));
    judge.learn(ALICE, &history(alice));
    judge.learn(BOB, &history(&[(1, Online, Connected)]));
    judge.learn(CAROL, &history(&[]));
    judge.verdict()
}

/// The verdict when Bob sees Alice come, is away while she goes, and finds `snapshot` when he is back.
fn back_to(snapshot: &[(UserIx, Shown)]) -> Verdict {
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    alice_moves(&mut judge);
    judge.change(turn, &[(ALICE, shown(4, Online))], 20);
    let turn = bob_again(&mut judge, turn, snapshot);
    finish(&mut judge, turn, &[CAME, WENT])
}

#[test]
fn a_reconnect_that_is_shown_exactly_what_is_newer_is_faultless() {
    let verdict = back_to(&[(ALICE, shown(9, Offline))]);
    let counts = (verdict.expected, verdict.received, verdict.covered, verdict.faults());
    assert_eq!(counts, (1, 1, 1, 0), "{:?}", verdict.notes);
}

#[test]
fn a_version_that_falls_across_a_reconnect_is_caught() {
    for fallen in [shown(0, Offline), shown(3, Online), stale(3, Online)] {
        let verdict = back_to(&[(ALICE, fallen)]);
        assert!(verdict.out_of_order == 1, "{fallen:?}: {verdict:?}");
    }
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    judge.change(turn, &[(ALICE, shown(4, Online))], 20);
    let turn = bob_again(&mut judge, turn, &[(ALICE, shown(0, Offline))]);
    judge.change(turn, &[(ALICE, shown(4, Online))], 30);
    assert_eq!(judge.verdict().duplicated, 1, "a client keeps the higher version");
    // Or in a later connection that knew nothing: not below what an earlier one was shown, acknowledged or not.
    let later = |seen: Shown| {
        let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
        judge.begin(ALICE, Online, 10);
        judge.change(turn, &[(ALICE, shown(4, Online))], 20);
        judge.left(turn, None);
        judge.arriving(BOB); // this attempt fails before its snapshot
        let turn = judge.arriving(BOB);
        judge.snapshot(turn, &[(ALICE, seen)], false);
        judge.done(ALICE, shown(4, Online), 30);
        judge.change(turn, &[(ALICE, shown(4, Online))], 40);
        finish(&mut judge, turn, &[CAME])
    };
    assert_eq!(later(shown(0, Offline)).out_of_order, 1);
    assert_eq!(later(stale(0, Offline)).faults(), 0, "a node that is cut off says that it cannot know");
    assert_eq!(later(stale(0, Offline)).out_of_order, 0);
}

#[test]
fn a_version_that_falls_within_a_connection_is_caught() {
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    alice_moves(&mut judge);
    judge.change(turn, &[(ALICE, shown(9, Offline))], 20);
    judge.change(turn, &[(ALICE, shown(4, Online))], 20);
    assert_eq!(finish(&mut judge, turn, &[CAME, WENT]).out_of_order, 1);
}

#[test]
fn a_snapshot_that_repeats_what_was_known_is_caught_unless_its_certainty_is_told() {
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    alice_moves(&mut judge);
    judge.change(turn, &[(ALICE, shown(9, Offline))], 20);
    let turn = bob_again(&mut judge, turn, &[(ALICE, shown(9, Offline))]);
    let turn = bob_again(&mut judge, turn, &[(ALICE, stale(9, Offline))]);
    let verdict = finish(&mut judge, turn, &[CAME, WENT]);
    assert_eq!((verdict.duplicated, verdict.restated, verdict.faults()), (1, 1, 1), "{:?}", verdict.notes);
}

#[test]
fn what_neither_the_snapshot_nor_a_later_change_brings_is_missing() {
    let verdict = back_to(&[]);
    assert_eq!((verdict.missing, verdict.faults()), (1, 1), "{:?}", verdict.notes);
    let between = back_to(&[(ALICE, shown(5, Online))]);
    assert!(between.out_of_order == 1 && between.wrong == 1, "older than what was acknowledged, and of no history");
}

#[test]
fn an_acknowledged_transition_that_the_history_lacks_is_caught() {
    for lost in [&[CAME][..], &[WENT], &[]] {
        let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
        judge.disturb(ALICE, Unknown, 5);
        alice_moves(&mut judge);
        judge.change(turn, &[(ALICE, shown(9, Offline))], 20);
        assert!(finish(&mut judge, turn, lost).wrong >= 1, "{lost:?}");
    }
}

#[test]
fn a_status_or_a_version_that_the_history_never_had_is_caught() {
    for planted in [shown(4, Away), shown(5, Online), shown(9, Online)] {
        let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
        alice_moves(&mut judge);
        judge.change(turn, &[(ALICE, planted)], 20);
        let turn = bob_again(&mut judge, turn, &[]);
        assert!(finish(&mut judge, turn, &[CAME, WENT]).wrong >= 1, "{planted:?}");
    }
}

#[test]
fn a_false_ending_is_explained_only_by_a_fault_of_that_user() {
    let ended = [CAME, (6, Offline, NodeLost), (7, Online, Connected), WENT];
    for disturbed in [ALICE, CAROL] {
        let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
        judge.begin(ALICE, Online, 10);
        judge.done(ALICE, shown(4, Online), 10);
        judge.disturb(disturbed, Lost, 15);
        judge.begin(ALICE, Offline, 20);
        judge.done(ALICE, shown(9, Offline), 20);
        for (version, status, _) in ended {
            judge.change(turn, &[(ALICE, shown(version, status))], 30);
        }
        let verdict = finish(&mut judge, turn, &ended);
        let wanted = if disturbed == ALICE { (2, 0) } else { (0, 2) };
        assert_eq!((verdict.explained, verdict.faults()), wanted, "{:?}", verdict.notes);
        assert_eq!((verdict.expected, verdict.received), (4, 4));
    }
}

#[test]
fn a_read_that_differs_from_what_was_shown_under_its_version_is_caught() {
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    judge.begin(ALICE, Online, 10);
    judge.change(turn, &[(ALICE, Shown { digest: Some(0), ..shown(4, Online) })], 20);
    judge.done(ALICE, shown(4, Online), 30);
    assert_eq!(finish(&mut judge, turn, &[CAME]).wrong, 1);
}

#[test]
fn a_truth_that_falls_is_caught() {
    let (mut judge, turn) = bob_watches(Strictness::ThroughFaults);
    alice_moves(&mut judge);
    judge.change(turn, &[(ALICE, shown(9, Offline))], 20);
    judge.begin(ALICE, Online, 30);
    judge.done(ALICE, shown(4, Online), 30);
    assert!(finish(&mut judge, turn, &[CAME, WENT]).wrong >= 1);
}

#[test]
fn states_that_differ_are_counted_before_they_are_judged() {
    let (mut judge, _) = bob_watches(Strictness::ThroughFaults);
    let truth = |alice| [alice, shown(1, Online), shown(0, Offline)];
    assert_eq!(judge.differences(&truth(shown(0, Offline))), 0);
    assert_eq!(judge.differences(&truth(shown(4, Online))), 1);
    assert_eq!(judge.verdict().faults(), 0, "looking is no verdict");
    judge.compare(&truth(shown(4, Online)));
    assert!(judge.verdict().missing == 1);
}

#[test]
fn without_faults_expected_a_late_version_of_a_reconnect_is_still_a_fault() {
    let (mut judge, turn) = bob_watches(Strictness::LatestState);
    alice_moves(&mut judge);
    let turn = bob_again(&mut judge, turn, &[]);
    let due = judge.due(turn);
    judge.left(turn, Some(&due));
    assert_eq!(judge.verdict().wrong, 1, "{:?}", judge.verdict().notes);
}
