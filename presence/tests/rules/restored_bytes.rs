//! The bytes of a restored part, pinned: in a log, between nodes and in every backup.

use crate::deed::{meta, user};
use crate::golden_bytes::golden;
use rollcall_presence::{
    Answer, Audience, HistoryEntry, Intent, Kept, ManualStatus, Privacy, Profile, Reason, RestoreMark, Restored,
    RestoredAs, Setting, Status, TrueStatus, record::Shown,
};

fn a_part() -> Restored {
    let entry = HistoryEntry {
        seq: 1,
        version: 2,
        at: 3,
        status: TrueStatus::Invisible,
        text: Some("lunch".into()),
        reason: Reason::StatusExpired,
    };
    let kept = Kept {
        setting: Setting { status: ManualStatus::Dnd, text: None, meta: meta("{}"), expires_at: Some(4) },
        privacy: Privacy { last_seen: Audience::Nobody, devices: Audience::Contacts },
        shown: Shown { status: Status::Dnd, since: Some(10), last_seen: Some(11), version: 12 },
        heard_at: Some(13),
        profile: Some(Profile { name: Some("A".into()), meta: meta("{}") }),
    };
    Restored {
        backup: 14,
        part: 15,
        overwrite: true,
        history_first: 1,
        history_next: 2,
        contacts: vec![(user(1), 16)],
        blocks: vec![(user(2), 17)],
        history: vec![entry],
        last: Some(Box::new(kept)),
    }
}

#[test]
fn a_restored_part() {
    golden(
        &Intent::Restore(Box::new(a_part())),
        "0e 0e0f010102 0103626f6210 01056361726f6c11 01 0102030401056c756e636808 01 0200027b7d0104 0100 02010a010b0c 010d \
            01010141027b7d",
    );
    golden(&Restored { last: None, history: Vec::new(), ..a_part() }, "0e0f010102 0103626f6210 01056361726f6c11 00 00");
}

#[test]
fn what_became_of_it() {
    golden(&Answer::Restored(RestoredAs::Taken), "0600");
    golden(&Answer::Restored(RestoredAs::LeftAlone), "0601");
    golden(&RestoreMark { backup: 1, next: 2 }, "0102");
}

#[test]
fn what_would_move_time_or_versions_too_far_or_is_too_long_is_refused() {
    use rollcall_presence::limits::{RESTORED_AHEAD_MAX_MS, RESTORED_VERSION_MAX, TEXT_MAX_BYTES};
    let now = 1_000;
    assert_eq!(a_part().fault(now), None);
    let mut late = a_part();
    late.contacts[0].1 = now + RESTORED_AHEAD_MAX_MS;
    assert_eq!(late.fault(now), None);
    late.contacts[0].1 += 1;
    assert!(late.fault(now).is_some());
    let mut high = a_part();
    high.history[0].version = RESTORED_VERSION_MAX + 1;
    assert!(high.fault(now).is_some());
    let mut long = a_part();
    long.history[0].text = Some("x".repeat(TEXT_MAX_BYTES + 1).into());
    assert!(long.fault(now).is_some());
    let mut long = a_part();
    long.last.as_mut().unwrap().setting.text = Some("x".repeat(TEXT_MAX_BYTES + 1).into());
    assert!(long.fault(now).is_some());
}
