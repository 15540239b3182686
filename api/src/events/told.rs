//! What each event stream has told its client, so that one that comes back with `Last-Event-ID` gets only what is newer.
//!
//! Kept in memory on this node, for a while and within bounds: an id that is not found here gives a full snapshot.

use crate::wire::EncodedPresence;
use parking_lot::Mutex;
use rollcall_presence::{UserId, Viewer};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long an ended stream is remembered: clients of a node that restarts come back sooner.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Users remembered of all ended streams together: some 16 MiB.
const USERS_MAX: usize = 250_000;
/// Users of one stream of whom it is still known that they are gone.
const GONE_MAX: usize = 10_000;

/// A stream and an event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) stream: u64,
    pub(super) seq: u64,
}

impl EventId {
    /// The id that a client sent, if it is written as ours are.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stream, seq) = text.split_once('-')?;
        let id = Self { stream: u64::from_str_radix(stream, 16).ok()?, seq: seq.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.stream, self.seq)
    }
}

/// What was told of one user last.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// The version, or `None` when the user is no longer watched.
    version: Option<u64>,
    seq: u64,
}

/// What one stream has told.
#[derive(Debug)]
pub(super) struct Told {
    viewer: Viewer,
    users: BTreeMap<UserId, Last>,
    gone: usize,
    /// The number of the last event.
    seq: u64,
}

impl Told {
    /// An event of this number is sent.
    pub(super) fn event(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    pub(super) fn presences(&mut self, seq: u64, presences: &[Arc<EncodedPresence>]) {
        self.event(seq);
        for presence in presences {
            let last = Last { version: Some(presence.version), seq };
            self.users.insert(presence.user.clone(), last);
        }
    }

    pub(super) fn unwatched(&mut self, seq: u64, users: &[UserId]) {
        self.event(seq);
        for user in users {
            self.users.insert(user.clone(), Last { version: None, seq });
            self.gone += 1;
        }
        if self.gone > GONE_MAX {
            // A client that missed all of this learns it from its next full snapshot at the latest.
            self.users.retain(|_, last| last.version.is_some());
            self.gone = 0;
        }
    }
}

/// What a client knows that comes back: a version, or nothing for sure.
#[derive(Debug, Default, Clone)]
pub(super) struct Known(BTreeMap<UserId, Option<u64>>);

impl Known {
    /// The version known of `user` for sure.
    pub(super) fn version(&self, user: &UserId) -> Option<u64> {
        self.0.get(user).copied().flatten()
    }

    /// Whether `presence` is news to the client: newer, or never seen where more was known.
    pub(super) fn lacks(&self, presence: &EncodedPresence) -> bool {
        self.version(&presence.user).is_none_or(|known| presence.version > known || presence.version == 0 && known > 0)
    }

    /// The users that the client may hold and that are not in `watched`.
    pub(super) fn no_longer(&self, watched: &[Arc<EncodedPresence>]) -> Vec<UserId> {
        let watched: std::collections::BTreeSet<&UserId> = watched.iter().map(|p| &p.user).collect();
        self.0.keys().filter(|user| !watched.contains(user)).cloned().collect()
    }
}

#[derive(Debug, Default)]
struct Inner {
    streams: HashMap<u64, Arc<Mutex<Told>>>,
    /// Ended streams with the number of their users, oldest first.
    ended: VecDeque<(Instant, u64, usize)>,
    users: usize,
}

/// All streams of this node, and those that ended a short while ago.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<Inner>>);

impl Streams {
    /// What a client knows that has read up to `last`; nothing if the id does not fit.
    pub(super) fn known(&self, viewer: &Viewer, last: EventId) -> Known {
        let Some(told) = self.0.lock().streams.get(&last.stream).cloned() else { return Known::default() };
        let told = told.lock();
        if told.viewer != *viewer || last.seq > told.seq {
            return Known::default();
        }
        let read = |(user, at): (&UserId, &Last)| match at.version {
            None if at.seq <= last.seq => None, // read that it is gone
            version => Some((user.clone(), version.filter(|_| at.seq <= last.seq))),
        };
        Known(told.users.iter().filter_map(read).collect())
    }

    /// Begins to remember a stream of a client that knows something already.
    pub(super) fn begin(&self, stream: u64, viewer: Viewer, known: Known) -> Arc<Mutex<Told>> {
        let before = |(user, version): (UserId, Option<u64>)| version.map(|_| (user, Last { version, seq: 0 }));
        let users = known.0.into_iter().filter_map(before).collect();
        let told = Arc::new(Mutex::new(Told { viewer, users, gone: 0, seq: 0 }));
        self.0.lock().streams.insert(stream, told.clone());
        told
    }

    /// The stream has ended; it is remembered for a while.
    pub(super) fn end(&self, stream: u64) {
        let mut inner = self.0.lock();
        // A stream that told nothing takes room, too.
        let Some(users) = inner.streams.get(&stream).map(|told| told.lock().users.len() + 1) else { return };
        inner.users += users;
        inner.ended.push_back((Instant::now(), stream, users));
        while let Some((at, oldest, users)) = inner.ended.front().copied()
            && (at.elapsed() > REMEMBERED || inner.users > USERS_MAX)
        {
            inner.ended.pop_front();
            inner.streams.remove(&oldest);
            inner.users -= users;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn presence(name: &str, version: u64) -> Arc<EncodedPresence> {
        Arc::new(EncodedPresence { user: user(name), version, stale: false, json: "{}".into() })
    }

    fn viewer(name: &str) -> Viewer {
        Viewer { user: user(name), service: false }
    }

    #[test]
    fn what_was_sent_but_not_read_is_not_known() {
        let streams = Streams::default();
        let told = streams.begin(7, viewer("alice"), Known::default());
        told.lock().presences(1, &[presence("b", 5), presence("c", 6), presence("d", 7)]);
        told.lock().presences(2, &[presence("c", 8)]);
        told.lock().unwatched(3, &[user("d")]);
        streams.end(7);
        let known = streams.known(&viewer("alice"), EventId { stream: 7, seq: 1 });
        assert!(!known.lacks(&presence("b", 5)));
        assert!(known.lacks(&presence("b", 6)) && known.lacks(&presence("b", 0)));
        assert!(known.lacks(&presence("c", 8)), "sent, but not read");
        assert_eq!(known.no_longer(&[presence("b", 5), presence("c", 8)]), [user("d")]);
        let later = streams.known(&viewer("alice"), EventId { stream: 7, seq: 3 });
        assert_eq!(later.no_longer(&[presence("b", 5), presence("c", 8)]), []);
    }

    #[test]
    fn a_foreign_or_unknown_id_knows_nothing() {
        let streams = Streams::default();
        streams.begin(7, viewer("alice"), Known::default()).lock().presences(1, &[presence("b", 5)]);
        for (who, stream) in [("bob", 7), ("alice", 8)] {
            assert!(streams.known(&viewer(who), EventId { stream, seq: 1 }).lacks(&presence("b", 5)));
        }
        for bad in ["", "x", "7", "zz-1", "7-x", "7-1-1"] {
            assert_eq!(EventId::parse(bad), None, "{bad}");
        }
        let id = EventId { stream: 255, seq: 3 };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }

    #[tokio::test(start_paused = true)]
    async fn ended_streams_that_told_nothing_are_bounded_too() {
        let streams = Streams::default();
        for n in 0..USERS_MAX as u64 + 100 {
            streams.begin(n, viewer("alice"), Known::default());
            streams.end(n);
        }
        assert_eq!(streams.0.lock().streams.len(), USERS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn ended_streams_are_forgotten_in_time_and_number() {
        let streams = Streams::default();
        for n in 0..4 {
            let many: Vec<_> = (0..100_000).map(|u| presence(&u.to_string(), 1)).collect();
            streams.begin(n, viewer("alice"), Known::default()).lock().presences(1, &many);
            streams.end(n);
        }
        assert_eq!(streams.0.lock().streams.len(), 2);
        tokio::time::advance(REMEMBERED * 2).await;
        streams.begin(9, viewer("alice"), Known::default());
        streams.end(9);
        assert_eq!(streams.0.lock().streams.len(), 1);
    }
}
