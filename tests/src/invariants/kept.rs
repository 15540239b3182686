//! Entries of a user's history, found by what was written.

use crate::history::Pages;
use std::collections::BTreeMap;

/// The versions of the entries in which each text was set, oldest first.
pub(super) fn by_serial(pages: &Pages) -> BTreeMap<&str, Vec<u64>> {
    let mut versions: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry in pages.entries.iter().filter(|e| e.reason == "status_set") {
        if let Some(text) = &entry.text {
            versions.entry(text).or_default().push(entry.version);
        }
    }
    versions
}

/// How many entries of each version were set without a text, as is kept of users who are offline.
pub(super) fn unnamed(pages: &Pages) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for entry in pages.entries.iter().filter(|e| e.reason == "status_set" && e.text.is_none()) {
        *counts.entry(entry.version).or_default() += 1;
    }
    counts
}

/// Takes one of a version, if there is one.
pub(super) fn take(unnamed: &mut BTreeMap<u64, usize>, version: u64) -> bool {
    match unnamed.get_mut(&version) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
