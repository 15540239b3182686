//! The judge is proved by planting each fault, and seeing it caught.

use super::*;
use Status::{Away, Offline, Online};

const ALICE: UserIx = 0;
const BOB: UserIx = 1;

fn shown(version: u64, status: Status) -> Shown {
    Shown { version, status, stale: false, digest: Some(version as u32) }
}

/// Alice and Bob are contacts; Bob is connected and was shown Alice as never seen.
fn bob_watches(strictness: Strictness) -> (Judge, Turn) {
    let mut judge = Judge::new(strictness, Arc::new(Friends::of_pairs(3, &[(ALICE, BOB)])), &[0, 0, 0]);
    judge.begin(BOB, Online, 0);
    let turn = judge.arriving(BOB);
    judge.snapshot(turn, &[(ALICE, shown(0, Offline))], false);
    judge.done(BOB, shown(1, Online), 10);
    (judge, turn)
}

/// Alice comes and goes: versions 4 and 9.
fn alice_moves(judge: &mut Judge, mut show: impl FnMut(&mut Judge, u64, Status)) {
    for (version, status) in [(4, Online), (9, Offline)] {
        judge.begin(ALICE, status, 10);
        show(judge, version, status);
        judge.done(ALICE, shown(version, status), 10);
    }
}

fn leave(judge: &mut Judge, turn: Turn) -> Verdict {
    let due = judge.due(turn);
    judge.left(turn, Some(&due));
    judge.verdict()
}

#[test]
fn each_transition_seen_once_is_faultless() {
    for strictness in [Strictness::EachTransition, Strictness::LatestState] {
        let (mut judge, turn) = bob_watches(strictness);
        alice_moves(&mut judge, |judge, version, status| {
            let last = judge.change(turn, &[(ALICE, shown(version, status))], 20);
            assert_eq!(last, strictness == Strictness::EachTransition);
            assert!(judge.all_seen());
        });
        let verdict = leave(&mut judge, turn);
        assert_eq!((verdict.expected, verdict.received, verdict.faults()), (2, 2, 0), "{:?}", verdict.notes);
        assert_eq!(judge.latency().count(), 2);
    }
}

#[test]
fn a_missing_last_notification_is_caught() {
    for strictness in [Strictness::EachTransition, Strictness::LatestState] {
        let (mut judge, turn) = bob_watches(strictness);
        alice_moves(&mut judge, |judge, version, status| {
            if version == 4 {
                judge.change(turn, &[(ALICE, shown(version, status))], 20);
            }
        });
        assert!(!judge.caught_up(turn, &judge.due(turn)));
        let verdict = leave(&mut judge, turn);
        assert_eq!((verdict.expected, verdict.received, verdict.missing), (2, 1, 1), "{:?}", verdict.notes);
    }
}

#[test]
fn a_skipped_notification_is_missing_in_lockstep_and_superseded_otherwise() {
    for strictness in [Strictness::EachTransition, Strictness::LatestState] {
        let (mut judge, turn) = bob_watches(strictness);
        alice_moves(&mut judge, |judge, version, status| {
            if version == 9 {
                judge.change(turn, &[(ALICE, shown(version, status))], 20);
            }
        });
        let verdict = leave(&mut judge, turn);
        let wanted = if strictness == Strictness::EachTransition { (2, 1, 1, 0) } else { (2, 1, 0, 1) };
        assert_eq!((verdict.expected, verdict.received, verdict.missing, verdict.superseded), wanted);
    }
}

#[test]
fn a_repeated_notification_is_caught_unless_only_its_certainty_changed() {
    let (mut judge, turn) = bob_watches(Strictness::EachTransition);
    alice_moves(&mut judge, |judge, version, status| {
        judge.change(turn, &[(ALICE, shown(version, status))], 20);
        judge.change(turn, &[(ALICE, Shown { stale: true, digest: None, ..shown(version, status) })], 20);
        judge.change(turn, &[(ALICE, Shown { stale: true, digest: None, ..shown(version, status) })], 20);
    });
    let verdict = leave(&mut judge, turn);
    assert_eq!((verdict.duplicated, verdict.restated, verdict.faults()), (2, 2, 2), "{:?}", verdict.notes);
}

#[test]
fn a_notification_out_of_order_is_caught() {
    let (mut judge, turn) = bob_watches(Strictness::LatestState);
    alice_moves(&mut judge, |_, _, _| {});
    judge.change(turn, &[(ALICE, shown(9, Offline))], 20);
    judge.change(turn, &[(ALICE, shown(4, Online))], 20);
    let verdict = leave(&mut judge, turn);
    assert_eq!((verdict.out_of_order, verdict.superseded, verdict.faults()), (1, 1, 1), "{:?}", verdict.notes);
}

#[test]
fn a_wrong_version_or_status_or_byte_is_caught() {
    for strictness in [Strictness::EachTransition, Strictness::LatestState] {
        for planted in [shown(5, Online), shown(4, Away), Shown { digest: Some(0), ..shown(4, Online) }] {
            let (mut judge, turn) = bob_watches(strictness);
            alice_moves(&mut judge, |judge, version, status| {
                let told = if version == 4 { planted } else { shown(version, status) };
                judge.change(turn, &[(ALICE, told)], 20);
            });
            let verdict = leave(&mut judge, turn);
            assert!(verdict.wrong > 0, "{planted:?} {verdict:?}");
        }
    }
}

#[test]
fn an_event_that_nobody_made_is_caught() {
    for strictness in [Strictness::EachTransition, Strictness::LatestState] {
        let (mut judge, turn) = bob_watches(strictness);
        judge.change(turn, &[(ALICE, shown(3, Offline))], 20);
        judge.change(turn, &[(2, shown(3, Offline))], 20);
        let verdict = leave(&mut judge, turn);
        assert!(verdict.wrong >= 2, "{verdict:?}");
    }
}

#[test]
fn a_snapshot_older_than_what_was_acknowledged_or_without_a_contact_is_caught() {
    for snapshot in [&[(ALICE, shown(0, Offline))][..], &[]] {
        let (mut judge, turn) = bob_watches(Strictness::LatestState);
        judge.left(turn, None);
        alice_moves(&mut judge, |_, _, _| {});
        let turn = judge.arriving(BOB);
        judge.snapshot(turn, snapshot, false);
        assert_eq!(judge.verdict().wrong, 1);
    }
}

#[test]
fn a_resumed_watcher_is_shown_exactly_what_is_newer() {
    let resume = |snapshot: &[(UserIx, Shown)]| {
        let (mut judge, turn) = bob_watches(Strictness::EachTransition);
        judge.left(turn, None);
        alice_moves(&mut judge, |_, _, _| {});
        let turn = judge.resuming(BOB);
        assert_eq!(judge.known(turn), [(ALICE, 0)]);
        judge.snapshot(turn, snapshot, false);
        leave(&mut judge, turn)
    };
    assert_eq!(resume(&[(ALICE, shown(9, Offline))]).faults(), 0);
    let nothing = resume(&[]);
    assert_eq!((nothing.wrong, nothing.missing), (1, 2), "{:?}", nothing.notes);
    assert_eq!(resume(&[(ALICE, shown(0, Offline))]).duplicated, 1);
}

#[test]
fn a_final_state_that_differs_from_a_read_is_caught() {
    let (mut judge, _) = bob_watches(Strictness::LatestState);
    let (bob, carol) = (shown(1, Online), shown(0, Offline));
    assert_eq!(judge.compare(&[shown(0, Offline), bob, carol]), 1);
    assert_eq!(judge.verdict().faults(), 0);
    judge.compare(&[shown(4, Online), bob, carol]);
    assert!(judge.verdict().missing == 1);
}

#[test]
fn waiting_ends_and_counts_against_the_server() {
    let (mut judge, turn) = bob_watches(Strictness::EachTransition);
    judge.begin(ALICE, Online, 0);
    assert!(!judge.all_seen());
    assert_eq!(judge.give_up(), 1);
    assert!(judge.all_seen());
    judge.change(turn, &[(ALICE, shown(4, Online))], 20);
    judge.done(ALICE, shown(4, Online), 10);
    assert!(leave(&mut judge, turn).wrong >= 1);
}
