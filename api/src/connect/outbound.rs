//! Frames to the client, each in one buffer with its WebSocket header in front, so that one write sends it.
//!
//! Presences come encoded and are only put together here, at most [`WATCH_FRAME_MAX_IDS`] and [`FRAME_MAX_BYTES`] a frame.

use crate::{
    problem::Problem,
    service::{GoodbyeReason, Welcome},
    wire::EncodedPresence,
};
use rollcall_presence::{UserId, limits::WATCH_FRAME_MAX_IDS};
use serde::Serialize;
use std::{io::Cursor, sync::Arc};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

/// Largest frame of presences, bytes. Contract, section 8.
const FRAME_MAX_BYTES: usize = 256 * 1_024;
/// Longest WebSocket header of a server's frame, bytes.
const HEADER_MAX_BYTES: usize = 10;
/// Room for what stands around the presences of a frame, bytes.
const AROUND_MAX_BYTES: usize = 96;

/// A frame's bytes; the position is what was sent of them.
pub(super) type Frame = Cursor<Vec<u8>>;

/// A frame whose payload is what `write` appends.
fn frame(room: usize, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut bytes = Vec::with_capacity(HEADER_MAX_BYTES + room);
    bytes.resize(HEADER_MAX_BYTES, 0);
    write(&mut bytes);
    let payload = (bytes.len() - HEADER_MAX_BYTES) as u64;
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    let mut front = Cursor::new([0; HEADER_MAX_BYTES]);
    // Ten bytes hold every header without a mask.
    let _ = header.format(payload, &mut front);
    let length = usize::try_from(front.position()).unwrap_or(HEADER_MAX_BYTES);
    let start = HEADER_MAX_BYTES - length;
    bytes[start..HEADER_MAX_BYTES].copy_from_slice(&front.get_ref()[..length]);
    let mut frame = Cursor::new(bytes);
    frame.set_position(start as u64);
    frame
}

fn object(body: &impl Serialize) -> Frame {
    // Structs of strings and numbers always serialize.
    frame(128, |bytes| serde_json::to_writer(bytes, body).unwrap_or_default())
}

pub(super) fn welcome(user: &UserId, welcome: &Welcome, ping_ms: u64) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        user: &'a str,
        session: Option<&'a str>,
        resumed: bool,
        node: &'a str,
        ping_ms: u64,
        resume: Option<&'a str>,
    }
    object(&Body {
        r#type: "welcome",
        user,
        session: welcome.session.as_deref(),
        resumed: welcome.resumed,
        node: &welcome.node,
        ping_ms,
        resume: welcome.resume.as_deref(),
    })
}

#[derive(Serialize)]
struct Answer {
    r#type: &'static str,
    id: Option<i64>,
}

pub(super) fn ok(id: i64) -> Frame {
    object(&Answer { r#type: "ok", id: Some(id) })
}

pub(super) fn pong(id: Option<i64>) -> Frame {
    object(&Answer { r#type: "pong", id })
}

pub(super) fn error(id: Option<i64>, problem: &Problem) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        id: Option<i64>,
        code: &'static str,
        detail: &'a str,
        after_ms: Option<u64>,
    }
    let Problem { code, detail, after_ms } = problem;
    object(&Body { r#type: "error", id, code: code.name(), detail, after_ms: *after_ms })
}

pub(super) fn unwatched(users: &[UserId]) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        users: &'a [UserId],
    }
    object(&Body { r#type: "unwatched", users })
}

pub(super) fn goodbye(reason: GoodbyeReason, after_ms: u64) -> Frame {
    let json = goodbye_json(reason, after_ms);
    frame(json.len(), |bytes| bytes.extend_from_slice(json.as_bytes()))
}

/// The goodbye's object.
pub(crate) fn goodbye_json(reason: GoodbyeReason, after_ms: u64) -> String {
    let reconnect = !matches!(reason, GoodbyeReason::Replaced | GoodbyeReason::Revoked);
    let reason = reason.name();
    format!("{{\"type\":\"goodbye\",\"reason\":\"{reason}\",\"reconnect\":{reconnect},\"after_ms\":{after_ms}}}")
}

/// How many of `presences` fit into one frame.
pub(crate) fn fitting(presences: &[Arc<EncodedPresence>]) -> usize {
    let mut bytes = AROUND_MAX_BYTES;
    let fits = |presence: &&Arc<EncodedPresence>| {
        bytes += presence.json.len() + 1;
        bytes <= FRAME_MAX_BYTES
    };
    let count = presences.iter().take(WATCH_FRAME_MAX_IDS).take_while(fits).count();
    // One presence is a few KiB; it always fits.
    count.max(1).min(presences.len())
}

fn listed(head: &str, presences: &[Arc<EncodedPresence>], tail: &str) -> Frame {
    let room = presences.iter().map(|p| p.json.len() + 1).sum::<usize>() + head.len() + tail.len();
    frame(room, |bytes| {
        bytes.extend_from_slice(head.as_bytes());
        for (at, presence) in presences.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(presence.json.as_bytes());
        }
        bytes.extend_from_slice(tail.as_bytes());
    })
}

/// The first frame of a snapshot, and the presences that did not fit into it; `None` after the last frame.
pub(super) fn snapshot(
    id: Option<i64>,
    presences: &[Arc<EncodedPresence>],
) -> (Frame, Option<&[Arc<EncodedPresence>]>) {
    let (now, later) = presences.split_at(fitting(presences));
    let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
    let head = format!("{{\"type\":\"snapshot\",\"id\":{id},\"presences\":[");
    let more = !later.is_empty();
    let tail = if more { "],\"more\":true}" } else { "],\"more\":false}" };
    (listed(&head, now, tail), more.then_some(later))
}

/// The first frame of changes, and those that did not fit into it.
pub(super) fn presences(changed: &[Arc<EncodedPresence>]) -> (Frame, &[Arc<EncodedPresence>]) {
    let (now, later) = changed.split_at(fitting(changed));
    (listed("{\"type\":\"presence\",\"presences\":[", now, "]}"), later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(user: &str, bytes: usize) -> Arc<EncodedPresence> {
        let json = format!("{{\"user\":\"{user}\",\"x\":\"{}\"}}", "x".repeat(bytes)).into();
        Arc::new(EncodedPresence { user: UserId::new(user).unwrap(), version: 1, stale: false, json })
    }

    fn payload(frame: &Frame) -> serde_json::Value {
        let bytes = &frame.get_ref()[HEADER_MAX_BYTES..];
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn the_header_stands_right_before_the_payload() {
        for (room, header) in [(10, 2), (200, 4), (70_000, 10)] {
            let frame = frame(room, |b| b.resize(HEADER_MAX_BYTES + room, b'x'));
            let sent = &frame.get_ref()[usize::try_from(frame.position()).unwrap()..];
            assert_eq!((sent.len(), sent[0]), (room + header, 0x81));
        }
    }

    #[test]
    fn a_snapshot_is_split_by_count_and_by_size_and_says_more() {
        let many: Vec<_> = (0..501).map(|n| presence(&n.to_string(), 1)).collect();
        let (first, later) = snapshot(Some(7), &many);
        assert_eq!(payload(&first)["presences"].as_array().unwrap().len(), 500);
        assert_eq!((&payload(&first)["more"], &payload(&first)["id"]), (&true.into(), &7.into()));
        let (last, none) = snapshot(Some(7), later.unwrap());
        assert_eq!(payload(&last)["more"], false);
        assert!(none.is_none());
        let large: Vec<_> = (0..100).map(|n| presence(&n.to_string(), 5_000)).collect();
        let (first, later) = snapshot(None, &large);
        assert!(first.get_ref().len() <= FRAME_MAX_BYTES + HEADER_MAX_BYTES);
        assert!(later.is_some());
    }

    #[test]
    fn an_empty_snapshot_is_one_frame() {
        let (frame, later) = snapshot(None, &[]);
        let json = std::str::from_utf8(&frame.get_ref()[HEADER_MAX_BYTES..]).unwrap();
        assert_eq!(json, r#"{"type":"snapshot","id":null,"presences":[],"more":false}"#);
        assert!(later.is_none());
    }
}
