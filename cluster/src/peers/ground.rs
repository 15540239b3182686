//! What all lanes of a node share: who it is, whom it knows, which lanes stand.
//!
//! Promises that nothing runs on once the links have ended.

use super::{
    Peer, PeerAt, PeerSide,
    accept::Accepted,
    bounds::{SNAPSHOTS_FROM_ALL_MAX, SNAPSHOTS_TO_ONE_MAX, STRANGERS_MAX},
    frame::{Kind, Message},
    options::Dial,
    outbox::Outbox,
    pairing::Pair,
    proof::{ClusterKey, Refusal},
    questions::Questions,
    transport::Transport,
};
use parking_lot::{Mutex, RwLock};
use rollcall_presence::{NodeName, limits::MEMBERS_MAX};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::{AbortHandle, JoinSet},
};
use tonic::transport::Channel;

/// A lane to a peer that stands.
pub(crate) struct LiveLane {
    /// Who is at its other end.
    pub(crate) peer: Peer,
    /// What waits to be sent.
    pub(crate) outbox: Arc<Outbox>,
    /// What waits for an answer.
    pub(crate) questions: Questions,
}

/// Where the lane to a peer is found while it stands.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Arc<LiveLane>>>);

impl Slot {
    /// The lane, if it stands.
    pub(crate) fn lane(&self) -> Option<Arc<LiveLane>> {
        self.0.lock().clone()
    }

    /// From now on the lane is `lane`.
    pub(crate) fn fill(&self, lane: &Arc<LiveLane>) {
        *self.0.lock() = Some(Arc::clone(lane));
    }

    /// `lane` has ended.
    pub(crate) fn clear(&self, lane: &Arc<LiveLane>) {
        let mut slot = self.0.lock();
        if slot.as_ref().is_some_and(|standing| Arc::ptr_eq(standing, lane)) {
            *slot = None;
        }
        drop(slot);
        lane.outbox.cut();
        lane.questions.end();
    }
}

/// A member that this node dials.
pub(crate) struct Member {
    /// Where it is reached.
    pub(crate) at: PeerAt,
    /// The way there, for the two lanes.
    pub(crate) channel: Channel,
    /// The lane of Raft.
    pub(crate) raft: Slot,
    /// The lane of the program above.
    pub(crate) presence: Slot,
    /// How many snapshots may be on the way there.
    pub(crate) snapshots: Semaphore,
    /// Says that the member was just heard, so that a lane to it is worth trying.
    pub(crate) heard: Notify,
    /// What keeps the lanes.
    pub(crate) tasks: Mutex<Vec<AbortHandle>>,
}

impl Member {
    /// A member reached over `channel`, with no lane yet.
    #[must_use]
    pub(crate) fn new(at: PeerAt, channel: Channel) -> Arc<Self> {
        Arc::new(Self {
            at,
            channel,
            raft: Slot::default(),
            presence: Slot::default(),
            snapshots: Semaphore::new(SNAPSHOTS_TO_ONE_MAX),
            heard: Notify::new(),
            tasks: Mutex::default(),
        })
    }

    /// Ends its lanes.
    pub(crate) fn end(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

/// Whom this node knows.
#[derive(Default)]
pub(crate) struct Known {
    /// The cluster; empty before there is one.
    pub(crate) cluster_id: String,
    /// The other members.
    pub(crate) members: BTreeMap<NodeName, Arc<Member>>,
}

/// What runs for the links.
pub(crate) struct Tasks {
    handle: Handle,
    set: Mutex<Option<JoinSet<()>>>,
}

impl Tasks {
    /// Runs `task`; not any more once all ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut set = self.set.lock();
        let set = set.as_mut()?;
        while set.try_join_next().is_some() {}
        Some(set.spawn_on(task, &self.handle))
    }

    /// Takes all that runs; nothing more is started.
    pub(crate) fn take(&self) -> Option<JoinSet<()>> {
        self.set.lock().take()
    }

    /// The runtime they run on.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// What all lanes of a node share.
pub(crate) struct Ground {
    /// Who this node is.
    pub(crate) me: Peer,
    /// The cluster key.
    pub(crate) key: ClusterKey,
    /// How connections are made.
    pub(crate) transport: Transport,
    /// Where to dial, if not at the address itself.
    pub(crate) dial: Option<Dial>,
    /// What answers peers.
    pub(crate) side: Arc<dyn PeerSide>,
    /// Whom this node knows.
    pub(crate) known: RwLock<Known>,
    /// What runs.
    pub(crate) tasks: Tasks,
    /// The links are ending.
    pub(crate) stopping: AtomicBool,
    /// Streams that were accepted and proved.
    pub(crate) accepted: Mutex<Vec<Accepted>>,
    /// Room for handshakes.
    pub(crate) strangers: Arc<Semaphore>,
    /// Room for snapshots from peers.
    pub(crate) receiving: Semaphore,
    pairs: Mutex<BTreeMap<NodeName, Arc<Pair>>>,
    refused: Mutex<BTreeMap<NodeName, Refusal>>,
    serial: AtomicU64,
}

impl Ground {
    /// A node that knows nobody yet, on the runtime it is called on.
    #[must_use]
    pub(crate) fn new(
        me: Peer,
        key: ClusterKey,
        transport: Transport,
        dial: Option<Dial>,
        side: Arc<dyn PeerSide>,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            key,
            transport,
            dial,
            side,
            known: RwLock::default(),
            tasks: Tasks { handle: Handle::current(), set: Mutex::new(Some(JoinSet::new())) },
            stopping: AtomicBool::new(false),
            accepted: Mutex::default(),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            receiving: Semaphore::new(SNAPSHOTS_FROM_ALL_MAX),
            pairs: Mutex::default(),
            refused: Mutex::default(),
            serial: AtomicU64::new(0),
        })
    }

    /// Where to dial for a peer.
    pub(crate) fn dialled(&self, at: &PeerAt) -> String {
        self.dial.as_ref().map_or_else(|| at.address.clone(), |dial| dial(&at.name, &at.address))
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &NodeName) -> Option<Arc<Member>> {
        self.known.read().members.get(name).map(Arc::clone)
    }

    /// The cluster; empty before there is one.
    pub(crate) fn cluster_id(&self) -> String {
        self.known.read().cluster_id.clone()
    }

    /// The presence lanes with a peer.
    pub(crate) fn pair(&self, name: &NodeName) -> Arc<Pair> {
        let mut pairs = self.pairs.lock();
        Arc::clone(pairs.entry(name.clone()).or_insert_with(|| Pair::new(Arc::clone(self.side.presence()))))
    }

    /// Only pairs with these are kept.
    pub(crate) fn keep_pairs(&self, keep: impl Fn(&NodeName) -> bool) {
        self.pairs.lock().retain(|name, _| keep(name));
    }

    /// A number that no lane had before.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether `peer` was refused for another reason before, or never: whether it is worth a line in the log.
    pub(crate) fn newly_refused(&self, peer: &NodeName, why: &Refusal) -> bool {
        let mut refused = self.refused.lock();
        if refused.len() >= MEMBERS_MAX && !refused.contains_key(peer) {
            refused.clear();
        }
        refused.insert(peer.clone(), why.clone()).as_ref() != Some(why)
    }

    /// `peer` was taken: its next refusal is news again.
    pub(crate) fn taken(&self, peer: &NodeName) {
        self.refused.lock().remove(peer);
    }

    /// Tells everybody goodbye; their lanes end when the other side has read it.
    pub(crate) fn say_goodbye(&self) {
        let goodbye = |outbox: &Outbox| {
            let _ = outbox.push(Message::bare(Kind::Goodbye)); // a full or ended lane says it by ending
            outbox.finish();
        };
        for member in self.known.read().members.values() {
            [&member.raft, &member.presence].into_iter().filter_map(Slot::lane).for_each(|lane| goodbye(&lane.outbox));
        }
        self.accepted.lock().iter().for_each(|accepted| goodbye(&accepted.outbox));
    }
}
