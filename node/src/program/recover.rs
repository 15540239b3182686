//! `rollcall recover`: a cluster whose quorum is lost for good is forced back to work from what one node has left.
//!
//! Owns the questions and the words. Relies on a [`Recovery`] to look and to do. Promises that nothing is touched before the
//! operator has seen what may be lost and has typed the node's name, and that a wrong word, an end of input and a pipe without
//! `--yes` all leave everything as it was.

use super::Failure;
use clap::Args;
use rollcall_cluster::{
    StartError,
    recover::{self, Kept, PartitionRemains, Remains},
};
use rollcall_presence::NodeName;
use std::{
    io::{BufRead, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

/// Partitions named one by one; more are counted. A terminal has so many lines.
const NAMED_MAX: usize = 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Only for a cluster that cannot come back by itself: most of its nodes are lost for good, with their \
    disks. Stop this node first. It is shown what is left and what may be lost, and asked; nothing is touched before."
)]
pub(crate) struct RecoverOptions {
    /// The data directory of the node that is left
    #[arg(long, value_name = "DIR", default_value = "rollcall-data")]
    pub(crate) data_dir: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The one that looks and does.
pub(crate) trait Recovery {
    /// Why it could not.
    type Error: std::fmt::Display;

    /// Reads what is left, and changes nothing.
    fn inspect(&self, data_dir: &Path) -> Result<Remains, Self::Error>;

    /// Makes this node the only one of the cluster, with what is left.
    fn force(&self, data_dir: &Path) -> Result<(), Self::Error>;
}

/// The cluster crate, on a runtime of its own.
pub(crate) struct Library(tokio::runtime::Runtime);

impl Library {
    /// Ready to look.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn new() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map(Self)
    }
}

impl Recovery for Library {
    type Error = StartError;

    fn inspect(&self, data_dir: &Path) -> Result<Remains, StartError> {
        self.0.block_on(recover::inspect(data_dir))
    }

    fn force(&self, data_dir: &Path) -> Result<(), StartError> {
        self.0.block_on(recover::force(data_dir)).map(drop)
    }
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// Nothing was touched.
    #[error("{0}")]
    Inspect(String),
    /// Nothing was touched.
    #[error("{typed:?} is not {node:?}: nothing was touched")]
    Declined { typed: String, node: String },
    /// Nothing was touched.
    #[error("nobody is there to ask: run it on a terminal, or give --yes; nothing was touched")]
    Nobody,
    /// Nothing was touched.
    #[error("standard input: {0}; nothing was touched")]
    Input(std::io::Error),
    /// It can be done again: each step is idempotent.
    #[error("{0}; run the command again")]
    Force(String),
}

/// Shows, asks and recovers.
pub(crate) fn run(options: &RecoverOptions, recovery: &impl Recovery) -> Result<(), Failure> {
    let mut input = std::io::stdin().lock();
    let asked = options.yes || std::io::stdin().is_terminal();
    talk(options, recovery, asked.then_some(&mut input), &mut anstream::stdout())
}

/// As [`run`], with somebody or nobody at the other end.
fn talk<R: Recovery>(
    options: &RecoverOptions,
    recovery: &R,
    input: Option<&mut impl BufRead>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let data_dir = &options.data_dir;
    let remains = recovery.inspect(data_dir).map_err(|e| RecoverError::Inspect(e.to_string()))?;
    write!(out, "{}", account(&remains)).map_err(Failure::output)?;
    if !options.yes {
        let input = input.ok_or(RecoverError::Nobody)?;
        write!(out, "\nType the node's name to go on: ").and_then(|()| out.flush()).map_err(Failure::output)?;
        let mut typed = String::new();
        input.read_line(&mut typed).map_err(RecoverError::Input)?;
        let typed = typed.trim().to_owned();
        if typed != remains.node.as_str() {
            return Err(RecoverError::Declined { typed, node: remains.node.to_string() }.into());
        }
    }
    recovery.force(data_dir).map_err(|e| RecoverError::Force(e.to_string()))?;
    write!(out, "{}", next(&remains, data_dir)).map_err(Failure::output)
}

/// What is left and what may be lost, in words.
fn account(remains: &Remains) -> String {
    let Remains { cluster_id, node, others, users, partitions } = remains;
    let others: Vec<&str> = others.iter().map(NodeName::as_str).collect();
    let gone = if others.is_empty() { "nobody".into() } else { others.join(", ") };
    let mut text = format!(
        "This is node {node} of cluster {cluster_id}.\n\
         {node} becomes the only node; given up for good: {gone}. None of them may ever be started again with what it has.\n\n"
    );
    let of = |wanted: fn(&Kept) -> bool| partitions.iter().filter(|p| wanted(&p.kept)).collect::<Vec<_>>();
    let whole = of(|k| matches!(k, Kept::Upto(_)));
    let partly = of(|k| matches!(k, Kept::Partly(_)));
    let nothing = of(|k| matches!(k, Kept::Nothing));
    text.push_str(&format!(
        "What is left: {users} users in {} of {} partitions.\n",
        whole.len() + partly.len(),
        partitions.len()
    ));
    text.push_str("What may be lost:\n");
    if !whole.is_empty() {
        text.push_str(&format!(
            "  in {} partitions, writes that the other nodes acknowledged and this one had not heard of yet\n",
            whole.len()
        ));
    }
    if !partly.is_empty() {
        text.push_str(&format!(
            "  users and writes in partitions that were still being copied here: {}\n",
            named(&partly)
        ));
    }
    if !nothing.is_empty() {
        text.push_str(&format!("  everything of partitions that were not kept here: {}\n", named(&nothing)));
    }
    text
}

/// `0, 4, 7 and 12 more`.
fn named(partitions: &[&PartitionRemains]) -> String {
    let ids: Vec<String> = partitions.iter().take(NAMED_MAX).map(|p| p.id.to_string()).collect();
    match partitions.len().saturating_sub(NAMED_MAX) {
        0 => ids.join(", "),
        more => format!("{} and {more} more", ids.join(", ")),
    }
}

fn next(remains: &Remains, data_dir: &Path) -> String {
    format!(
        "Done. Start the node as before: it serves alone. Then start others with empty data directories and --join; they \
         get everything from it.\nKeep a copy of {} until you are sure.\n",
        data_dir.display(),
    ) + if remains.others.is_empty() { "" } else { "Remove the data directories of the nodes that were given up.\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::PartitionId;
    use std::cell::Cell;

    struct Plain {
        forced: Cell<bool>,
        remains: Result<Remains, &'static str>,
    }

    impl Recovery for Plain {
        type Error = &'static str;

        fn inspect(&self, _: &Path) -> Result<Remains, &'static str> {
            self.remains.clone()
        }

        fn force(&self, _: &Path) -> Result<(), &'static str> {
            self.forced.set(true);
            Ok(())
        }
    }

    fn plain() -> Plain {
        let kept = [Kept::Upto(12), Kept::Partly(3), Kept::Nothing];
        let partitions = (0..).map(PartitionId).zip(kept).map(|(id, kept)| PartitionRemains { id, kept }).collect();
        let name = |name| NodeName::new(name).unwrap();
        let others = vec![name("n1"), name("n2")];
        let remains = Remains { cluster_id: "c".into(), node: name("n3"), others, users: 7, partitions };
        Plain { forced: Cell::new(false), remains: Ok(remains) }
    }

    /// What was printed, what came of it, and whether anything was touched.
    fn told(yes: bool, typed: Option<&str>, recovery: &Plain) -> (String, Option<String>, bool) {
        let mut out = Vec::new();
        let mut input = typed.map(str::as_bytes);
        let outcome = talk(&RecoverOptions { data_dir: "d".into(), yes }, recovery, input.as_mut(), &mut out);
        let failure = outcome.err().map(|f| f.message.unwrap_or_default());
        (String::from_utf8(out).unwrap(), failure, recovery.forced.get())
    }

    #[test]
    fn what_may_be_lost_is_named_before_the_question() {
        let (text, failure, forced) = told(false, Some("n3\n"), &plain());
        let question = text.find("Type the node's name").unwrap();
        for part in
            ["node n3 of cluster c", "n1, n2", "7 users in 2 of 3", "still being copied here: 1", "not kept here: 2"]
        {
            assert!(text.find(part).is_some_and(|at| at < question), "{part} in {text}");
        }
        assert_eq!((failure, forced), (None, true));
        assert!(text.contains("Done."), "{text}");
    }

    #[test]
    fn any_other_word_and_an_end_of_input_touch_nothing() {
        for typed in ["yes\n", "n1\n", "\n", ""] {
            let (_, failure, forced) = told(false, Some(typed), &plain());
            assert!(failure.is_some_and(|f| f.contains("nothing was touched")) && !forced, "{typed:?}");
        }
    }

    #[test]
    fn a_pipe_is_not_asked_and_yes_asks_nobody() {
        let (_, failure, forced) = told(false, None, &plain());
        assert!(failure.is_some_and(|f| f.contains("--yes")) && !forced);
        let (text, failure, forced) = told(true, None, &plain());
        assert!(failure.is_none() && forced && !text.contains("Type the node's name"), "{text}");
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_left_alone() {
        let recovery = Plain { remains: Err("d is used by another process"), ..plain() };
        let (_, failure, forced) = told(true, None, &recovery);
        assert!(failure.is_some_and(|f| f.contains("another process")) && !forced);
    }

    #[test]
    fn many_partitions_are_counted() {
        let partitions: Vec<PartitionRemains> =
            (0..25).map(PartitionId).map(|id| PartitionRemains { id, kept: Kept::Nothing }).collect();
        assert!(named(&partitions.iter().collect::<Vec<_>>()).ends_with("18, 19 and 5 more"));
    }
}
