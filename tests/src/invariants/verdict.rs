//! What a checker says: how much it judged, what it could not judge, and every case in which a promise was broken.

/// Most cases that are written out; more are counted.
const TOLD_MAX: usize = 50;

/// A case in which a promise was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// What a checker says. A promise of which nothing was judged was not kept, only not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// Cases that were judged.
    pub judged: usize,
    /// Cases that could not be judged from what was recorded.
    pub unjudged: usize,
    /// Cases in which it was broken.
    pub broken: usize,
    /// The first of these.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Nothing judged yet.
    #[must_use]
    pub fn of(promise: &'static str) -> Self {
        Self { promise, judged: 0, unjudged: 0, broken: 0, violations: Vec::new() }
    }

    /// Judges a case: `broken` says how it breaks the promise, if it does.
    pub fn judge(&mut self, broken: Option<String>) {
        self.judged += 1;
        if let Some(how) = broken {
            self.broken += 1;
            if self.violations.len() < TOLD_MAX {
                self.violations.push(Violation(how));
            }
        }
    }

    /// Whether it was never broken.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken == 0
    }
}
