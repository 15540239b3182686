//! A node put together from its parts: homes, sockets, ties, and the tasks that let time pass.
//!
//! The lane and the fan-out are made before the groups, which call them; they begin to work here.

use crate::{
    bounds::TICK_MS,
    clock::Clock,
    doors::{self, Doors},
    home::{
        expiring,
        fanout::Fanout,
        group::Group,
        partition::{HomePartition, HomeRules},
        partition_actor::{PartitionActor, PartitionMsg},
    },
    homes::Homes,
    node::Node,
    nodes::AllNodes,
    openings::Openings,
    peers::{
        Links, Peers,
        lane::{Lane, Served},
    },
    sockets::{Sockets, registry::ConnectionLimits},
    ties::Ties,
};
use parking_lot::Mutex;
use ractor::{Actor, ActorRef};
use rollcall_presence::Holder;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

/// What a node is made of.
pub struct Parts {
    /// This node.
    pub holder: Holder,
    /// Every partition's group, in order.
    pub groups: Vec<Arc<dyn Group>>,
    /// What the groups tell of what they apply.
    pub fanout: Arc<Fanout>,
    /// What the links call.
    pub lane: Arc<Lane>,
    /// The way to other nodes.
    pub links: Arc<dyn Links>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How presence behaves.
    pub presence: rollcall_config::Presence,
    /// What is bounded.
    pub limits: rollcall_config::Limits,
}

/// A node that works; its tasks and actors end with [`stop`](Self::stop).
pub struct Assembled {
    /// The node.
    pub node: Arc<Node>,
    /// What it ties to homes.
    pub ties: Arc<Ties>,
    /// The nodes that its homes tell.
    pub nodes: Arc<AllNodes>,
    actors: Vec<ActorRef<PartitionMsg>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Assembled {
    /// Puts a node together, and starts it.
    ///
    /// # Errors
    /// When an actor does not start.
    pub async fn new(parts: Parts) -> Result<Self, ractor::SpawnErr> {
        let Parts { holder, groups, fanout, lane, links, clock, presence, limits } = parts;
        let rules = HomeRules {
            visibility: presence.visibility,
            session_ttl_ms: presence.session_ttl_ms,
            grace_ms: presence.grace_ms,
            history_age_ms: limits.history_age_s.saturating_mul(1_000),
        };
        let at_most = ConnectionLimits { node: limits.connections, user: limits.connections_per_user };
        let count = u16::try_from(groups.len()).unwrap_or(u16::MAX);
        let sockets = Sockets::new(holder.clone(), at_most, count);
        let peers = Peers::new(holder, links);
        let nodes = AllNodes::new(peers.clone());
        let partitions: Vec<Arc<HomePartition>> =
            groups.into_iter().map(|group| HomePartition::new(group, rules, clock.clone(), nodes.clone())).collect();
        let homes = Homes::new(partitions.clone(), peers.clone());
        let ties = Ties::new(homes.clone(), sockets.clone(), clock.clone());
        let node = Arc::new(Node {
            clock,
            presence,
            limits: limits.clone(),
            homes: homes.clone(),
            sockets,
            nodes: nodes.clone(),
            doors: Doors::default(),
            openings: Openings::new(limits.connects_in_flight),
        });
        nodes.begin(&ties);
        fanout.begin(partitions.clone());
        lane.begin(Served { homes, ties: ties.clone(), node: node.clone(), started: Instant::now() });
        let mut actors = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (actor, _) = PartitionActor::spawn(None, PartitionActor, partition).await?;
            actors.push(actor);
        }
        let tasks = vec![
            tokio::spawn(tick(node.clone(), ties.clone())),
            tokio::spawn(follow_placement(node.clone(), peers.clone())),
            tokio::spawn(follow_standing(ties.clone(), peers.clone())),
            tokio::spawn(doors::watch_isolation(node.clone(), peers.clone())),
            tokio::spawn(doors::watch_drain(node.clone(), peers)),
            tokio::spawn(tell_heard(node.clone())),
            tokio::spawn(expiring::drop_expired(node.homes.partitions().to_vec())),
        ];
        Ok(Self { node, ties, nodes, actors, tasks: Mutex::new(tasks) })
    }

    /// Ends the actors and tasks. The groups and links are the caller's to end.
    pub fn stop(&self) {
        for actor in &self.actors {
            actor.stop(None);
        }
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

/// Lets time pass for every partition.
async fn tick(node: Arc<Node>, ties: Arc<Ties>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        node.homes.partitions().iter().for_each(|p| p.tick());
        node.homes.readers().drop_idle();
        ties.tick();
    }
}

/// Whenever members came, went or died, homes look for sessions that nobody is there to end.
async fn follow_placement(node: Arc<Node>, peers: Arc<Peers>) {
    let mut placement = peers.links().placement();
    let mut known = peers.live();
    while placement.changed().await.is_ok() {
        placement.borrow_and_update();
        let now = peers.live();
        if now != known {
            known = now;
            node.homes.partitions().iter().for_each(|p| p.sweep());
        }
    }
}

/// Whether this node reaches a majority decides whether it may believe what it holds.
async fn follow_standing(ties: Arc<Ties>, peers: Arc<Peers>) {
    let mut confirmed = peers.links().confirmed();
    let mut known = true;
    loop {
        let now = *confirmed.borrow_and_update();
        if now != known {
            known = now;
            ties.confirmed(now);
        }
        if confirmed.changed().await.is_err() {
            return;
        }
    }
}

/// Homes tell their replicas when sessions were last heard.
async fn tell_heard(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(crate::bounds::LAST_HEARD_EVERY_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        node.homes.tell_heard();
    }
}
