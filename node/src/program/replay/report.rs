//! The report of a replay, for people.
//!
//! Owns the wording of the figures: sessions, transitions, notifications, differences, latency, time, memory.

use super::{lived::Counts, player::Played, script::Script, verdict::Verdict};
use crate::program::latency::Latency;
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

/// All that is reported.
pub(crate) struct Report<'a> {
    /// What was played, and how.
    pub(crate) title: String,
    pub(crate) script: &'a Script,
    pub(crate) played: &'a Played,
    pub(crate) verdict: &'a Verdict,
    /// Of a replay through faults.
    pub(crate) lived: Option<Counts>,
    /// History entries compared with the transitions.
    pub(crate) history: u64,
    pub(crate) latency: &'a Latency,
    pub(crate) wall: Duration,
    /// By node, bytes; `None` for a node that does not tell.
    pub(crate) memory: &'a BTreeMap<String, Option<u64>>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (script, verdict) = (self.script, self.verdict);
        writeln!(f, "{}", self.title)?;
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<20}{value}");
        let (pairs, most) = (count(script.friends.pairs()), count(script.friends.most()));
        line("people", format!("{}, {pairs} pairs of contacts, at most {most} of one", count(script.users.len())))?;
        line("online at once", format!("{}, {} connections held", count(script.peak().0), count(self.played.held)))?;
        line("sessions", count(script.sessions()))?;
        line("transitions", count(script.transitions()))?;
        line("flaps", format!("{} (connections lost and resumed, to be seen by nobody)", count(script.flaps())))?;
        if self.played.steps < script.steps.len() {
            let all = count(script.steps.len());
            line("stopped", format!("after {} of {all} steps, for too many differences", count(self.played.steps)))?;
        }
        line("expected", count(verdict.expected))?;
        line("received", count(verdict.received))?;
        line("superseded", count(verdict.superseded))?;
        if self.lived.is_some() {
            line("covered", format!("{} by the snapshot of a reconnect", count(verdict.covered)))?;
        }
        line("missing", count(verdict.missing))?;
        line("duplicated", count(verdict.duplicated))?;
        line("out of order", count(verdict.out_of_order))?;
        line("wrong", count(verdict.wrong))?;
        line("lost connections", count(verdict.lost))?;
        line("failed requests", count(verdict.failed))?;
        line("restated", format!("{} (only the certainty changed)", count(verdict.restated)))?;
        line("states compared", format!("{} pairs of watcher and contact with a read", count(self.played.compared)))?;
        line("history compared", format!("{} entries", count(self.history)))?;
        if let Some(lived) = &self.lived {
            let (away_s, repeated_s) = (seconds(lived.longest_away_ms), seconds(lived.longest_repeated_ms));
            let explained = count(verdict.explained);
            line("reconnects", format!("{}, the longest after {away_s} s", count(lived.reconnects)))?;
            line("resumed", format!("{} sessions, flaps too; {} not", count(lived.resumed), count(lived.not_resumed)))?;
            let (openings, closes) = (count(lived.openings_repeated), count(lived.closes_repeated));
            line("steps repeated", format!("{openings} openings, {closes} closes, the longest for {repeated_s} s"))?;
            line("explained by faults", format!("{explained} entries of histories"))?;
        }
        let (p50_ms, p99_ms) = (self.latency.percentile_ms(50.0), self.latency.percentile_ms(99.0));
        let of = count(self.latency.count());
        line("latency", format!("p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms from request to watcher's frame, of {of}"))?;
        line("wall time", format!("{:.1} s", self.wall.as_secs_f64()))?;
        line("server memory", format!("{} at the peak, {} after", memory(&self.played.memory), memory(self.memory)))?;
        for note in &verdict.notes {
            writeln!(f, "  ! {note}")?;
        }
        match verdict.faults() {
            0 => writeln!(f, "no difference"),
            1 => writeln!(f, "1 difference"),
            n => writeln!(f, "{} differences", count(n)),
        }
    }
}

fn memory(nodes: &BTreeMap<String, Option<u64>>) -> String {
    let mut text = String::new();
    if nodes.is_empty() {
        return "unknown".into();
    }
    for (name, bytes) in nodes {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = match bytes {
            Some(bytes) => write!(text, "{separator}{name} {:.1} MiB", *bytes as f64 / 1_048_576.0),
            None => write!(text, "{separator}{name} unknown"),
        };
    }
    text
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1_000.0)
}

/// A number with a comma at every thousand.
fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::replay::synthetic;

    #[test]
    fn thousands_have_commas() {
        assert_eq!(
            [count(0_u64), count(999_u64), count(1_000_u64), count(28_093_u64), count(1_234_567_u64)],
            ["0", "999", "1,000", "28,093", "1,234,567"]
        );
    }

    #[test]
    fn the_last_line_says_whether_there_was_a_difference() {
        let script = synthetic::script(4, 1);
        let (played, memory) =
            (Played::default(), BTreeMap::from([("n1".into(), Some(1_048_576)), ("n2".into(), None)]));
        let (latency, mut verdict) = (Latency::default(), Verdict::default());
        let report = |verdict: &Verdict| {
            let title = "t".into();
            let lived = Some(Counts { reconnects: 7, ..Counts::default() });
            let (script, played, memory, wall) = (&script, &played, &memory, Duration::from_secs(1));
            Report { title, script, played, verdict, lived, history: 0, latency: &latency, wall, memory }.to_string()
        };
        assert!(report(&verdict).ends_with("no difference\n"));
        assert!(report(&verdict).contains("reconnects          7, the longest"));
        assert!(report(&verdict).contains("n1 1.0 MiB, n2 unknown"));
        verdict.missing = 2;
        assert!(report(&verdict).ends_with("2 differences\n"));
    }
}
