//! What a child process prints, line by line, with waiting for a line.
//!
//! Standard output and standard error are kept apart and never block the child: a thread reads each to its end.

use crate::wait::DEADLINE;
use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

#[derive(Debug, Default)]
struct Lines {
    out: Vec<String>,
    err: Vec<String>,
    open: usize,
}

/// A child's output so far. Cloned handles see the same.
#[derive(Debug, Clone, Default)]
pub struct Output {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

impl Output {
    /// Starts to read both streams.
    pub(crate) fn follow(out: impl Read + Send + 'static, err: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        output.lock().open = 2;
        output.read(out, |lines, line| lines.out.push(line));
        output.read(err, |lines, line| lines.err.push(line));
        output
    }

    fn read(&self, from: impl Read + Send + 'static, put: fn(&mut Lines, String)) {
        let output = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut raw = Vec::new();
            while matches!(from.read_until(b'\n', &mut raw), Ok(n) if n > 0) {
                let line = String::from_utf8_lossy(&raw).trim_end_matches(['\n', '\r']).to_owned();
                raw.clear();
                put(&mut output.lock(), line);
                output.shared.1.notify_all();
            }
            output.lock().open -= 1;
            output.shared.1.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `wanted` finds something in the lines of standard output, or until the child has closed both streams.
    /// `None` then, and after the deadline.
    pub fn find<T>(&self, wanted: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let until = Instant::now() + DEADLINE;
        let mut lines = self.lock();
        loop {
            if let Some(found) = wanted(&lines.out) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if lines.open == 0 || left.is_zero() {
                return None;
            }
            lines = self.shared.1.wait_timeout(lines, left).map_or_else(|e| e.into_inner().0, |woken| woken.0);
        }
    }

    /// Waits for a line of standard output for which `wanted` holds.
    ///
    /// # Panics
    /// When none comes: with everything that did.
    pub fn line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.find(|lines| lines.iter().find(|l| wanted(l)).cloned())
            .unwrap_or_else(|| panic!("no line with {what}; printed was:\n{self}"))
    }

    /// Waits until both streams are closed, which the child's end does; false after the deadline.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.find(|_| None::<()>);
        self.is_closed()
    }

    /// Whether the child has closed both streams.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().open == 0
    }

    /// The lines of standard output so far.
    #[must_use]
    pub fn out(&self) -> Vec<String> {
        self.lock().out.clone()
    }

    /// Standard error so far.
    #[must_use]
    pub fn err(&self) -> String {
        self.lock().err.join("\n")
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.lock();
        write!(f, "{}\n{}", lines.out.join("\n"), lines.err.join("\n"))
    }
}
