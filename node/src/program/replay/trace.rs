//! Recorded messages, and what of people's presence they tell.
//!
//! Owns the file format `source<TAB>target<TAB>seconds`, the rule that makes sessions of messages, and the order of
//! transitions. Everything here is a pure function of the text.

use super::script::{Action, Friends, Script, Step, UserIx};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// How long a session lasts after its last message, s.
pub(crate) const AFTERGLOW_S: u64 = 300;
/// A gap between messages longer than this starts a new session, s.
pub(crate) const GAP_MAX_S: u64 = 900;
/// Most messages of a trace: bounds memory to about a gigabyte.
const MESSAGES_MAX: usize = 20_000_000;

/// One recorded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) source: &'a str,
    pub(crate) target: &'a str,
    pub(crate) at_s: u64,
}

/// Why a trace cannot be played. Nothing was touched.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TraceError {
    #[error("line {line}: {rule}")]
    Line { line: usize, rule: &'static str },
    #[error("the trace holds no message")]
    Empty,
    #[error("the trace holds more than {MESSAGES_MAX} messages")]
    TooLong,
}

/// Reads the messages of a trace.
pub(crate) fn messages(text: &str) -> Result<Vec<Message<'_>>, TraceError> {
    let mut messages = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        messages.push(message(line).map_err(|rule| TraceError::Line { line: index + 1, rule })?);
        if messages.len() > MESSAGES_MAX {
            return Err(TraceError::TooLong);
        }
    }
    if messages.is_empty() { Err(TraceError::Empty) } else { Ok(messages) }
}

fn message(line: &str) -> Result<Message<'_>, &'static str> {
    let mut fields = line.trim_end_matches('\r').split('\t');
    let (Some(source), Some(target), Some(seconds), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("must be source, target and seconds with a tab between");
    };
    for id in [source, target] {
        // The prefix of a run makes any of these a valid user id.
        if rollcall_presence::UserId::new(&format!("x{id}")).is_err() || id.is_empty() {
            return Err("must name people by A-Z a-z 0-9 . _ ~ : @ + -, within 127 bytes");
        }
    }
    // The bound keeps every later sum of milliseconds within 64 bits.
    match seconds.parse::<u64>() {
        Ok(at_s) if at_s <= 1 << 40 => Ok(Message { source, target, at_s }),
        _ => Err("must end in a whole number of seconds"),
    }
}

/// Writes messages in the format that [`messages`] reads.
pub(crate) fn write(messages: &[Message<'_>]) -> String {
    let mut text = String::from("# source\ttarget\tseconds\n");
    for m in messages {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\t{}\t{}", m.source, m.target, m.at_s);
    }
    text
}

/// The script that `messages` stand for: two people who ever exchanged one are contacts of one another, and each sender
/// has a session from a message until [`AFTERGLOW_S`] after the last one.
pub(crate) fn script(messages: &[Message<'_>]) -> Script {
    let names: BTreeSet<&str> = messages.iter().flat_map(|m| [m.source, m.target]).collect();
    let index: BTreeMap<&str, UserIx> = names.iter().copied().zip(0..).collect();
    let mut sent: BTreeMap<UserIx, Vec<u64>> = BTreeMap::new();
    let mut pairs = Vec::new();
    for m in messages {
        let (source, target) = (index[m.source], index[m.target]);
        sent.entry(source).or_default().push(m.at_s);
        pairs.push((source, target));
    }
    let mut steps = Vec::new();
    for (user, times) in &mut sent {
        times.sort_unstable();
        for (opened_s, ended_s) in sessions(times) {
            steps.push(Step { at_ms: opened_s * 1_000, user: *user, action: Action::Open });
            steps.push(Step { at_ms: ended_s * 1_000, user: *user, action: Action::End });
        }
    }
    let users = names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let friends = Friends::of_pairs(users.len(), &pairs);
    Script::new(users, friends, steps)
}

/// The sessions of one sender, from sorted times of messages.
fn sessions(times: &[u64]) -> Vec<(u64, u64)> {
    let mut sessions: Vec<(u64, u64)> = Vec::new();
    for &at in times {
        match sessions.last_mut() {
            Some((_, ended)) if at - (*ended - AFTERGLOW_S) <= GAP_MAX_S => *ended = at + AFTERGLOW_S,
            _ => sessions.push((at, at + AFTERGLOW_S)),
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_more_than_900_seconds_starts_a_new_session() {
        assert_eq!(sessions(&[0, 900, 1_801]), [(0, 1_200), (1_801, 2_101)]);
        assert_eq!(sessions(&[5]), [(5, 305)]);
    }

    #[test]
    fn comments_and_line_ends_are_skipped_and_errors_name_their_line() {
        let read = messages("# a\tb\tc\n\n1\t2\t0\r\n2\t1\t3\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1], Message { source: "2", target: "1", at_s: 3 });
        for bad in ["1\t2", "1\t2\tx", "1\t2\t3\t4", "a b\t2\t3", "\t2\t3", "1\t2\t-3"] {
            assert!(matches!(messages(&format!("# c\n{bad}\n")), Err(TraceError::Line { line: 2, .. })), "{bad:?}");
        }
        assert_eq!(messages("# nothing\n"), Err(TraceError::Empty));
    }

    #[test]
    fn endings_come_before_openings_within_a_second() {
        // b opens in the very second in which a's session ends.
        let script = script(&messages("a\tb\t0\nb\ta\t300\n").unwrap());
        let order: Vec<_> = script.steps.iter().map(|s| (s.at_ms, s.user, s.action)).collect();
        let wanted =
            [(0, 0, Action::Open), (300_000, 0, Action::End), (300_000, 1, Action::Open), (600_000, 1, Action::End)];
        assert_eq!(order, wanted);
        assert_eq!(script.sessions(), 2);
        assert_eq!(script.friends.pairs(), 1);
        assert_eq!(script.expected(), 0, "they were never online together");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "# source\ttarget\tseconds\n1\t2\t0\n2\t1\t7\n";
        assert_eq!(write(&messages(text).unwrap()), text);
    }
}
