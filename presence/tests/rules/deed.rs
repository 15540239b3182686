//! What may be done in a random history, over few users, sessions and devices, so that deeds meet each other.

use proptest::{collection::vec, option, prelude::*};
use rollcall_presence::{
    Activity, Audience, ConnectionAt, Device, EndCause, Holder, Intent, ListChanges, ListKind, ManualStatus, Meta,
    NodeName, Privacy, Profile, RequestKey, SessionId, SessionKind, UserId,
};

/// One step of a history. Times are relative to the moment it is done.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    /// Index of the user.
    pub(crate) user: usize,
    /// How far the home's clock has moved since the last deed; backwards too.
    pub(crate) after_ms: i64,
    /// Key and digest, if any.
    pub(crate) key: Option<(u8, u8)>,
    /// What is wished.
    pub(crate) wish: Wish,
}

/// An intent whose details are filled in by the state it meets.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Fixed from the start.
    Plain(Intent),
    /// Ends a session.
    End { session: SessionId, attachment: Attachment, cause: EndCause, heard_ago_ms: i64 },
    /// The setting's expiry, if `due`, or another time.
    Expire { due: bool },
}

/// Which attachment a report of an ending names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Whatever it is.
    Any,
    /// The one of now.
    Current,
    /// The one before.
    Older,
}

/// The users of a history.
pub(crate) const USERS: [&str; 3] = ["alice", "bob", "carol"];

pub(crate) fn user(index: usize) -> UserId {
    UserId::new(USERS[index]).unwrap()
}

pub(crate) fn session(index: u8) -> SessionId {
    SessionId::new(&format!("s{index}")).unwrap()
}

pub(crate) fn device(index: u8) -> Device {
    Device::new(["web", "mobile", "bot"][usize::from(index)]).unwrap()
}

pub(crate) fn connection(index: u8) -> ConnectionAt {
    let holder = Holder { node: NodeName::new(&format!("n{index}")).unwrap(), generation: u64::from(index) };
    ConnectionAt { holder, number: u64::from(index) }
}

/// The resume hash of a session: its own, as tokens are.
pub(crate) fn resume_hash(index: u8) -> [u8; 32] {
    [index; 32]
}

pub(crate) fn key((name, digest): (u8, u8)) -> RequestKey {
    RequestKey { key: format!("key{name}").into(), digest: [digest; 32] }
}

pub(crate) fn meta(json: &str) -> Meta {
    Meta::from_compact_json(json.to_owned(), 2_048).unwrap()
}

fn activity() -> impl Strategy<Value = Activity> {
    prop_oneof![Just(Activity::Active), Just(Activity::Idle)]
}

pub(crate) fn open_session() -> impl Strategy<Value = Intent> {
    (0..5u8, 0..3u8, activity(), any::<bool>()).prop_map(|(id, on, activity, socket)| Intent::OpenSession {
        session: session(id),
        device: device(on),
        activity,
        kind: if socket { SessionKind::WebSocket } else { SessionKind::Http },
        held_by: socket.then(|| connection(on)),
        resume_hash: socket.then(|| resume_hash(id)),
    })
}

fn attach_session() -> impl Strategy<Value = Intent> {
    (0..5u8, 0..5u8, 0..3u8).prop_map(|(id, hash, by)| Intent::AttachSession {
        session: session(id),
        resume_hash: resume_hash(if hash == 0 { 9 } else { id }),
        held_by: connection(by),
    })
}

fn end_held() -> impl Strategy<Value = Intent> {
    (0..3u8, 0..40_000u64).prop_map(|(by, heard_at)| Intent::EndHeld { held_by: connection(by), heard_at })
}

fn set_activity() -> impl Strategy<Value = Intent> {
    (0..5u8, activity()).prop_map(|(id, activity)| Intent::SetActivity { session: session(id), activity })
}

fn put_status(status: impl Strategy<Value = ManualStatus>) -> impl Strategy<Value = Intent> {
    let text = option::of(prop_oneof![Just("lunch"), Just("in a call")]);
    let meta_of = prop_oneof![Just("{}"), Just(r#"{"game":"chess"}"#)];
    (status, text, meta_of, option::of(1..60u64)).prop_map(|(status, text, json, expires_in_s)| Intent::PutStatus {
        status,
        text: text.map(Into::into),
        meta: meta(json),
        expires_in_s,
    })
}

fn any_status() -> impl Strategy<Value = ManualStatus> {
    prop_oneof![
        Just(ManualStatus::Online),
        Just(ManualStatus::Away),
        Just(ManualStatus::Dnd),
        Just(ManualStatus::Invisible)
    ]
}

pub(crate) fn change_list() -> impl Strategy<Value = Intent> {
    // Ids 0 to 2 are the users themselves, one's own among them; an id stands on one side only.
    let sides = vec((0..9u8, any::<bool>()), 0..6);
    (any::<bool>(), sides).prop_map(|(contacts, sides)| {
        let name = |i: u8| UserId::new(USERS.get(usize::from(i)).map_or(&*format!("friend{i}"), |u| u)).unwrap();
        let mut change = ListChanges {
            list: if contacts { ListKind::Contacts } else { ListKind::Blocks },
            add: Vec::new(),
            remove: Vec::new(),
        };
        for (who, add) in sides {
            let (to, other) = if add { (&mut change.add, &change.remove) } else { (&mut change.remove, &change.add) };
            if !other.contains(&name(who)) {
                to.push(name(who)); // duplicates stay: they count once
            }
        }
        Intent::ChangeList(change)
    })
}

pub(crate) fn put_privacy() -> impl Strategy<Value = Intent> {
    let audience = || prop_oneof![Just(Audience::Contacts), Just(Audience::Nobody)];
    (audience(), audience()).prop_map(|(last_seen, devices)| Intent::PutPrivacy(Privacy { last_seen, devices }))
}

fn profile() -> impl Strategy<Value = Intent> {
    prop_oneof![
        option::of(Just("A. Lice"))
            .prop_map(|name| Intent::PutProfile(Profile { name: name.map(Into::into), meta: Meta::empty() })),
        Just(Intent::DeleteProfile),
    ]
}

fn end() -> impl Strategy<Value = Wish> {
    let attachment = prop_oneof![
        2 => Just(Attachment::Any),
        2 => Just(Attachment::Current),
        1 => Just(Attachment::Older)
    ];
    let cause = prop_oneof![Just(EndCause::Closed), Just(EndCause::Expired), Just(EndCause::NodeLost)];
    (0..5u8, attachment, cause, -5_000..60_000i64).prop_map(|(id, attachment, cause, heard_ago_ms)| Wish::End {
        session: session(id),
        attachment,
        cause,
        heard_ago_ms,
    })
}

/// Everything but deletion.
pub(crate) fn living() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => open_session().prop_map(Wish::Plain),
        2 => attach_session().prop_map(Wish::Plain),
        1 => end_held().prop_map(Wish::Plain),
        4 => set_activity().prop_map(Wish::Plain),
        5 => end(),
        6 => put_status(any_status()).prop_map(Wish::Plain),
        1 => Just(Wish::Plain(Intent::ClearStatus)),
        1 => Just(Wish::Plain(Intent::DropExpired)),
        2 => any::<bool>().prop_map(|due| Wish::Expire { due }),
        4 => change_list().prop_map(Wish::Plain),
        2 => put_privacy().prop_map(Wish::Plain),
        1 => profile().prop_map(Wish::Plain),
    ]
}

/// What leaves an invisible user invisible, and is not for others to see.
pub(crate) fn hidden() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => open_session().prop_map(Wish::Plain),
        1 => attach_session().prop_map(Wish::Plain),
        1 => end_held().prop_map(Wish::Plain),
        3 => set_activity().prop_map(Wish::Plain),
        4 => end(),
        2 => put_status(Just(ManualStatus::Invisible)).prop_map(unlimited).prop_map(Wish::Plain),
        1 => Just(Wish::Expire { due: false }),
        1 => change_list().prop_map(Wish::Plain),
        1 => profile().prop_map(Wish::Plain),
    ]
}

fn unlimited(intent: Intent) -> Intent {
    match intent {
        Intent::PutStatus { status, text, meta, .. } => Intent::PutStatus { status, text, meta, expires_in_s: None },
        other => other,
    }
}

/// Everything.
pub(crate) fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![30 => living(), 1 => Just(Wish::Plain(Intent::DeleteUser))]
}

/// A history of `wishes` on all users.
pub(crate) fn history_of(wishes: impl Strategy<Value = Wish>, keyed: bool) -> impl Strategy<Value = Vec<Deed>> {
    let key = if keyed { option::weighted(0.3, (0..4u8, 0..2u8)).boxed() } else { Just(None).boxed() };
    let deed = (0..USERS.len(), -3_000..30_000i64, key, wishes);
    vec(deed.prop_map(|(user, after_ms, key, wish)| Deed { user, after_ms, key, wish }), 0..60)
}

/// A history of anything, some of it with idempotency keys.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Deed>> {
    history_of(wish(), true)
}
