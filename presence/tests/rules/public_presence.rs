//! The public presence is a pure function of live sessions, setting and privacy; its version rises exactly when its bytes
//! change.

use crate::{
    deed::any_history,
    world::{Done, POLICY, World},
};
use proptest::prelude::*;
use rollcall_presence::{
    Activity, Audience, EndCause, Intent, ManualStatus, PublicPresence, Refusal, Status, UnixMs, UserRecord, codec,
};
use std::collections::{BTreeMap, BTreeSet};

/// The contract's table of statuses, told once more.
fn status_of(record: &UserRecord) -> Status {
    let alive = !record.sessions.is_empty();
    let active = record.sessions.iter().any(|s| s.activity == Activity::Active);
    match record.setting.status {
        _ if !alive => Status::Offline,
        ManualStatus::Invisible => Status::Offline,
        ManualStatus::Away => Status::Away,
        ManualStatus::Dnd => Status::Dnd,
        ManualStatus::Online => [Status::Away, Status::Online][usize::from(active)],
    }
}

/// When the status began and when life was last shown, followed beside the rules.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Times {
    since: Option<UnixMs>,
    last_seen: Option<UnixMs>,
}

impl Times {
    fn follow(&mut self, done: &Done) {
        if done.outcome.deleted {
            *self = Self::default();
            return;
        }
        let (was, is, now) = (done.before.known(), done.after.known(), done.outcome.at);
        let mut evidence = Vec::new();
        let report = match &done.command.intent {
            Intent::EndSession { cause, heard_at, .. } => Some((*cause, *heard_at)),
            Intent::EndHeld { heard_at, .. } => Some((EndCause::Expired, *heard_at)),
            _ => None,
        };
        if let Some((cause, heard_at)) = report
            && let Some(ended) = was.sessions.iter().find(|s| is.session(&s.id).is_none())
            && was.setting.status != ManualStatus::Invisible
        {
            evidence.push(if cause == EndCause::Closed { now } else { now.min(ended.heard_at.max(heard_at)) });
        }
        let (before, after) = (status_of(&was), status_of(&is));
        if before != after {
            self.since = Some(now);
            if before == Status::Offline || is.setting.status == ManualStatus::Invisible {
                evidence.push(now);
            }
        }
        self.last_seen = evidence.into_iter().map(Some).chain([self.last_seen]).max().flatten();
    }
}

fn expected(done: &Done, times: Times) -> PublicPresence {
    let record = done.after.known();
    let status = status_of(&record);
    let offline = status == Status::Offline;
    let hides = |audience| audience == Audience::Nobody;
    let devices: BTreeSet<_> = record.sessions.iter().map(|s| s.device.clone()).collect();
    let mut presence = PublicPresence::never_seen(done.command.user.clone());
    presence.status = status;
    presence.version = record.shown.version;
    presence.since = times.since.filter(|_| !(offline && hides(record.privacy.last_seen)));
    presence.last_seen = times.last_seen.filter(|_| offline && !hides(record.privacy.last_seen));
    if !offline {
        presence.text = record.setting.text.clone();
        presence.meta = record.setting.meta.clone();
        presence.devices = devices.into_iter().filter(|_| !hides(record.privacy.devices)).collect();
    }
    presence
}

fn bytes_without_version(mut presence: PublicPresence) -> Vec<u8> {
    presence.version = 0;
    codec::encode(&presence)
}

proptest! {
    #[test]
    fn it_is_a_pure_function_of_sessions_setting_and_privacy(history in any_history()) {
        let mut world = World::new();
        let mut times = [Times::default(); 3];
        for deed in &history {
            let done = world.act(deed);
            times[done.user].follow(&done);
            prop_assert_eq!(done.shown_after(), expected(&done, times[done.user]), "after {:?}", done.command);
        }
    }

    #[test]
    fn its_version_rises_exactly_when_its_bytes_change_and_is_never_reused(history in any_history()) {
        let mut world = World::new();
        let mut given = BTreeSet::new();
        for deed in &history {
            let done = world.act(deed);
            let (before, after) = (done.shown_before(), done.shown_after());
            let same = bytes_without_version(before.clone()) == bytes_without_version(after.clone());
            if done.outcome.deleted {
                let told = done.outcome.presence.clone().map(|p| p.version);
                prop_assert_eq!(told, (before.version > 0).then_some(0));
            } else if same {
                prop_assert_eq!(after.version, before.version);
                prop_assert_eq!(&done.outcome.presence, &None);
            } else {
                prop_assert!(after.version > before.version);
                prop_assert!(given.insert(after.version), "version {} was given before", after.version);
                prop_assert_eq!(after.version, done.outcome.revision);
                prop_assert_eq!(done.outcome.presence.as_ref(), Some(&after));
            }
        }
    }

    #[test]
    fn last_seen_never_moves_back(history in any_history()) {
        let mut world = World::new();
        let mut latest: BTreeMap<usize, UnixMs> = BTreeMap::new();
        for deed in &history {
            let done = world.act(deed);
            if done.outcome.deleted {
                latest.remove(&done.user);
            }
            if let Some(shown) = done.shown_after().last_seen {
                prop_assert!(Some(&shown) >= latest.get(&done.user));
                prop_assert!(shown <= done.outcome.at, "nobody was seen in the future");
                latest.insert(done.user, shown);
            }
        }
    }

    #[test]
    fn a_refusal_touches_nothing(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let revision = world.ledger.revision;
            let done = world.act(deed);
            if done.outcome.answer.is_ok() {
                continue;
            }
            prop_assert_eq!(&done.after.record, &done.before.record);
            prop_assert_eq!(&done.after.lists, &done.before.lists);
            prop_assert!(done.outcome.rows.is_empty() && done.outcome.presence.is_none() && done.outcome.ended.is_empty());
            prop_assert_eq!(done.outcome.revision, revision + u64::from(done.outcome.keys_changed));
        }
    }

    #[test]
    fn no_more_sessions_live_than_the_capacity_allows(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let (was, is) = (done.before.known().sessions.len(), done.after.known().sessions.len());
            prop_assert!(is <= POLICY.sessions_max as usize);
            if let (Intent::OpenSession { session, .. }, None) = (&done.command.intent, &done.command.key) {
                let full = was == POLICY.sessions_max as usize && done.before.known().session(session).is_none();
                let refused = matches!(done.outcome.answer, Err(Refusal::LimitExceeded { max: 3, .. }));
                prop_assert_eq!(refused, full);
            }
        }
    }
}
