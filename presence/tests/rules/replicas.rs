//! Replicas agree: the same entries give the same outcomes, also through disk and wire.

use crate::{
    deed::any_history,
    world::{POLICY, TERM, World},
};
use proptest::prelude::*;
use rollcall_presence::{Entry, RULES_VERSION, UserRecord, codec};

proptest! {
    #[test]
    fn a_replica_that_reads_everything_back_from_bytes_agrees(history in any_history()) {
        let (mut leader, mut follower) = (World::new(), World::new());
        for deed in &history {
            let done = leader.act(deed);
            let entry = Entry { rules: RULES_VERSION, policy: POLICY, commands: vec![done.command] };
            let read: Entry = codec::decode(&codec::encode(&entry)).unwrap();
            prop_assert_eq!(&read, &entry);
            for stored in &mut follower.users {
                let record: Option<UserRecord> = codec::decode(&codec::encode(&stored.record)).unwrap();
                stored.record = record;
                stored.keys = codec::decode(&codec::encode(&stored.keys)).unwrap();
            }
            follower.ledger = codec::decode(&codec::encode(&follower.ledger)).unwrap();
            let [command] = &read.commands[..] else { panic!("one command an entry here") };
            let followed = follower.take_in_term(TERM, deed.user, command.clone());
            prop_assert_eq!(followed.outcome, done.outcome);
            prop_assert_eq!(&follower.users, &leader.users);
            prop_assert_eq!(follower.ledger, leader.ledger);
        }
    }
}
