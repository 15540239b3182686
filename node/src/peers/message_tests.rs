//! The bytes of messages between nodes, as nodes of this version send them: never changed, only added to.

use super::*;
use crate::ties::page::{ConnectionMend, ConnectionTie, Contacts, SubjectMend, SubjectTie, What};
use rollcall_presence::{PublicPresence, Viewer};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn tenure() -> Tenure {
    let holder = Holder { node: NodeName::new("n1").unwrap(), generation: 2 };
    Tenure { holder, term: 3, number: 4 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn questions() -> Vec<Question> {
    let (partition, holder) = (PartitionId(5), tenure().holder);
    let session = SessionId::new("s").unwrap();
    let connection = ConnectionTie {
        number: 6,
        user: user("a"),
        session: Some((session.clone(), 7)),
        follows: Some(Contacts { count: 8, hash: 9 }),
        blocks: true,
        heard_at: 10,
    };
    let subject = SubjectTie { user: user("b"), version: Some(11), viewers: vec![(user("a"), true)] };
    let page = Page { connections: vec![connection], subjects: vec![subject] };
    let announce = |step| Question::Announce { partition, holder: holder.clone(), step };
    let request = HomeRequest::Vet { viewer: user("a"), subjects: vec![user("b")] };
    let heard = vec![LastHeard { user: user("a"), session, at: 12, ago_ms: 13 }];
    vec![
        Question::Home { partition, request: request.clone() },
        Question::Replica { partition, request: request.clone() },
        announce(Step::Begin),
        announce(Step::Page(tenure(), page)),
        announce(Step::End(tenure(), 14)),
        Question::Compare { partition, holder: holder.clone(), digest: Digest::default() },
        Question::Report,
        Question::HandOver { partition, heard },
        Question::Passed { to: holder.node.clone(), partition, request },
        Question::Section { partition, backup: 15, ticket: Some(16) },
    ]
}

fn replies() -> Vec<Reply> {
    let mends = Mends {
        connections: vec![ConnectionMend { number: 1, what: What::Vet }],
        subjects: vec![SubjectMend {
            user: user("b"),
            presence: Some(PublicPresence::never_seen(user("b"))),
            decisions: vec![(user("a"), false)],
        }],
        revision: 2,
        stale: false,
    };
    vec![
        Reply::Home(Ok(HomeReply::Done)),
        Reply::Home(Err(HomeError::NoHome)),
        Reply::NotHome { leader: Some(tenure().holder.node) },
        Reply::Begun { tenure: tenure(), number: 3, stale: false },
        Reply::Mended(mends),
        Reply::Compared { tenure: tenure(), number: 4, same: true, stale: false },
        Reply::Report(NodeReport::default()),
        Reply::Done,
        Reply::Section(Err(SectionFault::Busy)),
    ]
}

fn messages() -> Vec<Message> {
    let partition = PartitionId(5);
    let viewer = Viewer { user: user("a"), service: false };
    let request = HomeRequest::Presences { viewer, subjects: vec![user("b")] };
    let notes = vec![NodeNote::Revoked { number: 1 }];
    vec![
        Message::Request { partition, request },
        Message::Parcel(Parcel { partition, tenure: tenure(), number: 2, notes }),
        Message::TakenUp { partition, tenure: tenure() },
        Message::Heard { partition, heard: Vec::new() },
    ]
}

#[test]
fn messages_between_nodes_have_the_bytes_that_they_had() {
    let mut sealed: Vec<Vec<u8>> = questions().iter().map(seal_question).collect();
    sealed.extend(replies().iter().map(seal_reply));
    sealed.extend(messages().iter().map(seal_message));
    let sealed: Vec<String> = sealed.iter().map(|bytes| hex(bytes)).collect();
    assert_eq!(sealed, GOLDEN, "{sealed:#?}");
}

#[test]
fn what_was_sealed_opens_as_what_it_was_and_as_nothing_else() {
    for question in questions() {
        let bytes = seal_question(&question);
        assert_eq!(open_question(&bytes), Some(question));
        assert_eq!((open_reply(&bytes), open_message(&bytes)), (None, None));
        for cut in 0..bytes.len() {
            assert_eq!(open_question(&bytes[..cut]), None);
        }
        let mut other = bytes.clone();
        *other.last_mut().unwrap() += 1;
        assert_eq!(open_question(&other), None, "another version");
    }
    for reply in replies() {
        assert_eq!(open_reply(&seal_reply(&reply)), Some(reply));
    }
    for message in messages() {
        assert_eq!(open_message(&seal_message(&message)), Some(message));
    }
}

const GOLDEN: [&str; 23] = [
    "00050601610101620101",
    "01050601610101620101",
    "0205026e3102000101",
    "0205026e310201026e310203040106016101017307010809010a010162010b010161010101",
    "0205026e310202026e310203040e0101",
    "0305026e3102000000000101",
    "040101",
    "050501016101730c0d0101",
    "06026e31050601610101620101",
    "07050f01100101",
    "0000010201",
    "0001020201",
    "0101026e310201",
    "02026e3102030403000201",
    "030101030101620101620300027b7d000000000101610002000201",
    "04026e310203040401000201",
    "050000000000000000000201",
    "060201",
    "0701000201",
    "0005090161000101620301",
    "0105026e31020304020106010301",
    "0205026e310203040301",
    "0305000301",
];

#[test]
fn every_kept_input_is_read_without_a_panic() {
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/presence_lane");
    let files: Vec<_> = std::fs::read_dir(&kept).unwrap().collect();
    assert!(!files.is_empty(), "{} is empty", kept.display());
    for file in files {
        read_any(&std::fs::read(file.unwrap().path()).unwrap());
    }
}
