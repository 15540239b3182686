//! What one watcher was shown of one subject, with the watcher's connections.

use crate::history::{Connection, History, Micros, Sighting};
use std::{collections::BTreeMap, rc::Rc};

/// One watcher and one subject.
pub(super) struct Watch<'a> {
    pub(super) watcher: &'a str,
    /// Whose eyes; empty if no connection was written down.
    pub(super) viewer: &'a str,
    pub(super) subject: &'a str,
    /// By time.
    pub(super) shown: Vec<&'a Sighting>,
    connections: Rc<[Connection<'a>]>,
}

impl<'a> Watch<'a> {
    /// The last that was shown by `at`.
    pub(super) fn held_at(&self, at: Micros) -> Option<&'a Sighting> {
        let count = self.shown.partition_point(|sighting| sighting.at <= at);
        count.checked_sub(1).map(|last| self.shown[last])
    }

    /// What was shown after `from` and by `to`.
    pub(super) fn shown_within(&self, from: Micros, to: Micros) -> &[&'a Sighting] {
        let first = self.shown.partition_point(|sighting| sighting.at <= from);
        let end = self.shown.partition_point(|sighting| sighting.at <= to);
        &self.shown[first..end.max(first)]
    }

    /// The connection that was there at `at`.
    pub(super) fn connection_at(&self, at: Micros) -> Option<&Connection<'a>> {
        self.connections.iter().find(|c| c.link.at <= at && at < c.until)
    }

    /// Whether one connection was there from `from` to `to`.
    pub(super) fn is_connected(&self, from: Micros, to: Micros) -> bool {
        self.connection_at(from).is_some_and(|c| c.until > to)
    }
}

/// Every watch of a history.
pub(super) fn all(history: &History) -> Vec<Watch<'_>> {
    let connections = history.connections().into_iter();
    let connections: BTreeMap<&str, Rc<[Connection<'_>]>> =
        connections.map(|(watcher, all)| (watcher, all.into())).collect();
    let mut watches = Vec::new();
    for ((watcher, subject), shown) in history.sightings_by_watch() {
        let connections = connections.get(watcher).cloned().unwrap_or_default();
        let viewer = connections.first().map_or("", |c| c.link.viewer.as_str());
        watches.push(Watch { watcher, viewer, subject, shown, connections });
    }
    watches
}
