//! Frames from the client, checked as strictly as request bodies.

use crate::{
    members::{Members, bounded, clipped},
    problem::Problem,
    status,
};
use rollcall_presence::{Activity, Intent, UserId, limits::WATCH_FRAME_MAX_IDS};
use std::collections::BTreeSet;

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Watch(Vec<(UserId, Option<u64>)>),
    Unwatch(Vec<UserId>),
    Activity(Activity),
    Write(Intent),
    Token(String),
    Ping,
}

impl Ask {
    /// How many users it asks about.
    pub(super) fn ids(&self) -> usize {
        match self {
            Self::Watch(users) => users.len(),
            _ => 0,
        }
    }
}

/// Why a frame is refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// The frame's id, as far as it could be read.
    pub(super) id: Option<i64>,
    pub(super) problem: Problem,
    /// Whether it is no frame of the contract at all; a few of those in a row end the connection.
    pub(super) malformed: bool,
}

/// What a text frame asks for, with its id.
pub(super) fn parse(text: &str) -> Result<(Option<i64>, Ask), Refused> {
    let malformed = |problem| Refused { id: None, problem, malformed: true };
    let mut frame = Members::parse(text.as_bytes(), "frame").map_err(malformed)?;
    let id = frame.echo("id").map_err(malformed)?;
    let kind = frame.text("type").map_err(|problem| Refused { id, problem, malformed: true })?;
    let ask = match kind.as_deref() {
        Some("watch") => frame.watches("users").map(Ask::Watch),
        Some("unwatch") => unwatch(&mut frame),
        Some("activity") => activity(&mut frame),
        Some("status") => status::wish(&mut frame).map(Ask::Write),
        Some("clear_status") => Ok(Ask::Write(Intent::ClearStatus)),
        Some("token") => token(&mut frame),
        Some("ping") => Ok(Ask::Ping),
        other => {
            let rule = other.map_or("is required".into(), |kind| format!("{} is not known here", clipped(kind)));
            return Err(Refused { id, problem: Problem::invalid("type", rule), malformed: true });
        }
    };
    let ask = ask.and_then(|ask| frame.finish().map(|()| ask));
    ask.map(|ask| (id, ask)).map_err(|problem| Refused { id, problem, malformed: false })
}

fn unwatch(frame: &mut Members<'_>) -> Result<Ask, Problem> {
    let users = frame.users("users")?.ok_or_else(|| Problem::invalid("users", "is required"))?;
    let users: BTreeSet<UserId> = users.into_iter().collect();
    bounded("users", users.len(), WATCH_FRAME_MAX_IDS)?;
    Ok(Ask::Unwatch(users.into_iter().collect()))
}

fn activity(frame: &mut Members<'_>) -> Result<Ask, Problem> {
    let state = frame.word("state", "must be \"active\" or \"idle\"")?;
    Ok(Ask::Activity(state.ok_or_else(|| Problem::invalid("state", "is required"))?))
}

fn token(frame: &mut Members<'_>) -> Result<Ask, Problem> {
    Ok(Ask::Token(frame.text("token")?.ok_or_else(|| Problem::invalid("token", "is required"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_frame_of_the_contract_counts_as_malformed() {
        for bad in ["", "[]", "{", "{}", r#"{"type":"dance"}"#, r#"{"type":7}"#, r#"{"type":"ping","id":"x"}"#] {
            assert!(parse(bad).unwrap_err().malformed, "{bad}");
        }
        for wrong in [r#"{"type":"watch"}"#, r#"{"type":"activity","state":"x"}"#, r#"{"type":"ping","room":"x"}"#] {
            assert!(!parse(wrong).unwrap_err().malformed, "{wrong}");
        }
    }

    #[test]
    fn a_refused_frame_keeps_its_id() {
        assert_eq!(parse(r#"{"type":"dance","id":7}"#).unwrap_err().id, Some(7));
        assert_eq!(parse(r#"{"type":"watch","id":8,"users":["me"]}"#).unwrap_err().id, Some(8));
    }
}
