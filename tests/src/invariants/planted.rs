//! A small history in which every promise is kept, for checkers to be proved on: each test breaks one thing in it.
//!
//! Alice writes, Carol falls silent, Bob may not see Alice for a while; n3 is killed, and later cut off.

use super::Verdict;
use crate::history::{
    CUT_OFF, Entry, Fault, FinalRead, History, KILL, Life, Link, Micros, Op, OpKind, Outcome, Pages, Phase, Presence,
    Promises, Record, Role, Sample, Sighting, Sign, Source,
};

/// Milliseconds.
pub(crate) const MS: Micros = 1_000;

/// The first case in which `checker` finds the holding history broken after `plant`.
pub(crate) fn broken_by(checker: fn(&History) -> Verdict, plant: impl FnOnce(&mut History)) -> String {
    let mut history = holding();
    assert!(checker(&history).holds(), "it holds before");
    plant(&mut history);
    let verdict = checker(&history);
    assert!(!verdict.holds(), "the fault is seen: {verdict:?}");
    verdict.violations[0].0.clone()
}

/// Shows the watcher `w1` its last sight of Alice once more, with a change, as a snapshot.
pub(crate) fn shown_again(history: &mut History, change: impl FnOnce(&mut Sighting)) {
    let last = history.sightings.iter().rev().find(|s| s.watcher == "w1" && s.subject == "alice");
    let mut again = last.expect("one").clone();
    again.at += MS;
    again.source = Source::Snapshot;
    change(&mut again);
    history.sightings.push(again);
}

pub(crate) fn presence(status: &str, text: Option<&str>, version: u64) -> Presence {
    Presence { status: status.into(), text: text.map(Into::into), version, stale: false, digest: version }
}

/// A write of Alice, answered after 100 ms.
pub(crate) fn write(number: u32, start_ms: Micros, outcome: Outcome, version: Option<u64>, node: &str) -> Op {
    Op {
        client: "a".into(),
        user: "alice".into(),
        kind: OpKind::SetStatus,
        other: None,
        status: Some("dnd".into()),
        serial: Some(format!("s-a-{number}")),
        start: start_ms * MS,
        end: (start_ms + 100) * MS,
        outcome,
        version,
        node: node.into(),
        attempts: 1,
        seen: None,
    }
}

/// A read of Alice by Bob, answered after 50 ms.
pub(crate) fn read(start_ms: Micros, seen: Presence, node: &str) -> Op {
    let end = (start_ms + 50) * MS;
    let (client, kind, version) = ("bob".into(), OpKind::Read, Some(seen.version));
    let unknown = write(0, start_ms, Outcome::Ok, None, node);
    Op { client, kind, version, end, seen: Some(seen), serial: None, status: None, ..unknown }
}

fn contact(kind: OpKind, start_ms: Micros) -> Op {
    let op = write(0, start_ms, Outcome::Ok, None, "n1");
    Op { kind, other: Some("bob".into()), serial: None, status: None, ..op }
}

fn ops() -> Vec<Op> {
    let stale = Presence { stale: true, ..presence("dnd", Some("s-a-4"), 5) };
    let mut ops = vec![
        write(1, 2_000, Outcome::Ok, Some(2), "n1"),
        read(2_500, presence("dnd", Some("s-a-1"), 2), "n2"),
        write(2, 3_000, Outcome::Ok, Some(3), "n2"),
        read(3_500, presence("dnd", Some("s-a-2"), 3), "n3"),
        write(3, 5_500, Outcome::Unknown, None, "n3"),
        write(4, 9_000, Outcome::Ok, Some(5), "n1"),
        write(5, 9_500, Outcome::Fail, None, "n1"),
        read(9_800, presence("dnd", Some("s-a-4"), 5), "n3"),
        write(6, 23_000, Outcome::Unknown, None, "n3"),
        read(23_500, stale, "n3"),
        write(7, 26_000, Outcome::Ok, Some(6), "n1"),
        contact(OpKind::RemoveContact, 28_000),
        contact(OpKind::AddContact, 30_000),
    ];
    ops.sort_by_key(|op| op.end);
    ops
}

/// Watcher, viewer, subject, when and what.
fn sightings() -> Vec<Sighting> {
    let mut sightings = Vec::new();
    let mut show = |watcher: &str, at_ms: Micros, source: Source, subject: &str, shown: Presence| {
        let (watcher, subject) = (watcher.into(), subject.into());
        sightings.push(Sighting { watcher, connection: 1, at: at_ms * MS, source, subject, presence: Some(shown) });
    };
    for watcher in ["w1", "w2"] {
        show(watcher, 1_100, Source::Snapshot, "alice", presence("online", None, 1));
        show(watcher, 2_200, Source::Change, "alice", presence("dnd", Some("s-a-1"), 2));
        show(watcher, 3_200, Source::Change, "alice", presence("dnd", Some("s-a-2"), 3));
        show(watcher, 7_500, Source::Change, "alice", presence("dnd", Some("s-a-3"), 4));
        show(watcher, 9_200, Source::Change, "alice", presence("dnd", Some("s-a-4"), 5));
        show(watcher, 26_200, Source::Change, "alice", presence("dnd", Some("s-a-7"), 6));
    }
    show("w1", 1_100, Source::Snapshot, "carol", presence("online", None, 1));
    show("w1", 14_000, Source::Change, "carol", presence("offline", None, 2));
    show("w2", 28_200, Source::Change, "alice", presence("offline", None, 0));
    show("w2", 30_200, Source::Change, "alice", presence("dnd", Some("s-a-7"), 6));
    sightings.sort_by_key(|s| s.at);
    sightings
}

fn lives() -> Vec<Life> {
    let life = |user: &str, at_ms: Micros, sign| {
        let (user, node) = (user.into(), "n1".into());
        Life { user, at: at_ms * MS, sign, lasts_us: 1_000 * MS, node }
    };
    let mut lives: Vec<Life> = (1..80).map(|n| life("alice", n * 500, Sign::Alive)).collect();
    lives.extend((1..20).map(|n| life("carol", n * 500, Sign::Alive)));
    lives.push(life("carol", 10_000, Sign::Silent));
    lives.sort_by_key(|life| life.at);
    lives
}

fn pages(user: &str, entries: &[(u64, &str, Option<&str>, &str)]) -> Pages {
    let entry = |&(version, status, text, reason): &(u64, &str, Option<&str>, &str)| Entry {
        version,
        status: status.into(),
        text: text.map(Into::into),
        reason: reason.into(),
    };
    Pages { user: user.into(), node: "n1".into(), complete: true, entries: entries.iter().map(entry).collect() }
}

/// What is found in the end.
fn ends() -> Vec<Record> {
    let mut records = Vec::new();
    for node in ["n1", "n2", "n3"] {
        let of = |viewer: &str, user: &str, presence| {
            let (viewer, user, node) = (viewer.into(), user.into(), node.into());
            Record::Read(FinalRead { viewer, user, node, at: 36_000 * MS, presence })
        };
        records.push(of("the-service", "alice", presence("dnd", Some("s-a-7"), 6)));
        records.push(of("the-service", "carol", presence("offline", None, 2)));
        records.push(of("bob", "alice", presence("dnd", Some("s-a-7"), 6)));
        for (phase, at_ms) in [(Phase::Before, 1_500), (Phase::After, 36_000)] {
            let (rss_bytes, fds, actors) = (Some(50_000_000 + at_ms), Some(100), Some(2));
            records.push(Record::Sample(Sample { at: at_ms * MS, node: node.into(), phase, rss_bytes, fds, actors }));
        }
        for (term, leader, at_ms) in [(1, "n3", 2_000), (2, "n1", 6_000)] {
            let leader = leader.into();
            records.push(Record::Role(Role {
                at: at_ms * MS,
                node: node.into(),
                partition: 0,
                term,
                leader,
                replicas: Vec::new(),
            }));
        }
    }
    let set = "status_set";
    records.push(Record::Pages(pages(
        "alice",
        &[
            (1, "online", None, "connected"),
            (2, "dnd", Some("s-a-1"), set),
            (3, "dnd", Some("s-a-2"), set),
            (4, "dnd", Some("s-a-3"), set),
            (5, "dnd", Some("s-a-4"), set),
            (6, "dnd", Some("s-a-7"), set),
        ],
    )));
    records.push(Record::Pages(pages("carol", &[(1, "online", None, "connected"), (2, "offline", None, "expired")])));
    records
}

/// The history in which every promise is kept.
pub(crate) fn holding() -> History {
    let second = 1_000 * MS;
    let mut history = History::new(Promises {
        nodes: ["n1", "n2", "n3"].map(String::from).into(),
        ttl_us: 3 * second,
        grace_us: second,
        failover_us: second,
        batch_us: second,
        lease_us: second,
        delivery_us: second,
        heal_us: 5 * second,
        relink_us: second,
        load_min: 2,
        required_faults: vec![KILL.into(), CUT_OFF.into()],
        ..Promises::default()
    });
    for (kind, start_ms, end_ms) in [(KILL, 4_000, 8_000), (CUT_OFF, 20_000, 25_000)] {
        let (kind, nodes) = (kind.into(), vec!["n3".into()]);
        history.push(Record::Fault(Fault { kind, nodes, start: start_ms * MS, end: Some(end_ms * MS) }));
    }
    for (watcher, viewer, node) in [("w1", "the-service", "n1"), ("w2", "bob", "n2")] {
        let (watcher, viewer, node) = (watcher.into(), viewer.into(), node.into());
        history.push(Record::Link(Link { watcher, viewer, connection: 1, node, at: second, up: true }));
    }
    ops().into_iter().map(Record::Op).for_each(|r| history.push(r));
    sightings().into_iter().map(Record::Sighting).for_each(|r| history.push(r));
    lives().into_iter().map(Record::Life).for_each(|r| history.push(r));
    ends().into_iter().for_each(|r| history.push(r));
    history.push(Record::Quiet { at: 35 * second });
    history
}
