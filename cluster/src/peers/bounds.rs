//! Every bound of the links, each with its reason.
//!
//! Queues refuse when they are full; waits end with an error. Bounds of the store stand in `limits.rs`.

use rollcall_presence::limits::MEMBERS_MAX;

/// The version of the links' protocol; nodes of another one refuse each other.
pub(crate) const PROTOCOL: u16 = 1;
/// Longest frame, bytes: what the codec of the messages in it takes at most.
pub(crate) const FRAME_MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// Messages that are ready at once go into one frame up to this size, bytes: merges the heartbeats of all groups, and is
/// small enough that nothing waits for a frame to be filled.
pub(crate) const FRAME_MERGE_BYTES: usize = 64 * 1_024;
/// Longest message, bytes: one fits into a frame behind others that were merged.
pub(crate) const MESSAGE_MAX_BYTES: usize = FRAME_MAX_BYTES - 2 * FRAME_MERGE_BYTES;

/// Messages waiting on the Raft lane: eight for each of 1,024 groups. What comes then is refused as unreachable.
pub(crate) const RAFT_QUEUE_MAX_MESSAGES: usize = 8_192;
/// Bytes waiting on the Raft lane: eight appends of the largest size.
pub(crate) const RAFT_QUEUE_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Messages waiting on the presence lane: a second of a busy node. When they are more, the peer is too slow, and the
/// lane is dropped: repair then sends less than what waits here.
pub(crate) const PRESENCE_QUEUE_MAX_MESSAGES: usize = 65_536;
/// Bytes waiting on the presence lane; beyond, the same.
pub(crate) const PRESENCE_QUEUE_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Messages waiting on the other lanes: a window of chunks, and signs of life.
pub(crate) const OTHER_QUEUE_MAX_MESSAGES: usize = 64;

/// Questions of one lane that are being answered at once; more are refused unread, so that the reader never waits.
pub(crate) const ANSWERING_MAX: usize = 4_096;
/// How long a group may take over an answer, ms: several election timeouts; who asked has given up long before.
pub(crate) const RAFT_ANSWER_MAX_MS: u64 = 10_000;
/// How long any answer may take, ms, whatever deadline the question names.
pub(crate) const ANSWER_MAX_MS: u64 = 60_000;
/// How long a connection may take to come about, ms: longer than a lost SYN takes to be sent again.
pub(crate) const CONNECT_MAX_MS: u64 = 2_000;
/// How long a handshake may take, ms, the connection included.
pub(crate) const HANDSHAKE_MAX_MS: u64 = 3_000;
/// How long the answer to a node that asks to join may take, ms: it waits for commits.
pub(crate) const JOIN_MAX_MS: u64 = 15_000;
/// First wait before a link is tried again, ms: a restarted process is back that soon.
pub(crate) const BACKOFF_MIN_MS: u64 = 50;
/// Longest wait before a link is tried again, ms: what a healed link costs at most beyond the healing.
pub(crate) const BACKOFF_MAX_MS: u64 = 1_000;
/// How long leaving peers may take to be told goodbye, ms: it is a courtesy.
pub(crate) const GOODBYE_MAX_MS: u64 = 500;

/// Chunks of a snapshot that are sent ahead of the receiver's taking them, 128 KiB each: fills a fast link, and
/// little memory.
pub(crate) const SNAPSHOT_WINDOW: usize = 4;
/// Snapshots sent to one peer at once: they share its disk, which takes bulk work slowly on purpose.
pub(crate) const SNAPSHOTS_TO_ONE_MAX: usize = 2;
/// Snapshots received at once, from all peers.
pub(crate) const SNAPSHOTS_FROM_ALL_MAX: usize = 16;
/// A side of a snapshot says at least this often that it lives, ms.
pub(crate) const SNAPSHOT_ALIVE_MS: u64 = 2_000;
/// A snapshot breaks off when the other side was silent for this long, ms: five signs of life lost.
pub(crate) const SNAPSHOT_SILENCE_MS: u64 = 10_000;

/// Streams of strangers whose handshake is going on; more are refused. Each may hold one frame.
pub(crate) const STRANGERS_MAX: usize = 64;
/// Connections accepted at once: every member has one for its lanes and a few for snapshots, and dials again while the old
/// ones are not yet known to be dead.
pub(crate) const CONNECTIONS_MAX: usize = 8 * MEMBERS_MAX;
/// Streams of one connection: two lanes, and the same again while the old ones end.
pub(crate) const STREAMS_MAX: u32 = 8;
/// The window of one stream, bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1_024 * 1_024;
/// The window of one connection, bytes: four times two lanes, so that one stalled stream never holds the other.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 * STREAM_WINDOW_BYTES;

const _: () = assert!(MESSAGE_MAX_BYTES + FRAME_MERGE_BYTES < FRAME_MAX_BYTES);
