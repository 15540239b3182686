//! Every bound of the store and of the Raft groups, each with its reason.
//!
//! Bounds of the rules (`presence`) are not repeated here. What is said to "wait" holds its caller back; nothing is dropped.

/// Longest stored value, bytes; longer ones are cut into pieces. sled splits leaves by count, and moves a leaf of
/// 128 KiB into a file that it never syncs: 17 values of this size stay far below.
pub(crate) const VALUE_MAX_BYTES: usize = 4_096;
/// Appends that one round takes, bytes: a round of this size takes some 10 ms, and its callers wait for all of it.
pub(crate) const ROUND_APPEND_MAX_BYTES: usize = 1_024 * 1_024;
/// Applied rows that one round takes, bytes. For the same reason.
pub(crate) const ROUND_STATE_MAX_BYTES: usize = 1_024 * 1_024;
/// Bulk work (snapshots, purges) that one round takes, bytes: it must never be felt by a write.
pub(crate) const ROUND_BULK_MAX_BYTES: usize = 256 * 1_024;
/// Appends waiting for the writer, bytes over all groups; more wait.
pub(crate) const APPEND_QUEUE_MAX_BYTES: usize = 32 * 1_024 * 1_024;
/// Applied rows not yet synced, bytes over all groups; applying waits beyond. They live in memory, in the overlay.
pub(crate) const OVERLAY_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// Applied rows are in the log already, so that nobody waits for them: a round of their own comes after this time, ms,
/// unless an append takes them along before.
pub(crate) const LAZY_MAX_MS: u64 = 100;
/// Applied rows that start a round of their own at once, bytes: half of what waits, so that applying does not stop.
pub(crate) const LAZY_MAX_BYTES: usize = OVERLAY_MAX_BYTES / 2;
/// A round that takes longer than this, ms, makes the node give up its leaderships: less than clients wait.
pub(crate) const STALL_YIELD_MS: u64 = 2_000;
/// A round that takes longer than this, ms, ends the process: the disk is gone, and others should take over for good.
pub(crate) const STALL_FATAL_MS: u64 = 30_000;
/// How often the writer is looked after, ms: a quarter of what must be noticed.
pub(crate) const STALL_CHECK_MS: u64 = STALL_YIELD_MS / 4;

/// Entries of one group between proposal and answer: the next ones gather commands meanwhile, which makes them larger.
pub(crate) const ENTRIES_IN_FLIGHT: usize = 4;
/// Commands of one entry, bytes: a quarter of what is decoded at most.
pub(crate) const ENTRY_MAX_BYTES: usize = 1_024 * 1_024;
/// How long a proposer waits for its outcome, ms: longer than a failover, shorter than a client's patience.
pub(crate) const PROPOSE_DEADLINE_MS: u64 = 5_000;

/// Writes to the placement in flight; more are refused as busy. They come one by one from a few tasks a member.
pub(crate) const PLACEMENT_WRITES_IN_FLIGHT: usize = 64;
/// How long a voter has to answer before leadership is handed to it, ms: a heartbeat there and back, on a busy machine.
pub(crate) const PROBE_DEADLINE_MS: u64 = 400;
/// How long a leader waits to see another one take over, ms: a transfer takes milliseconds, and elections in between a timeout.
pub(crate) const TRANSFER_DEADLINE_MS: u64 = 3_000;
/// How long a group that is being dropped may go on using its store, ms: it first finishes what it applies or installs.
pub(crate) const REPLICA_END_MS: u64 = 10_000;

/// Log entries kept in memory a group once they are on disk, until applied: followers apply soon after.
pub(crate) const RECENT_MAX_ENTRIES: usize = 256;
/// Log that one read returns at most, bytes: what a peer is sent at once.
pub(crate) const LOG_READ_MAX_BYTES: usize = 1_024 * 1_024;
/// Log after which a group's state is recorded as a snapshot, bytes: bounds the disk, and what a restart reads.
pub(crate) const SNAPSHOT_LOG_MAX_BYTES: u64 = 4 * 1_024 * 1_024;
/// Log after which a group's state is recorded as a snapshot, entries.
pub(crate) const SNAPSHOT_LOG_MAX_ENTRIES: u64 = 2_000;
/// Entries kept behind a snapshot, for followers that are a little late. They hold up to 64 commands and 1 MiB each: more of
/// them would undo what [`SNAPSHOT_LOG_MAX_BYTES`] bounds.
pub(crate) const LOG_KEEP_ENTRIES: u64 = 32;
/// How often groups are looked at for a snapshot, ms; one group at a time, so that they are staggered.
pub(crate) const SNAPSHOT_CHECK_MS: u64 = 500;
/// How long an erasure waits for the snapshot that it needs, ms, before another group has its turn: a few rounds of the writer.
pub(crate) const ERASE_STEP_MS: u64 = 2_000;
/// One chunk of a streamed snapshot, bytes: half of what a round takes of bulk work.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = ROUND_BULK_MAX_BYTES / 2;
/// Old rows kept for one stream that is slower than the writes, bytes; beyond, the stream breaks and starts afresh.
pub(crate) const STREAM_KEPT_MAX_BYTES: usize = 16 * 1_024 * 1_024;

/// Messages waiting in each channel of a Raft group: openraft allots them at once, and a group has few.
pub(crate) const RAFT_CHANNEL_SIZE: u64 = 256;
/// Entries of one append to a peer: with entries of up to 1 MiB, few are much.
pub(crate) const RAFT_PAYLOAD_ENTRIES: u64 = 64;
/// A learner this many entries behind counts as caught up; entries hold up to 64 commands.
pub(crate) const RAFT_LAG_ENTRIES: u64 = 64;
/// Groups wake the process at multiples of this, ms, together: half of openraft's tick of 40 ms, so that no tick is left out.
pub(crate) const WAKE_GRID_MS: u64 = 20;
/// Rows of a user that fill a part of a backup, bytes: with one more row and what is small it stays below the bound of a part.
pub(crate) const BACKUP_PART_FILL_BYTES: usize = 96 * 1_024;

/// How often a node tells the placement leader that it lives, ms: a tenth of the lease, so that a few may be lost.
pub(crate) const LEASE_SEND_MS: u64 = 500;
/// Silence after which a node is declared dead, ms: longer than any failover of the placement group itself, which takes 1.2 s
/// at default timers, and than a pause of the program that is to be survived.
pub(crate) const LEASE_MS: u64 = 5_000;
/// How often the placement leader makes sure that it is awake, ms.
pub(crate) const AWAKE_EVERY_MS: u64 = 500;
/// Time between two looks after which the placement leader was not awake, ms: it heard nobody meanwhile. Together with a lost
/// sign of life less than a lease by far.
pub(crate) const AWAKE_MAX_MS: u64 = 1_500;
/// How far a node's clock may be from the middle one of all before it is given nothing to lead, ms: its commands would move
/// the time of its partitions.
pub(crate) const CLOCK_OFF_MAX_MS: u64 = 2_000;
/// Signs of life in a row that must say so: one may have been long on its way.
pub(crate) const CLOCK_OFF_LEASES: u8 = 3;
/// Clocks that make a middle one: of two nobody knows which is wrong.
pub(crate) const CLOCKS_MIN: usize = 3;
/// How long the answer to a lease is waited for, ms: two sendings; a later one says nothing new.
pub(crate) const LEASE_ANSWER_MS: u64 = 1_000;
/// Time without an answer after which a node no longer stands confirmed, ms: four sendings.
pub(crate) const STANDING_MS: u64 = 2_000;
/// Time without an answer after which a node asks by address, ms: the leader may be one that it does not know.
pub(crate) const LOST_MS: u64 = 10_000;
/// The placement leader plans at most this often, ms: what happens within is planned for at once.
pub(crate) const PLAN_EVERY_MS: u64 = 100;
/// Everything that is driven by events is looked at this often anyway, ms: no event is worth a stuck cluster.
pub(crate) const SWEEP_MS: u64 = 1_000;
/// How long a step of a group (a membership change, a hand-over) may take, ms, before it is looked at again.
pub(crate) const STEP_MS: u64 = 5_000;
/// How long the program above may take to prepare a hand-over, ms: what it hands over is a kindness, not a truth.
pub(crate) const HANDING_OVER_MS: u64 = 2_000;
/// A voter that has missed more heartbeats than this, and a moment, ms, is not handed anything: it may be dead.
pub(crate) const HEARTBEATS_MISSED_MAX: u64 = 3;
pub(crate) const HEARTBEAT_SLACK_MS: u64 = 500;
/// How long whoever asks the placement leader tries to find it, ms: longer than an election.
pub(crate) const ASK_LEADER_MS: u64 = 5_000;
/// Pause before the placement leader is looked for again, ms.
pub(crate) const ASK_AGAIN_MS: u64 = 100;
/// How long a node that belongs to a cluster listens, before its groups run, whether those it was told of are of another one,
/// ms: long enough for whoever is there, and of no weight in a failover.
pub(crate) const GREET_MS: u64 = 1_500;
/// First and longest pause between rounds of asking addresses to be let in, ms.
pub(crate) const JOIN_PAUSE_MS: (u64, u64) = (100, 2_000);
/// How long a node that was removed is still talked to, ms: it should hear of it.
pub(crate) const FAREWELL_MS: u64 = 10_000;
/// How long the placement group waits for a removed node to have heard of it, ms: less than the above.
pub(crate) const FAREWELL_HEARD_MS: u64 = 5_000;
/// How long the first start waits for the placement to be founded, ms: one election of a single voter, and one write.
pub(crate) const FOUND_MS: u64 = 30_000;
/// Questions about the cluster that are carried out at once; more are turned away as busy. Each is small, and leases are one a
/// member.
pub(crate) const CONTROL_IN_FLIGHT: usize = 256;
/// What the database keeps in memory while a stopped node is looked at or recovered, bytes: as a running one does by default.
pub(crate) const RECOVER_CACHE_BYTES: u64 = 32 * 1_024 * 1_024;
