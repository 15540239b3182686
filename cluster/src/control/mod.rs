//! The control of the cluster: who belongs to it, who lives, who keeps what, and the steps that get there.
//!
//! Everything is driven by committed state: the placement says what should be, a group's own membership how far it is. Relies
//! on [`Hosting`] for replicas and on a link for peers. Promises that a crash at any step loses no step, and that nothing here
//! costs a timer per partition.

mod admin;
mod answering;
mod asking;
mod carrier;
mod carrying;
mod fence;
mod joining;
mod keeping;
mod leading;
mod leases;
pub(crate) mod message;
mod pulse;
mod settling;
mod standing;

pub use admin::AdminError;
pub(crate) use joining::{Asked, greet, join};
pub(crate) use message::Introduced;
pub use standing::ClusterStanding;

use crate::{
    hosting::Hosting,
    limits::CONTROL_IN_FLIGHT,
    options::{HandingOver, WallClock},
    peers::PeerLink,
    placement_group::PlacementGroup,
    role::Role,
    side::Side,
};
use carrier::Carrier;
use leases::LeaseTable;
use parking_lot::Mutex;
use rollcall_presence::{Newcomer, NodeName, PartitionId, Placement};
use standing::Confirmed;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};

/// What the control stands on.
pub(crate) struct Foundation {
    /// This node, as it offers itself.
    pub(crate) about: Newcomer,
    /// The cluster.
    pub(crate) cluster_id: String,
    /// How many partitions it has.
    pub(crate) partitions: u16,
    /// Replicas wanted, if this node founds it.
    pub(crate) replication: u8,
    /// Whether this node founds it.
    pub(crate) founder: bool,
    /// Addresses to ask.
    pub(crate) join: Vec<String>,
    /// How long a dead node's replicas wait for it, ms.
    pub(crate) replace_after_ms: u64,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) link: Arc<dyn PeerLink>,
    pub(crate) side: Arc<Side>,
    pub(crate) handing_over: Option<HandingOver>,
    pub(crate) wall_clock: WallClock,
}

/// The control of the cluster, as far as this node takes part.
pub(crate) struct Control {
    base: Foundation,
    started: Instant,
    leases: Mutex<LeaseTable>,
    /// Somebody is heard again, or leads something or nothing.
    lease_news: Notify,
    /// Say at once that this node lives.
    pulse_now: Notify,
    standing: watch::Sender<ClusterStanding>,
    confirmed: watch::Sender<Option<Confirmed>>,
    removed: watch::Sender<bool>,
    room: Semaphore,
    carrier: Carrier,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Control {
    /// Starts everything that goes on by itself.
    pub(crate) fn start(base: Foundation) -> Arc<Self> {
        let control = Arc::new(Self {
            base,
            started: Instant::now(),
            leases: Mutex::default(),
            lease_news: Notify::new(),
            pulse_now: Notify::new(),
            standing: watch::Sender::new(ClusterStanding::default()),
            confirmed: watch::Sender::new(None),
            removed: watch::Sender::new(false),
            room: Semaphore::new(CONTROL_IN_FLIGHT),
            carrier: Carrier::default(),
            tasks: Mutex::default(),
        });
        control.base.side.answer_with(&control);
        let tasks = vec![
            tokio::spawn(Arc::clone(&control).keep_replicas()),
            tokio::spawn(Arc::clone(&control).pulse()),
            tokio::spawn(Arc::clone(&control).settle()),
            tokio::spawn(Arc::clone(&control).lead()),
            tokio::spawn(Arc::clone(&control).carry_out()),
        ];
        control.tasks.lock().extend(tasks);
        control
    }

    /// Ends everything that goes on by itself.
    pub(crate) fn stop(&self) {
        for task in std::mem::take(&mut *self.tasks.lock()) {
            task.abort();
        }
        self.carrier.stop();
    }

    pub(crate) fn me(&self) -> &NodeName {
        &self.base.about.name
    }

    /// The placement as applied here.
    pub(crate) fn placement(&self) -> watch::Receiver<Arc<Placement>> {
        self.base.hosting.placement()
    }

    pub(crate) fn placement_now(&self) -> Arc<Placement> {
        self.placement().borrow().clone()
    }

    pub(crate) fn standing(&self) -> watch::Receiver<ClusterStanding> {
        self.standing.subscribe()
    }

    pub(crate) fn is_removed(&self) -> bool {
        *self.removed.borrow()
    }

    /// Who leads the placement, as far as this node knows.
    pub(crate) fn placement_leader(&self) -> Option<NodeName> {
        match self.base.hosting.placement_role() {
            Role::Home { .. } => Some(self.me().clone()),
            Role::Follower { leader } => leader,
        }
    }

    fn placement_group(&self) -> Option<PlacementGroup> {
        self.base.hosting.placement_group()
    }

    fn leads_placement(&self) -> bool {
        matches!(self.base.hosting.placement_role(), Role::Home { .. })
    }

    /// The groups that this node leads, without the placement.
    fn led(&self) -> Vec<PartitionId> {
        let partitions = self.base.hosting.partitions().iter();
        let led = partitions.filter(|partition| matches!(partition.role_now(), Role::Home { .. }));
        led.map(|partition| partition.id()).collect()
    }

    /// Identities by name, of all members.
    fn ids(placement: &Placement) -> BTreeMap<&NodeName, u64> {
        placement.members.iter().map(|(name, member)| (name, member.raft_id)).collect()
    }

    /// Since the start, ms.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the placement as applied here says that this very start of this node belongs to the cluster.
    fn is_settled(&self, placement: &Placement) -> bool {
        let me = &self.base.about;
        let known = placement.members.get(&me.name);
        known.is_some_and(|member| member.raft_id == me.raft_id && member.generation == me.generation)
    }
}

/// What the answering side of the links holds of the control.
pub(crate) type WeakControl = Weak<Control>;
