//! A session is opened once whatever is repeated, and only the connection that holds it may report its end.

use crate::{deed::any_history, world::World};
use proptest::prelude::*;
use rollcall_presence::{Answer, Intent, Refusal, SessionKind};

proptest! {
    #[test]
    fn opening_the_same_session_again_has_no_further_effect(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let (Intent::OpenSession { session, .. }, Ok(_)) = (&done.command.intent, &done.outcome.answer) else { continue };
            let Some(open) = done.after.known().session(session).cloned() else { continue };
            let revision = world.ledger.revision;
            let mut command = done.command.clone();
            command.key = None;
            command.at += 5_000;
            let again = world.take(deed.user, command);
            prop_assert_eq!(again.outcome.answer, Ok(Answer::Session(open)));
            prop_assert_eq!(&again.after, &done.after);
            prop_assert_eq!(world.ledger.revision, revision);
        }
    }

    #[test]
    fn a_report_of_an_older_attachment_is_ignored(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let (Intent::EndSession { session, attachment, .. }, None) = (&done.command.intent, &done.command.key) else {
                continue;
            };
            let Some(before) = done.before.known().session(session).cloned() else {
                prop_assert_eq!(done.outcome.answer, Ok(Answer::Done), "ended before is ended");
                continue;
            };
            if attachment.is_none_or(|a| a == before.attachment) {
                prop_assert_eq!(done.outcome.answer, Ok(Answer::Done));
                prop_assert_eq!(&done.outcome.ended, std::slice::from_ref(session));
                prop_assert!(done.after.known().session(session).is_none());
            } else {
                prop_assert_eq!(done.outcome.answer, Err(Refusal::OldAttachment));
                prop_assert_eq!(&done.after.record, &done.before.record);
            }
        }
    }

    #[test]
    fn what_a_connection_held_ends_unless_another_took_it_over(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let (Intent::EndHeld { held_by, .. }, None) = (&done.command.intent, &done.command.key) else { continue };
            let (before, after) = (&done.before.known().sessions, &done.after.known().sessions);
            let held = before.iter().find(|s| s.held_by.as_ref() == Some(held_by)).map(|s| s.id.clone());
            prop_assert_eq!(done.outcome.answer, Ok(Answer::Done));
            prop_assert_eq!(&done.outcome.ended, &held.iter().cloned().collect::<Vec<_>>());
            let others: Vec<_> = before.iter().filter(|s| Some(&s.id) != held.as_ref()).cloned().collect();
            prop_assert_eq!(after, &others);
        }
    }

    #[test]
    fn a_session_is_taken_over_by_its_own_token_only(history in any_history()) {
        let mut world = World::new();
        for deed in &history {
            let done = world.act(deed);
            let (Intent::AttachSession { session, resume_hash, held_by }, None) = (&done.command.intent, &done.command.key)
            else {
                continue;
            };
            let before = done.before.known().session(session).cloned();
            match before.filter(|s| s.kind == SessionKind::WebSocket && s.resume_hash == Some(*resume_hash)) {
                None => prop_assert_eq!(done.outcome.answer, Err(Refusal::UnknownSession)),
                Some(before) => {
                    let after = done.after.known().session(session).cloned().unwrap();
                    prop_assert_eq!(after.attachment, before.attachment + 1);
                    prop_assert_eq!(after.held_by.as_ref(), Some(held_by));
                    prop_assert_eq!((&after.device, after.activity), (&before.device, before.activity));
                    prop_assert_eq!(&done.outcome.presence, &None, "taking over makes no event");
                    prop_assert_eq!(done.outcome.answer, Ok(Answer::Session(after)));
                }
            }
        }
    }
}
