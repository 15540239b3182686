//! Every queue of a node and its bound, with the reason.

/// Messages waiting for one user's actor; more are refused as busy. A user's 32 sessions never need more, a flood does.
pub const USER_MAILBOX_MAX: u32 = 256;
/// Deadlines taken from a partition's wheel per tick: paces mass endings to 2,000 a second and partition.
pub const DUE_PER_TICK: usize = 200;
/// How often wheels are looked at, ms: a tenth of the shortest useful TTL.
pub const TICK_MS: u64 = 100;
/// How long a request to a home may take before its outcome counts as unknown, ms: two elections.
pub const HOME_DEADLINE_MS: u64 = 5_000;
/// When a client that was refused for load may come back, ms.
pub const RETRY_AFTER_MS: u64 = 1_000;
/// Presences given to a socket at once. Contract, section 8.
pub const DELIVERY_MAX: usize = 500;
/// Subjects of one message between nodes: 128 bytes each, well below a peer frame's limit.
pub const SUBJECTS_PER_REQUEST: usize = 2_000;
/// Contact changes waiting for a connection to follow them: all contacts of a user and one bulk call. Later ones replace
/// earlier ones of the same contact, so the map never holds more users than were contacts.
pub const FOLLOWS_MAX: usize = 6_000;
/// How often what a home did not answer is repeated, ms: an election takes as long.
pub const END_RETRY_MS: u64 = 1_000;
/// When a deadline that could not be acted on comes due again, ms.
pub const DUE_AGAIN_MS: u64 = 1_000;
