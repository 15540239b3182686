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
/// Subjects of one message between nodes: each answer up to 3.6 KiB, so that all fit a peer frame of 4 MiB.
pub const SUBJECTS_PER_REQUEST: usize = 500;
/// Contact changes waiting for a connection to follow them: all contacts of a user and one bulk call. Later ones replace
/// earlier ones of the same contact, so the map never holds more users than were contacts.
pub const FOLLOWS_MAX: usize = 6_000;
/// How often what a home did not answer is repeated, ms: an election takes as long.
pub const END_RETRY_MS: u64 = 1_000;
/// Users of a partition that are looked at for what has expired, a look: some milliseconds of reading, with applying held back.
pub const EXPIRED_LOOK_USERS: usize = 64;
/// Time between such looks, ms: 64 users a second and partition, a million users of 32 partitions in eight minutes.
pub const EXPIRED_LOOK_MS: u64 = 1_000;
/// Looks are made from the first user on again after this time at the latest, ms: what has expired is not shown anyway, and answers to
/// idempotency keys, which live for ten minutes, are not left to lie for long.
pub const EXPIRED_PASS_MS: u64 = 3_600_000;
/// When a deadline that could not be acted on comes due again, ms.
pub const DUE_AGAIN_MS: u64 = 1_000;
/// Questions in flight to one peer; more are refused as busy. A partition takes as many writes at once.
pub const PEER_QUESTIONS_MAX: usize = 8_192;
/// Sessions of a partition of which a replica remembers when they were heard: 100 bytes each.
pub const LAST_HEARD_MAX: usize = 100_000;
/// Sessions of one message about when they were heard: 200 bytes each, well below a peer frame's limit.
pub const LAST_HEARD_PER_MESSAGE: usize = 4_000;
/// How often replicas are told when sessions were heard, ms: `last_seen` loses at most that when a home dies.
pub const LAST_HEARD_EVERY_MS: u64 = 10_000;
/// How long what a home handed over is good for deadlines, ms: a transfer takes a few milliseconds, or is given up.
pub const HANDED_OVER_MAX_MS: u64 = 10_000;
/// Ties of one page to a home: about 130 bytes each, and up to 3.6 KiB a changed presence in the answer, which fits a peer frame.
pub const TIES_PER_PAGE: usize = 500;
/// How often node and home compare what is tied, ms; a difference that no gap showed lives no longer.
pub const COMPARE_EVERY_MS: u64 = 30_000;
/// When a comparison that differed is made again, ms: what was on the way has arrived by then.
pub const COMPARE_AGAIN_MS: u64 = 1_000;
/// When an announcement that did not reach a home is made again, ms: a third of an election.
pub const TIE_RETRY_MS: u64 = 300;
/// How long a home may be lost before its users are stale to their watchers, ms: an election is over by then as a rule.
pub const HOME_LOST_MS: u64 = 2_000;
/// How long one part of an announcement may take, ms.
pub const TIE_DEADLINE_MS: u64 = 3_000;
/// Partitions that are announced at once: bounds the memory that pages take.
pub const ANNOUNCED_AT_ONCE: usize = 8;
/// How long a request that was not sent anywhere waits for a home, ms: an election, and less than the caller's patience.
pub const HOME_WAIT_MS: u64 = 3_000;
/// How long a read that may be stale waits for a home, ms: a handed-over leadership is there again by then.
pub const STALE_AFTER_MS: u64 = 300;
/// How often a request that waits for a home looks for a way to it although nothing was heard, ms.
pub const HOME_LOOK_MS: u64 = 50;
/// How long one message of a hand-over may take, ms: the transfer waits for it, and clients for the transfer.
pub const HAND_OVER_MS: u64 = 500;
/// How long an operator's question waits for the reports of nodes, ms.
pub const REPORT_DEADLINE_MS: u64 = 1_000;
/// How long after the last sign of a majority was missed clients are sent elsewhere, ms: with the two seconds that it takes to miss
/// one, ten seconds without the cluster.
pub const ISOLATED_AFTER_MS: u64 = 8_000;
/// Clients that are sent elsewhere come back spread over this time, ms.
pub const RETURN_SPREAD_MS: u64 = 2_000;
/// Connections of a node that is being emptied that are sent elsewhere at once: 2,000 a second.
pub const DRAIN_BATCH: usize = 200;
/// Time between such batches, ms.
pub const DRAIN_BATCH_MS: u64 = 100;
/// How long a node that is being emptied waits for its partitions to have other homes, ms.
pub const DRAIN_WAIT_MS: u64 = 10_000;
/// How long one try of a request that may be repeated takes at most, ms: a home that vanished without a word is another one by then.
pub const HOME_TRY_MS: u64 = 1_500;
/// How long a home may take to confirm its lease, ms: a valid one is confirmed at once, and a read index takes one round trip.
pub const CONFIRM_MS: u64 = 500;
/// Backups that a node makes at once: each reads all disks of the cluster. Further ones are refused with a time to come back.
pub const BACKUPS_AT_ONCE: usize = 1;
/// Pages of a backup in memory that its client has not taken yet: one is sent while the next is read, each up to 0.3 MiB.
pub const BACKUP_PAGES_AHEAD: usize = 2;
/// Sections that are read at a node's homes at once, for backups of all nodes: for each up to 16 MiB of changed rows are kept.
pub const BACKUP_READERS_MAX: usize = 4;
/// How long a section is held for whoever does not ask for more, ms: longer than a client may stall before it is closed.
pub const BACKUP_IDLE_MS: u64 = 60_000;
/// How long one page may take, ms: it is read at once, and a link that does not answer by then is lost.
pub const BACKUP_PAGE_MS: u64 = 5_000;
/// How often a section is begun again before the backup fails, and the pause between, ms: together longer than a failover.
pub const BACKUP_TRIES: u32 = 8;
/// The pause before a section is begun again, ms.
pub const BACKUP_AGAIN_MS: u64 = 1_000;
/// Users that one request restores side by side: as many commands as an entry holds.
pub const RESTORED_AT_ONCE: usize = 64;
