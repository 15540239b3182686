//! What a run comes to: what was injected, how soon writes were taken again, and the verdicts.

use super::{Kind, ground::NotRun};
use crate::{
    history::{History, Micros, OpKind, Outcome},
    invariants::{Finding, Judgement},
};
use std::{collections::BTreeMap, fmt, process::ExitCode};

/// A fault that came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injected {
    /// Which.
    pub kind: Kind,
    /// When it was begun, µs.
    pub start: Micros,
    /// When it began to be taken back, µs.
    pub end: Micros,
}

/// All that is to be said of a run.
#[derive(Debug)]
pub struct Report {
    /// Every fault.
    pub injected: Vec<Injected>,
    /// Kinds that this machine cannot inject, and why.
    pub not_run: Vec<NotRun>,
    /// What the cluster or its processes did that they must not, beyond what clients see: each is a violation.
    pub findings: Vec<String>,
    /// What the run did not get done: each makes it prove nothing.
    pub failures: Vec<String>,
    /// What clients saw.
    pub history: History,
    /// What that is judged to be.
    pub judgement: Judgement,
}

impl Report {
    /// What comes of it: a violation counts in a run that proves nothing, too.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self.judgement.finding() {
            _ if !self.findings.is_empty() => Finding::Violated,
            Finding::Violated => Finding::Violated,
            _ if !self.failures.is_empty() => Finding::Invalid,
            other => other,
        }
    }

    /// 0 if all holds, 1 if something was violated, 2 if the run proves nothing.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.finding() {
            Finding::Holds => ExitCode::SUCCESS,
            Finding::Violated => ExitCode::from(1),
            Finding::Invalid => ExitCode::from(2),
        }
    }
}

/// From `since` to the moment at which every user who writes has had a write acknowledged that was begun after it; `None` if somebody
/// never had.
#[must_use]
pub fn all_written_after(history: &History, since: Micros) -> Option<Micros> {
    let mut first: BTreeMap<&str, Option<Micros>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.kind == OpKind::SetStatus) {
        let first = first.entry(&op.user).or_default();
        if op.start >= since && op.outcome == Outcome::Ok && first.is_none() {
            *first = Some(op.end - since);
        }
    }
    first.into_values().collect::<Option<Vec<Micros>>>()?.into_iter().max()
}

fn seconds(micros: Option<Option<Micros>>) -> String {
    micros.map_or_else(String::new, |worst| {
        worst.map_or_else(|| "never".into(), |us| format!("{}.{:02} s", us / 1_000_000, us / 10_000 % 100))
    })
}

/// The worst of several, where none that never came is worse than any.
fn worst(all: impl Iterator<Item = Option<Micros>>) -> Option<Option<Micros>> {
    all.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = &self.history;
        writeln!(f, "{:<16} {:>5}  {:>17} {:>17}  what", "fault", "times", "worst, from begin", "worst, from end")?;
        for kind in Kind::all() {
            let times: Vec<&Injected> = self.injected.iter().filter(|i| i.kind == kind).collect();
            if !times.is_empty() {
                let begun = worst(times.iter().map(|i| all_written_after(history, i.start)));
                let ended = worst(times.iter().map(|i| all_written_after(history, i.end)));
                let (begun, ended) = (seconds(begun), seconds(ended));
                writeln!(f, "{kind:<16} {:>5}  {begun:>17} {ended:>17}  {}", times.len(), kind.what())?;
            }
        }
        for (kind, why) in &self.not_run {
            writeln!(f, "{kind:<16} not run: {why}")?;
        }
        let of = |outcome| history.ops.iter().filter(|op| op.outcome == outcome).count();
        let (ok, fail, unknown) = (of(Outcome::Ok), of(Outcome::Fail), of(Outcome::Unknown));
        let (frames, connections) = (history.sightings.len(), history.links.iter().filter(|link| link.up).count());
        writeln!(f, "\n{} operations: {ok} acknowledged, {fail} refused, {unknown} unknown", history.ops.len())?;
        writeln!(f, "{frames} presences shown over {connections} connections of watchers\n")?;
        write!(f, "{}", self.judgement)?;
        self.findings.iter().try_for_each(|what| writeln!(f, "\nviolated: {what}"))?;
        self.failures.iter().try_for_each(|what| writeln!(f, "\ninvalid: {what}"))?;
        writeln!(f, "\nin all: {:?}", self.finding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{judge, planted::holding};

    fn report() -> Report {
        let history = holding();
        let judgement = judge(&history);
        Report { injected: vec![], not_run: vec![], findings: vec![], failures: vec![], history, judgement }
    }

    #[test]
    fn a_node_that_died_by_itself_is_a_violation_whatever_clients_saw() {
        let mut report = report();
        assert_eq!(report.finding(), Finding::Holds);
        report.failures.push("not injected".into());
        assert_eq!(report.finding(), Finding::Invalid);
        report.findings.push("n2 ended by itself".into());
        assert_eq!(report.finding(), Finding::Violated);
    }

    #[test]
    fn a_fault_that_was_not_run_is_never_shown_as_one_that_was() {
        let mut report = report();
        report.not_run.push((Kind::Loss, "needs root".into()));
        let printed = report.to_string();
        let line = printed.lines().find(|line| line.starts_with("loss")).expect("a line");
        assert!(line.contains("not run: needs root"), "{line}");
    }

    #[test]
    fn recovery_is_of_the_last_user_and_never_if_one_has_none() {
        let history = holding();
        let last = history.ops.iter().map(|op| op.end).max().expect("ops");
        assert_eq!(all_written_after(&history, last + 1), None);
        let first = history.ops.iter().filter(|op| op.kind == OpKind::SetStatus).map(|op| op.start).min();
        assert!(all_written_after(&history, first.expect("a write")).is_some());
    }
}
