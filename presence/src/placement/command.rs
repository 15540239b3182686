//! What the placement group commits: imperatives, and why one may be refused.
//!
//! Tags are pinned by their order and a golden-bytes test. A command names the generation it is about, or the change, so
//! that one that comes late or twice does no harm.

use crate::{
    id::NodeName,
    limits::{ADDRESS_MAX_BYTES, CLUSTER_ID_MAX_BYTES, MEMBERS_MAX, PARTITIONS_MAX, VERSION_MAX_BYTES},
    ring::PartitionId,
};
use alloc::{string::String, vec::Vec};
use bincode::{Decode, Encode};

/// A node that asks to belong, with all it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Newcomer {
    /// Its name.
    pub name: NodeName,
    /// Its identity in Raft; a wiped node has a new one.
    pub raft_id: u64,
    /// How often it has started.
    pub generation: u64,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where nodes reach it, `host:port`.
    pub peer: String,
    /// The version of its program.
    pub version: String,
    /// The newest rules that it knows.
    pub rules: u16,
}

/// One wish concerning the placement.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PlacementCommand {
    /// Makes the cluster, with its first member keeping everything.
    Found {
        /// Unguessable; nodes of another cluster are turned away by it.
        cluster_id: String,
        /// How many partitions, for ever.
        partitions: u16,
        /// Replicas wanted: 1 or 3.
        replication: u8,
        /// The first member.
        first: Newcomer,
    },
    /// Lets a node in, or takes note of its restart.
    Admit(Newcomer),
    /// The node's lease ran out.
    DeclareDown {
        /// Who.
        name: NodeName,
        /// The generation whose lease it was.
        generation: u64,
    },
    /// The node is ready, or heard again.
    DeclareUp {
        /// Who.
        name: NodeName,
        /// The generation that was heard.
        generation: u64,
    },
    /// The node hands its leaderships over and keeps its replicas. Its next start ends it. The only node of a cluster has
    /// nobody to hand over to and stays draining.
    Drain {
        /// Who.
        name: NodeName,
    },
    /// A draining node leads nothing any more.
    FinishDrain {
        /// Who.
        name: NodeName,
    },
    /// The node hands everything over, for good.
    Remove {
        /// Who.
        name: NodeName,
    },
    /// A node that is removed keeps nothing any more.
    Forget {
        /// Who.
        name: NodeName,
    },
    /// The node has been down for the replacement time.
    ReplaceGone {
        /// Who.
        name: NodeName,
        /// The generation that has been down.
        generation: u64,
    },
    /// A partition's group goes to other replicas.
    Begin {
        /// Which partition.
        partition: PartitionId,
        /// The wanted voters, one or three.
        voters: Vec<NodeName>,
        /// The wanted learners.
        learners: Vec<NodeName>,
    },
    /// A change under way is given up: the group goes back to what it had, without waiting for any node to catch up.
    Cancel {
        /// Which partition.
        partition: PartitionId,
        /// Which change.
        change: u64,
    },
    /// The group has committed the membership that a change asked for.
    Reached {
        /// Which partition.
        partition: PartitionId,
        /// Which change.
        change: u64,
        /// Its voters.
        voters: Vec<NodeName>,
        /// Its learners.
        learners: Vec<NodeName>,
    },
    /// Another voter should lead.
    PreferLeader {
        /// Which partition.
        partition: PartitionId,
        /// Who should.
        node: NodeName,
    },
    /// The cluster is what one of its nodes has left, under another id: the others are given up for good, and none of them can
    /// come back as who it was.
    Salvage {
        /// Unguessable, and not the one before.
        cluster_id: String,
        /// The node that is left, a member.
        name: NodeName,
    },
}

/// Why a command had no effect. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum PlacementRefusal {
    /// Nothing is there to be changed.
    #[error("no cluster has been founded")]
    NotFounded,
    /// There is a cluster already.
    #[error("this cluster has been founded as {0}")]
    AlreadyFounded(String),
    /// A field of the cluster to be made breaks a bound.
    #[error(
        "a cluster id has 1 to {CLUSTER_ID_MAX_BYTES} bytes, partitions are 1 to {PARTITIONS_MAX}, replication is 1 or 3"
    )]
    BadCluster,
    /// Another node has this name, also a node whose data was wiped.
    #[error("the name {name} belongs to another node; remove that one first, or choose another name")]
    NameInUse {
        /// The name.
        name: NodeName,
    },
    /// Another member has this identity.
    #[error("the data of this node belongs to the member {name}")]
    IdentityInUse {
        /// The member that has it.
        name: NodeName,
    },
    /// A newer start of the node is known, or this start with other addresses.
    #[error("generation {offered} of the node is not newer than {known}")]
    OldGeneration {
        /// The known one.
        known: u64,
        /// The offered one.
        offered: u64,
    },
    /// The command is about another start of the node.
    #[error("the node runs generation {known}, not {named}")]
    OtherGeneration {
        /// The known one.
        known: u64,
        /// The one of the command.
        named: u64,
    },
    /// The node's program is too old or too new to run beside the others.
    #[error("rules version {offered} does not run with this cluster's {ours} (the same or one newer does)")]
    IncompatibleRules {
        /// The rules that the cluster is at.
        ours: u16,
        /// The rules that were offered.
        offered: u16,
    },
    /// An address or version is not one.
    #[error("{0:?} is not an address host:port of at most {ADDRESS_MAX_BYTES} bytes")]
    BadAddress(String),
    /// A version's text is too long.
    #[error("a version has 1 to {VERSION_MAX_BYTES} bytes")]
    BadVersion,
    /// The cluster is full.
    #[error("a cluster has at most {MEMBERS_MAX} members")]
    TooManyMembers,
    /// No member has this name.
    #[error("no member is called {0}")]
    UnknownMember(NodeName),
    /// No partition has this number.
    #[error("no partition {0}")]
    UnknownPartition(PartitionId),
    /// The node is the last that keeps something, or the only one that can hand it over.
    #[error("{0} keeps the last replica of something")]
    LastReplica(NodeName),
    /// Too few others would remain to keep as many replicas.
    #[error("too few nodes remain to replace {0}")]
    TooFewRemain(NodeName),
    /// The member is in a state in which this makes no sense.
    #[error("{0} is in another state")]
    OtherState(NodeName),
    /// The member is still named by a partition.
    #[error("{0} still keeps or leads something")]
    StillNeeded(NodeName),
    /// The partition is changing already.
    #[error("partition {0} is changing already")]
    ChangeUnderWay(PartitionId),
    /// The change is not the one under way, or was not reached.
    #[error("partition {0} was not asked for this")]
    NotAsked(PartitionId),
    /// The wanted replicas break a rule of changes.
    #[error("partition {0} cannot change to this at once")]
    BadTarget(PartitionId),
    /// Too few voters live, now or after the change.
    #[error("partition {0} would have no majority")]
    NoMajority(PartitionId),
    /// The node has no vote there, or hands its leaderships over.
    #[error("{0} cannot lead this partition")]
    CannotLead(NodeName),
}
