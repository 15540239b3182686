//! Every byte that is stored or sent, pinned: a change of a tag, an order or a width fails here.
//!
//! What fails here would misread every existing disk. Change the golden bytes only together with a migration.

use crate::deed::{connection, device, key, meta, session, user};
use rollcall_presence::{
    Activity, Answer, Audience, Command, EndCause, Entry, HistoryEntry, Intent, KeyTable, Ledger, ListChanges,
    ListKind, ManualStatus, Meta, Policy, Privacy, Profile, PublicPresence, Reason, Refusal, Session, SessionKind,
    Setting, Status, TrueStatus, UserRecord, codec, command::HISTORY_AGE_NEVER, outcome::Capacity, record::Shown,
};
use std::fmt::{Debug, Write as _};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares the bytes of `value` with `golden` (blanks are for people), and reads them back.
#[track_caller]
pub(crate) fn golden<T: bincode::Encode + bincode::Decode<()> + PartialEq + Debug>(value: &T, golden: &str) {
    let bytes = codec::encode(value);
    assert_eq!(hex(&bytes), golden.replace([' ', '\n'], ""), "of {value:?}");
    assert_eq!(&codec::decode::<T>(&bytes).unwrap(), value);
}

fn a_session() -> Session {
    Session {
        id: session(1),
        device: device(0),
        activity: Activity::Idle,
        kind: SessionKind::WebSocket,
        opened_at: 1_000,
        heard_at: 2_000,
        attachment: 3,
        held_by: Some(connection(2)),
        resume_hash: Some([0xab; 32]),
    }
}

fn a_setting() -> Setting {
    Setting {
        status: ManualStatus::Dnd,
        text: Some("lunch".into()),
        meta: meta(r#"{"a":1}"#),
        expires_at: Some(1_732_400_000_000),
    }
}

fn a_presence() -> PublicPresence {
    PublicPresence {
        user: user(0),
        status: Status::Away,
        text: None,
        meta: Meta::empty(),
        since: Some(5),
        last_seen: None,
        devices: vec![device(2), device(1)],
        version: 1_042,
    }
}

fn entry(intent: Intent) -> Entry {
    let policy =
        Policy { contacts_max: 1, blocks_max: 2, sessions_max: 3, history_max: 4, history_age_ms: HISTORY_AGE_NEVER };
    let command = Command { user: user(1), term: 6, at: 7, key: None, intent };
    Entry { rules: 1, policy, commands: vec![command] }
}

fn a_profile() -> Profile {
    Profile { name: Some("Alice A.".into()), meta: meta(r#"{"b":2}"#) }
}

#[test]
fn an_entry_under_the_second_rules_carries_the_age_of_history() {
    let mut second = entry(Intent::DropExpired);
    (second.rules, second.policy.history_age_ms) = (2, 300);
    golden(&second, "0201020304 fb2c01 0103626f620607000d");
    second.policy.history_age_ms = HISTORY_AGE_NEVER;
    golden(&second, "0201020304 fdffffffffffffffff 0103626f620607000d");
}

#[test]
fn an_age_is_not_carried_nor_counted_under_the_first_rules() {
    let first = entry(Intent::ClearStatus);
    let mut aged = first.clone();
    aged.policy.history_age_ms = 300;
    assert_eq!(codec::encode(&aged), codec::encode(&first));
    assert_eq!(aged.policy.under(1), first.policy);
    assert_eq!(aged.policy.under(2), aged.policy);
}

#[test]
fn a_record() {
    golden(&UserRecord::unknown(), "0000027b7d00000000030000000000000000");
    golden(
        &UserRecord {
            setting: a_setting(),
            sessions: vec![a_session()],
            privacy: Privacy { last_seen: Audience::Nobody, devices: Audience::Contacts },
            shown: Shown { status: Status::Dnd, since: Some(10), last_seen: Some(11), version: 12 },
            contacts: 13,
            blocks: 14,
            history_first: 15,
            history_next: 16,
            has_profile: true,
        },
        "0201056c756e6368077b2261223a317d01fd002c165b9301000001027331037765620101fbe803fb \
            d0070301026e32020201ababababababababababababababababababababababababababababababab \
            ab010002010a010b0c0d0e0f1001",
    );
}

#[test]
fn an_entry_that_opens_attaches_or_ends_a_session() {
    golden(
        &entry(Intent::OpenSession {
            session: session(1),
            device: device(0),
            activity: Activity::Active,
            kind: SessionKind::Http,
            held_by: None,
            resume_hash: None,
        }),
        "01010203040103626f62060700000273310377656200000000",
    );
    golden(
        &entry(Intent::OpenSession {
            session: session(1),
            device: device(0),
            activity: Activity::Idle,
            kind: SessionKind::WebSocket,
            held_by: Some(connection(1)),
            resume_hash: Some([0xcd; 32]),
        }),
        "01010203040103626f620607000002733103776562010101026e31010101cdcdcdcdcdcdcdcdcdcdcd \
            cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
    );
    golden(
        &entry(Intent::AttachSession { session: session(1), resume_hash: [0xcd; 32], held_by: connection(1) }),
        "01010203040103626f6206070001027331cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd \
            cdcdcdcdcdcdcdcdcd026e310101",
    );
    golden(
        &entry(Intent::SetActivity { session: session(1), activity: Activity::Idle }),
        "01010203040103626f620607000202733101",
    );
    let end = |attachment, cause| Intent::EndSession { session: session(1), attachment, cause, heard_at: 9 };
    golden(&entry(end(None, EndCause::Closed)), "01010203040103626f6206070003027331000009");
    golden(&entry(end(Some(3), EndCause::Expired)), "01010203040103626f620607000302733101030109");
    golden(&entry(end(Some(3), EndCause::NodeLost)), "01010203040103626f620607000302733101030209");
    golden(&entry(Intent::EndHeld { held_by: connection(1), heard_at: 9 }), "01010203040103626f620607000c026e31010109");
}

#[test]
fn an_entry_that_changes_the_status() {
    golden(
        &entry(Intent::PutStatus {
            status: ManualStatus::Dnd,
            text: Some("lunch".into()),
            meta: meta(r#"{"a":1}"#),
            expires_in_s: Some(60),
        }),
        "01010203040103626f62060700040201056c756e6368077b2261223a317d013c",
    );
    golden(&entry(Intent::ClearStatus), "01010203040103626f6206070005");
    golden(&entry(Intent::ExpireStatus { expires_at: 8 }), "01010203040103626f620607000608");
}

#[test]
fn an_entry_that_changes_lists_privacy_profile_or_all() {
    let change = |list| ListChanges { list, add: vec![user(0)], remove: vec![user(2)] };
    golden(
        &entry(Intent::ChangeList(change(ListKind::Contacts))),
        "01010203040103626f6206070007000105616c69636501056361726f6c",
    );
    golden(
        &entry(Intent::ChangeList(change(ListKind::Blocks))),
        "01010203040103626f6206070007010105616c69636501056361726f6c",
    );
    golden(
        &entry(Intent::PutPrivacy(Privacy { last_seen: Audience::Contacts, devices: Audience::Nobody })),
        "01010203040103626f62060700080001",
    );
    golden(&entry(Intent::PutProfile(a_profile())), "01010203040103626f62060700090108416c69636520412e077b2262223a327d");
    golden(&entry(Intent::DeleteProfile), "01010203040103626f620607000a");
    golden(&entry(Intent::DeleteUser), "01010203040103626f620607000b");
}

#[test]
fn a_command_with_a_key() {
    let command = Command { user: user(1), term: 6, at: 7, key: Some(key((3, 0xef))), intent: Intent::ClearStatus };
    golden(
        &command,
        "03626f62060701046b657933efefefefefefefefefefefefefefefefefefefefefefefefefefefef \
            efefefef05",
    );
}

#[test]
fn an_answer() {
    golden(&Answer::Done, "00");
    golden(
        &Answer::Session(a_session()),
        "01027331037765620101fbe803fbd0070301026e32020201ababababababababababababababababab \
            ababababababababababababababab",
    );
    golden(
        &Answer::Status { setting: a_setting(), presence: a_presence() },
        "020201056c756e6368077b2261223a317d01fd002c165b9301000005616c6963650100027b7d0105 \
            000203626f74066d6f62696c65fb1204",
    );
    golden(&Answer::Total(300), "03fb2c01");
    golden(&Answer::Privacy(Privacy::default()), "040000");
    golden(&Answer::Profile(a_profile()), "050108416c69636520412e077b2262223a327d");
}

#[test]
fn a_refusal() {
    golden(&Refusal::UnknownSession, "00");
    golden(&Refusal::OldAttachment, "01");
    golden(&Refusal::KeyReused, "02");
    golden(&Refusal::LimitExceeded { what: Capacity::Contacts, max: 1 }, "030001");
    golden(&Refusal::LimitExceeded { what: Capacity::Blocks, max: 1 }, "030101");
    golden(&Refusal::LimitExceeded { what: Capacity::Sessions, max: 1 }, "030201");
    golden(&Refusal::Fenced { made: 1, applied: 2 }, "040102");
    golden(&Refusal::UnknownRules(9), "0509");
}

#[test]
fn a_history_entry() {
    let entry = HistoryEntry {
        seq: 1,
        version: 2,
        at: 3,
        status: TrueStatus::Invisible,
        text: Some("lunch".into()),
        reason: Reason::StatusExpired,
    };
    golden(&entry, "0102030401056c756e636808");
}

#[test]
fn a_key_table() {
    let mut keys = KeyTable::default();
    golden(&keys, "00");
    keys.remember(&key((1, 0xaa)), 5, Ok(Answer::Total(2)));
    keys.remember(&key((2, 0xbb)), 6, Err(Refusal::UnknownSession));
    golden(
        &keys,
        "02046b657931aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0500 \
            0302046b657932bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb06 \
            0100",
    );
}

#[test]
fn a_ledger() {
    golden(
        &Ledger { revision: 1, now: 1_732_400_000_000, users: 3, online: 4, sessions: 5 },
        "01fd002c165b93010000030405",
    );
}

#[test]
fn a_word_of_each_enumeration() {
    golden(&[ManualStatus::Online, ManualStatus::Away, ManualStatus::Dnd, ManualStatus::Invisible], "00010203");
    golden(&[Activity::Active, Activity::Idle], "0001");
    golden(&[SessionKind::Http, SessionKind::WebSocket], "0001");
    golden(&[Audience::Contacts, Audience::Nobody], "0001");
    golden(&[Status::Online, Status::Away, Status::Dnd, Status::Offline], "00010203");
    golden(
        &[TrueStatus::Online, TrueStatus::Away, TrueStatus::Dnd, TrueStatus::Offline, TrueStatus::Invisible],
        "0001020304",
    );
    golden(
        &[
            Reason::Connected,
            Reason::Disconnected,
            Reason::Expired,
            Reason::NodeLost,
            Reason::Idle,
            Reason::Active,
            Reason::StatusSet,
            Reason::StatusCleared,
            Reason::StatusExpired,
            Reason::DeviceChanged,
        ],
        "00010203040506070809",
    );
    golden(&[ListKind::Contacts, ListKind::Blocks], "0001");
    golden(&[EndCause::Closed, EndCause::Expired, EndCause::NodeLost], "000102");
}
