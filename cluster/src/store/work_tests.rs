//! The order in which a round takes work.

use super::*;

fn append(partition: u16, index: u64, bytes: usize) -> LogWork {
    LogWork::Append {
        partition: PartitionId(partition),
        entries: vec![SealedEntry { id: StoredLogId { term: 1, index }, sealed: vec![0; bytes] }],
        room: None,
        done: Box::new(|| {}),
    }
}

fn vote(partition: u16) -> LogWork {
    let vote = StoredVote { term: 1, node: 1, committed: false };
    LogWork::Vote(PartitionId(partition), vote, Box::new(|| {}))
}

fn shape(taken: &Taken) -> Vec<(char, u16)> {
    let letter = |w: &LogWork| match w {
        LogWork::Vote(p, ..) => ('v', p.0),
        LogWork::Append { partition, .. } => ('a', partition.0),
        LogWork::Truncate(p, ..) => ('t', p.0),
        LogWork::Purge(p, _) => ('p', p.0),
        LogWork::Forget(p, _) => ('f', p.0),
        LogWork::Describe(..) => ('d', 0),
    };
    taken.log.iter().map(letter).collect()
}

#[test]
fn votes_overtake_other_groups_but_not_their_own() {
    let queue = Queue::default();
    queue.log(append(1, 1, ROUND_APPEND_MAX_BYTES));
    queue.log(append(2, 1, 10));
    queue.log(vote(2));
    queue.log(vote(3));
    assert_eq!(shape(&queue.take(true).unwrap()), [('a', 1), ('v', 3)]);
    assert_eq!(shape(&queue.take(true).unwrap()), [('a', 2), ('v', 2)]);
}

#[test]
fn a_truncation_waits_until_what_it_removes_is_written() {
    let queue = Queue::default();
    queue.log(append(1, 5, 10));
    queue.log(LogWork::Truncate(PartitionId(1), None, Box::new(|| {})));
    queue.log(append(1, 1, 10));
    assert_eq!(shape(&queue.take(true).unwrap()), [('a', 1)]);
    assert_eq!(shape(&queue.take(true).unwrap()), [('t', 1), ('a', 1)]);
}

fn state(partition: u16, bytes: usize) -> StateWork {
    let partition = PartitionId(partition);
    StateWork {
        partition,
        rows: Vec::new(),
        header: Vec::new(),
        applied: None,
        bytes,
        room: None,
        done: Box::new(|| {}),
    }
}

#[test]
fn what_a_replica_still_had_to_write_of_its_state_goes_with_it() {
    let queue = Queue::default();
    queue.log(append(1, 5, 10));
    queue.state(state(1, 10));
    queue.state(state(2, 20));
    queue.committed(PartitionId(1), StoredLogId { term: 1, index: 5 });
    queue.forget(PartitionId(1), Box::new(|| {}));
    queue.log(append(1, 1, 10));
    let taken = queue.take(true).unwrap();
    assert_eq!(shape(&taken), [('a', 1), ('f', 1), ('a', 1)], "in this order");
    assert!(taken.committed.is_empty());
    assert_eq!(taken.state.iter().map(|work| work.partition.0).collect::<Vec<_>>(), [2]);
    assert_eq!(queue.waiting.lock().state_bytes, 0);
}

#[test]
fn a_closed_queue_gives_out_what_waits_and_then_ends() {
    let queue = Queue::default();
    queue.log(append(1, 1, 10));
    queue.close();
    assert!(queue.take(false).is_some());
    assert!(queue.take(false).is_none());
}
