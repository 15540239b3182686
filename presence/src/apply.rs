//! The state machine's step: the only place where the public presence, its version and history entries are computed.
//!
//! Relies on nothing but its arguments; promises that the same arguments give the same outcome on every replica, that a
//! refused command touches nothing, and that the version rises exactly when the public presence's bytes change.

mod lists;
mod noting;
mod restoring;

use crate::{
    UnixMs,
    command::{Command, EndCause, Intent, ListKind, Policy},
    id::{SessionId, UserId},
    idempotency::{KeyTable, Known},
    ledger::Ledger,
    limits::HISTORY_DROP_MAX,
    outcome::{Answer, Capacity, Outcome, Refusal, Row},
    public::{self, PublicPresence, Status},
    record::{ManualStatus, Session, SessionKind, Setting, UserRecord},
    restored::{RestoreMark, Restored},
};
use alloc::vec::Vec;

/// What is known of a user's lists, history and restore, as they stand before the command.
pub trait Relations {
    /// Since when `other` is on the user's `list`.
    fn added_at(&self, list: ListKind, other: &UserId) -> Option<UnixMs>;

    /// When the history entry with this sequence was made, if it is kept.
    fn history_at(&self, seq: u64) -> Option<UnixMs>;

    /// All who are on the user's `list`.
    fn listed(&self, list: ListKind) -> Vec<UserId>;

    /// How far a restore of the user has come, if one is under way.
    fn restoring(&self) -> Option<RestoreMark>;

    /// A part of it that came.
    fn part(&self, part: u32) -> Option<Restored>;
}

/// Applies `command`, committed in an entry of `term`, to its user.
///
/// `record` is `None` for a user of whom nothing is stored; `keys` must hold the user's remembered keys when the command
/// has one, or is to drop them. Both, and `ledger`, are changed in place when the outcome says so.
pub fn apply(
    ledger: &mut Ledger,
    term: u64,
    policy: &Policy,
    record: &mut Option<UserRecord>,
    keys: &mut KeyTable,
    relations: &impl Relations,
    command: &Command,
) -> Outcome {
    if command.term != term {
        return refused(ledger, command, Refusal::Fenced { made: command.term, applied: term });
    }
    let now = ledger.advance(command.at);
    if let Some(key) = &command.key {
        match keys.look_up(key, now) {
            Known::New => {}
            Known::Repeated(answer) => return Outcome { answer: *answer, ..nothing(ledger, command) },
            Known::Reused => return refused(ledger, command, Refusal::KeyReused),
        }
    }
    let before = record.clone();
    let mut step = Step {
        now,
        policy,
        relations,
        user: &command.user,
        is_known: record.is_some(),
        record: record.clone().unwrap_or_else(UserRecord::unknown),
        rows: Vec::new(),
        ended: Vec::new(),
        entered: None,
        returns: false,
        lift: None,
    };
    let answer = step.take(&command.intent);
    if let Some((version, latest)) = step.lift {
        ledger.lift(version, latest);
    }
    let mut outcome = if matches!(command.intent, Intent::DeleteUser) {
        *keys = KeyTable::default();
        *record = None;
        let is_stored = before.is_some() || relations.restoring().is_some();
        Outcome { deleted: is_stored, ..deleted(ledger, command, before.as_ref()) }
    } else {
        settle(step, ledger, command, before.as_ref(), record, answer)
    };
    if matches!(command.intent, Intent::DropExpired) {
        outcome.keys_changed = keys.drop_expired(now);
    }
    if let Some(key) = &command.key {
        // A deletion's own key outlives the user: repeated late, it must spare one who has returned.
        keys.remember(key, now, outcome.answer.clone());
        outcome.keys_changed = true;
    }
    if outcome.record_changed || outcome.keys_changed || outcome.deleted {
        ledger.revision += 1;
    }
    outcome.revision = ledger.revision;
    count(ledger, before.as_ref(), record.as_ref());
    outcome
}

fn nothing(ledger: &Ledger, command: &Command) -> Outcome {
    Outcome::unchanged(ledger, command, Ok(Answer::Done))
}

fn refused(ledger: &Ledger, command: &Command, why: Refusal) -> Outcome {
    Outcome::unchanged(ledger, command, Err(why))
}

fn deleted(ledger: &Ledger, command: &Command, before: Option<&UserRecord>) -> Outcome {
    let shown = before.is_some_and(|r| r.shown.version > 0);
    Outcome {
        presence: shown.then(|| PublicPresence::never_seen(command.user.clone())),
        ended: before.map(|r| r.sessions.iter().map(|s| s.id.clone()).collect()).unwrap_or_default(),
        ..nothing(ledger, command)
    }
}

/// Turns what a step did into an outcome: shown status, version, history.
fn settle(
    mut step: Step<'_, impl Relations>,
    ledger: &Ledger,
    command: &Command,
    before: Option<&UserRecord>,
    record: &mut Option<UserRecord>,
    answer: Result<Answer, Refusal>,
) -> Outcome {
    let unknown = UserRecord::unknown();
    let was = before.unwrap_or(&unknown);
    step.show();
    step.note(was, &command.intent);
    let shown_before = PublicPresence::of(&command.user, was);
    let mut presence = PublicPresence::of(&command.user, &step.record);
    let changed = step.returns || !presence.same_fields(&shown_before);
    if changed {
        step.record.shown.version = ledger.revision + 1;
        presence.version = ledger.revision + 1;
    }
    for row in &mut step.rows {
        if let Row::History(entry) = row
            && step.entered.is_some_and(|from| from <= entry.seq)
        {
            entry.version = presence.version;
        }
    }
    let answer = match answer {
        Ok(Answer::Status { setting, .. }) => Ok(Answer::Status { setting, presence: presence.clone() }),
        other => other,
    };
    let record_changed = step.record != *was || !step.rows.is_empty();
    // Parts of a restore alone make nobody known.
    if before.is_some() || step.record != *was {
        *record = Some(step.record);
    }
    Outcome {
        answer,
        presence: changed.then_some(presence),
        rows: step.rows,
        record_changed,
        ended: step.ended,
        ..nothing(ledger, command)
    }
}

/// Keeps the ledger's counts.
fn count(ledger: &mut Ledger, before: Option<&UserRecord>, after: Option<&UserRecord>) {
    let sessions = |r: Option<&UserRecord>| r.map_or(0, |r| r.sessions.len() as u64);
    let alive = |r: Option<&UserRecord>| sessions(r) > 0;
    ledger.users = ledger.users + u64::from(after.is_some()) - u64::from(before.is_some());
    ledger.online = ledger.online + u64::from(alive(after)) - u64::from(alive(before));
    ledger.sessions = ledger.sessions + sessions(after) - sessions(before);
}

/// One command's work on one user, before it is known whether it takes effect.
struct Step<'a, R> {
    now: UnixMs,
    policy: &'a Policy,
    relations: &'a R,
    user: &'a UserId,
    /// Whether anything was stored of the user before.
    is_known: bool,
    record: UserRecord,
    rows: Vec<Row>,
    ended: Vec<SessionId>,
    /// The sequence of the first history entry that this command made.
    entered: Option<u64>,
    /// Whether a user who had a version comes back without one: it gets a new one, however little is shown.
    returns: bool,
    /// The version and the time that were restored: the partition goes on above both.
    lift: Option<(u64, UnixMs)>,
}

impl<R: Relations> Step<'_, R> {
    /// Carries the intent out on the record. An `Err` has touched nothing.
    fn take(&mut self, intent: &Intent) -> Result<Answer, Refusal> {
        match intent {
            Intent::OpenSession { .. } => self.open(intent),
            Intent::AttachSession { session, resume_hash, held_by } => {
                let now = self.now;
                let session = self.live(session)?;
                if session.resume_hash != Some(*resume_hash) {
                    return Err(Refusal::UnknownSession);
                }
                session.attachment += 1;
                session.held_by = Some(held_by.clone());
                session.heard_at = now;
                Ok(Answer::Session(session.clone()))
            }
            Intent::SetActivity { session, activity } => {
                let now = self.now;
                let session = self.live(session)?;
                if session.activity != *activity {
                    session.activity = *activity;
                    session.heard_at = now;
                }
                Ok(Answer::Done)
            }
            Intent::EndSession { session, attachment, cause, heard_at } => {
                self.end(session, *attachment, *cause, *heard_at)
            }
            Intent::EndHeld { held_by, heard_at } => {
                let held = self.record.sessions.iter().find(|s| s.held_by.as_ref() == Some(held_by));
                match held.map(|s| s.id.clone()) {
                    Some(session) => self.end(&session, None, EndCause::Expired, *heard_at),
                    None => Ok(Answer::Done),
                }
            }
            Intent::PutStatus { status, text, meta, expires_in_s } => {
                let expires_at = expires_in_s.map(|s| self.now.saturating_add(s.saturating_mul(1_000)));
                self.set(Setting { status: *status, text: text.clone(), meta: meta.clone(), expires_at })
            }
            Intent::ClearStatus => self.set(Setting::automatic()),
            Intent::ExpireStatus { expires_at } if self.record.setting.expires_at == Some(*expires_at) => {
                self.set(Setting::automatic())
            }
            Intent::ExpireStatus { .. } | Intent::DeleteUser => Ok(Answer::Done),
            Intent::ChangeList(changes) => self.change_list(changes),
            Intent::PutPrivacy(privacy) => {
                self.record.privacy = *privacy;
                Ok(Answer::Privacy(*privacy))
            }
            Intent::PutProfile(profile) => {
                self.record.has_profile = true;
                self.rows.push(Row::Profile(Some(profile.clone())));
                Ok(Answer::Profile(profile.clone()))
            }
            Intent::DropExpired => {
                let kept = self.record.history_first..self.record.history_next;
                self.keep_from(self.first_kept(kept.start, kept.end, HISTORY_DROP_MAX));
                Ok(Answer::Done)
            }
            Intent::Restore(part) => self.restore(part),
            Intent::DeleteProfile => {
                if self.record.has_profile {
                    self.record.has_profile = false;
                    self.rows.push(Row::Profile(None));
                }
                Ok(Answer::Done)
            }
        }
    }

    fn live(&mut self, id: &SessionId) -> Result<&mut Session, Refusal> {
        self.record.sessions.iter_mut().find(|s| s.id == *id).ok_or(Refusal::UnknownSession)
    }

    fn open(&mut self, intent: &Intent) -> Result<Answer, Refusal> {
        let Intent::OpenSession { session, device, activity, kind, held_by, resume_hash } = intent else {
            return Ok(Answer::Done);
        };
        if let Some(open) = self.record.session(session) {
            return Ok(Answer::Session(open.clone())); // repeated by a node that had no answer yet
        }
        let max = self.policy.sessions_max;
        if self.record.sessions.len() >= max as usize {
            return Err(Refusal::LimitExceeded { what: Capacity::Sessions, max });
        }
        let opened = Session {
            id: session.clone(),
            device: device.clone(),
            activity: *activity,
            kind: *kind,
            opened_at: self.now,
            heard_at: self.now,
            attachment: u32::from(*kind == SessionKind::WebSocket),
            held_by: held_by.clone(),
            resume_hash: *resume_hash,
        };
        self.record.sessions.push(opened.clone());
        Ok(Answer::Session(opened))
    }

    fn end(
        &mut self,
        id: &SessionId,
        attachment: Option<u32>,
        cause: EndCause,
        heard_at: UnixMs,
    ) -> Result<Answer, Refusal> {
        let Some(at) = self.record.sessions.iter().position(|s| s.id == *id) else {
            return Ok(Answer::Done); // ending what is not there is done already
        };
        if attachment.is_some_and(|a| a != self.record.sessions[at].attachment) {
            return Err(Refusal::OldAttachment);
        }
        let session = self.record.sessions.remove(at);
        let heard = match cause {
            EndCause::Closed => self.now,
            EndCause::Expired | EndCause::NodeLost => heard_at.max(session.heard_at).min(self.now),
        };
        self.evidence(heard);
        self.ended.push(session.id);
        Ok(Answer::Done)
    }

    /// Remembers a sign of life, unless it was given while invisible.
    fn evidence(&mut self, heard: UnixMs) {
        if self.record.setting.status != ManualStatus::Invisible {
            self.record.shown.last_seen = self.record.shown.last_seen.max(Some(heard));
        }
    }

    fn set(&mut self, setting: Setting) -> Result<Answer, Refusal> {
        self.record.setting = setting.clone();
        // The presence is filled in once it is known.
        Ok(Answer::Status { setting, presence: PublicPresence::never_seen(self.user.clone()) })
    }

    /// Brings what is shown up to date with sessions and setting.
    fn show(&mut self) {
        let status = public::masked(public::true_status(&self.record));
        let shown = &mut self.record.shown;
        if shown.status == status {
            return;
        }
        let hidden_now = self.record.setting.status == ManualStatus::Invisible;
        if shown.status == Status::Offline || hidden_now {
            // Coming into sight is a sign of life; vanishing from it looks like a clean sign-off.
            shown.last_seen = shown.last_seen.max(Some(self.now));
        }
        shown.status = status;
        shown.since = Some(self.now);
    }
}
