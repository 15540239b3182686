//! Frames of a server as a client reads them, borrowed from the received text.
//!
//! Owns the reading half of the contract's section 8. Promises to ignore unknown fields, and to take an unknown status
//! for [`Status::Other`], as the contract asks of clients.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A status as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Online,
    Away,
    Dnd,
    Offline,
    #[serde(other)]
    Other,
}

/// Any frame: `kind` says which fields mean something.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) presences: Vec<&'a RawValue>,
    #[serde(default)]
    pub(crate) more: bool,
    #[serde(default)]
    pub(crate) users: Vec<String>,
    #[serde(default)]
    pub(crate) resumed: bool,
    #[serde(default)]
    pub(crate) resume: Option<String>,
    #[serde(default)]
    pub(crate) ping_ms: Option<u64>,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) detail: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) reconnect: Option<bool>,
    #[serde(default)]
    pub(crate) after_ms: Option<u64>,
}

/// A presence, whole.
#[derive(Debug, Deserialize)]
pub(crate) struct Presence<'a> {
    #[serde(borrow)]
    pub(crate) user: Cow<'a, str>,
    pub(crate) status: Status,
    #[serde(default, borrow)]
    pub(crate) text: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) last_seen: Option<u64>,
    #[serde(default)]
    pub(crate) devices: Vec<String>,
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) stale: bool,
}

/// What a frame of the server, or a part of it, could not be read for.
#[derive(Debug, thiserror::Error)]
#[error("the server sent what is no frame of this contract: {0}")]
pub(crate) struct UnreadableFrame(#[from] serde_json::Error);

/// Reads one frame.
pub(crate) fn read(text: &str) -> Result<Frame<'_>, UnreadableFrame> {
    Ok(serde_json::from_str(text)?)
}

/// Reads one presence of a frame.
pub(crate) fn presence(raw: &RawValue) -> Result<Presence<'_>, UnreadableFrame> {
    Ok(serde_json::from_str(raw.get())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored_and_unknown_statuses_are_other() {
        let text = r#"{"type":"presence","presences":[{"user":"bob","status":"asleep","text":"a\"b","meta":{"x":1},
            "since":1,"last_seen":null,"devices":["web"],"version":7,"stale":false,"mood":"fine"}],"new":1}"#;
        let frame = read(text).unwrap();
        assert_eq!(frame.kind, "presence");
        let bob = presence(frame.presences[0]).unwrap();
        assert_eq!((bob.status, bob.version, bob.text.as_deref()), (Status::Other, 7, Some("a\"b")));
    }

    #[test]
    fn a_goodbye_has_its_advice() {
        let frame = read(r#"{"type":"goodbye","reason":"drain","reconnect":true,"after_ms":1200}"#).unwrap();
        assert_eq!((frame.reason.as_deref(), frame.reconnect, frame.after_ms), (Some("drain"), Some(true), Some(1200)));
    }
}
