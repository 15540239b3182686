//! Every bound of the rules, each with its reason.
//!
//! Bounds fixed by the contract (`API.md`) are constants. Capacities that an operator may set travel inside each
//! entry ([`Policy`](crate::Policy)), so that every replica applies the same ones.

/// Longest user id, bytes. Contract, section 1.
pub const USER_ID_MAX_BYTES: usize = 128;
/// Longest session id, bytes. Contract, section 1.
pub const SESSION_ID_MAX_BYTES: usize = 64;
/// Longest device name, bytes. Contract, section 1.
pub const DEVICE_MAX_BYTES: usize = 32;
/// Longest node name, bytes: it stands in every session record.
pub const NODE_NAME_MAX_BYTES: usize = 64;
/// Longest status text, bytes. Contract, section 4.
pub const TEXT_MAX_BYTES: usize = 512;
/// Largest `meta` of a status, bytes of compact JSON. Contract, section 4.
pub const STATUS_META_MAX_BYTES: usize = 2_048;
/// Longest profile name, bytes. Contract, section 6.
pub const PROFILE_NAME_MAX_BYTES: usize = 128;
/// Largest `meta` of a profile, bytes of compact JSON. Contract, section 6.
pub const PROFILE_META_MAX_BYTES: usize = 4_096;
/// Longest `expires_in_s`, seconds: a year. Contract, section 6.
pub const EXPIRES_IN_MAX_S: u64 = 31_536_000;
/// Most ids in one bulk call of a list. Contract, section 6.
pub const LIST_CHANGE_MAX_IDS: usize = 1_000;
/// Most ids in one query. Contract, section 7.
pub const QUERY_MAX_IDS: usize = 500;
/// Most users in one watch frame, and presences in one snapshot frame. Contract, section 8.
pub const WATCH_FRAME_MAX_IDS: usize = 500;
/// Most explicit watches of a connection. Contract, section 8.
pub const WATCHES_MAX: u32 = 5_000;
/// Largest `limit` of a list. Contract, section 1.
pub const PAGE_MAX: usize = 1_000;
/// `limit` of a list when none is given. Contract, section 1.
pub const PAGE_DEFAULT: usize = 100;
/// Most contacts of a user by default. Contract, section 6.
pub const CONTACTS_MAX: u32 = 5_000;
/// Most blocks of a user by default. Contract, section 6.
pub const BLOCKS_MAX: u32 = 5_000;
/// Most sessions of a user by default. Contract, section 6.
pub const SESSIONS_MAX: u32 = 32;
/// History entries kept a user by default: bounds what one flapping user may hold on disk.
pub const HISTORY_MAX_ENTRIES: u32 = 1_000;
/// How long history entries are kept by default, seconds: thirty days.
pub const HISTORY_AGE_S: u64 = 2_592_000;
/// History entries that one [`DropExpired`](crate::Intent::DropExpired) drops at most: a millisecond of removing rows.
pub const HISTORY_DROP_MAX: u64 = 256;
/// Expired history entries dropped with each new one at most: more than come, and nobody's write waits for it.
pub const HISTORY_DROP_WITH_ENTRY: u64 = 4;
/// How long an idempotency key is remembered. Contract, section 1.
pub const KEY_LIFETIME_MS: u64 = 600_000;
/// How many idempotency keys a user has at once. Contract, section 1.
pub const KEYS_MAX: usize = 16;
/// Longest idempotency key, bytes. Contract, section 1.
pub const KEY_MAX_BYTES: usize = 64;
/// Most partitions of a cluster: status answers and idle cost grow with them.
pub const PARTITIONS_MAX: u16 = 1_024;
/// Most bytes of one encoded command: a bulk call of 1,000 ids of 128 bytes, and room for its envelope.
pub const COMMAND_MAX_BYTES: usize = 160 * 1_024;
/// Most commands of one Raft entry: applying one never holds a group for longer than a few milliseconds.
pub const ENTRY_MAX_COMMANDS: usize = 64;
/// A tick later than this moves all deadlines by its delay: more than scheduling noise, less than any TTL.
pub const TICK_LATE_MAX_MS: u64 = 1_000;
/// Most members of a cluster: each is named in every status answer and hears from every other once a heartbeat.
pub const MEMBERS_MAX: usize = 64;
/// Longest address of a node, bytes: a host name of 253, a colon, five digits, and the brackets of an IPv6 address.
pub const ADDRESS_MAX_BYTES: usize = 261;
/// Longest version of a node's program, bytes: it is shown to people.
pub const VERSION_MAX_BYTES: usize = 64;
/// Longest cluster id, bytes: it is sent with every handshake.
pub const CLUSTER_ID_MAX_BYTES: usize = 64;
/// Partitions that change their replicas at once, in the whole cluster: bounds what a restart finds half done.
pub const CHANGES_MAX: usize = 8;
/// Changes in which one node sends or receives at once: four snapshot streams are 1 MiB in flight at a round's 256 KiB of
/// bulk, and a cluster of three forms in eight rounds at the default number of partitions.
pub const CHANGES_PER_NODE_MAX: usize = 4;
/// Most voters of the placement group: five survive two losses, and more only make every commit wait longer.
pub const PLACEMENT_VOTERS_MAX: usize = 5;
/// Encoded bytes of one part of a restored user at most: a command with room for its envelope, and half an HTTP body.
pub const RESTORED_PART_MAX_BYTES: usize = 128 * 1_024;
/// How far ahead of the clock a restored time may lie, ms: a day. Time never falls, so that a part moves its partition's time
/// up to its own.
pub const RESTORED_AHEAD_MAX_MS: u64 = 86_400_000;
/// Largest restored version: integers on the wire stay below 2^53, and half of them are left to go on with.
pub const RESTORED_VERSION_MAX: u64 = 1 << 52;
/// How far beyond a restored version its partition goes on: what was published after the backup was made had higher ones,
/// and clients that still hold them must see the new ones as newer. A partition takes weeks at 1,000 changes a second to get there.
pub const RESTORED_VERSION_GAP: u64 = 1 << 32;
