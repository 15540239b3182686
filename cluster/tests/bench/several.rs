//! Several nodes of one cluster in one process, over a switchboard.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use super::{DEADLINE, switchboard::Switchboard, until};
use rollcall_cluster::{Cluster, NoPresence, Observer, Options, Role, StartError, Surroundings};
use rollcall_presence::{
    Command, Intent, MemberState, NodeName, Outcome, PartitionId, Placement, UserId, partition_of,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

pub fn node(n: u64) -> NodeName {
    NodeName::new(&format!("n{n}")).unwrap()
}

pub fn address(n: u64) -> String {
    format!("n{n}:7701")
}

/// The nodes by their numbers; the first one founds.
pub struct Several {
    pub board: Arc<Switchboard>,
    pub dir: tempfile::TempDir,
    pub partitions: u16,
    pub nodes: Mutex<BTreeMap<u64, Arc<Cluster>>>,
    pub replace_after_ms: u64,
    pub erase_within_s: u64,
    pub clock: AtomicU64,
    /// Where nodes listen when they are linked over sockets.
    ports: Option<Vec<u16>>,
}

impl Several {
    pub fn new(partitions: u16) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        Self {
            board: Switchboard::new(),
            dir: tempfile::tempdir().unwrap(),
            partitions,
            nodes: Mutex::default(),
            replace_after_ms: 300_000,
            erase_within_s: 3_600,
            clock: AtomicU64::new(1_700_000_000_000),
            ports: None,
        }
    }

    /// The same, linked over sockets of this machine.
    pub fn over_sockets(partitions: u16) -> Self {
        let free = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // All held at once, so that they differ.
        let held: Vec<_> = (0..8).map(free).collect();
        let ports = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        Self { ports: Some(ports), ..Self::new(partitions) }
    }

    fn address_of(&self, n: u64) -> String {
        self.ports
            .as_ref()
            .map_or_else(|| address(n), |ports| format!("127.0.0.1:{}", ports[usize::try_from(n).unwrap()]))
    }

    pub fn options(&self, n: u64, join: &[u64]) -> Options {
        let mut options = Options::new(self.dir.path().join(format!("n{n}")), node(n));
        options.partitions = self.partitions;
        options.heartbeat_ms = 100;
        options.election_ms = 300;
        options.join = join.iter().map(|n| self.address_of(*n)).collect();
        options.join_patience_ms = 20_000;
        match &self.ports {
            Some(_) => options.peer_listen = self.address_of(n).parse().unwrap(),
            None => options.peer_advertise = Some(address(n)),
        }
        options.replace_after_ms = self.replace_after_ms;
        options.erase_within_s = self.erase_within_s;
        options
    }

    /// The options of one that is linked over sockets and listens elsewhere now, as do those that it joins.
    pub fn moved(&self, n: u64, join: &[u64]) -> Options {
        let mut options = self.options(n, &join.iter().map(|n| n + 4).collect::<Vec<_>>());
        options.peer_listen = self.address_of(n + 4).parse().unwrap();
        options
    }

    pub async fn try_start(&self, n: u64, options: Options, key: &[u8]) -> Result<Arc<Cluster>, StartError> {
        let link = self.ports.is_none().then(|| self.board.make_link(&address(n), key));
        let surroundings = Surroundings { link, ..Surroundings::default() };
        let options = Options { cluster_key: key.to_vec(), ..options };
        let cluster = Cluster::start_within(options, Arc::new(Nobody), Arc::new(NoPresence), surroundings).await?;
        self.nodes.lock().unwrap().insert(n, Arc::clone(&cluster));
        Ok(cluster)
    }

    /// Starts a node; the first one founds, others join it.
    pub async fn start(&self, n: u64) -> Arc<Cluster> {
        let join: &[u64] = if n == 1 { &[] } else { &[1, 2] };
        self.try_start(n, self.options(n, join), b"key").await.unwrap()
    }

    pub fn get(&self, n: u64) -> Arc<Cluster> {
        Arc::clone(&self.nodes.lock().unwrap()[&n])
    }

    pub fn running(&self) -> Vec<Arc<Cluster>> {
        self.nodes.lock().unwrap().values().cloned().collect()
    }

    /// Takes a node off the board at once, as a kill would, and ends it.
    pub async fn kill(&self, n: u64) {
        self.board.unplug(&node(n));
        self.stop(n).await;
    }

    pub async fn stop(&self, n: u64) {
        let gone = self.nodes.lock().unwrap().remove(&n).unwrap();
        gone.stop().await;
    }

    pub async fn stop_all(&self) {
        let all: Vec<u64> = self.nodes.lock().unwrap().keys().copied().collect();
        for n in all {
            self.stop(n).await;
        }
    }

    /// The newest placement that any running node knows.
    pub fn placement(&self) -> Arc<Placement> {
        let all = self.running().into_iter().map(|cluster| cluster.placement().borrow().clone());
        all.max_by_key(|placement| placement.epoch).unwrap()
    }

    /// The running node that is the home of a partition, with the highest term.
    pub fn home(&self, id: PartitionId) -> Option<(NodeName, u64)> {
        let homes = self.running().into_iter().filter_map(|cluster| {
            let role = cluster.partition(id).role().borrow().clone();
            match role {
                Role::Home { term } => Some((cluster.identity().node.clone(), term)),
                Role::Follower { .. } => None,
            }
        });
        homes.max_by_key(|(_, term)| *term)
    }

    /// What is not as it should be once `voters` members keep everything in `replicas` copies.
    pub fn unrest(&self, up: usize, voters: usize, learners: usize) -> Vec<String> {
        let placement = self.placement();
        let mut wrong = Vec::new();
        let is_up = placement.members.values().filter(|member| member.state == MemberState::Up).count();
        if is_up != up {
            wrong.push(format!("{is_up} members are up: {:?}", placement.members));
        }
        let mut led: BTreeMap<NodeName, usize> = BTreeMap::new();
        for (id, at) in placement.assignments() {
            if at.target.is_some() || at.voters.len() != voters || at.learners.len() != learners {
                wrong.push(format!("{id}: {at:?}"));
                continue;
            }
            match self.home(id) {
                Some((home, _)) if Some(&home) == at.leader.as_ref() => *led.entry(home).or_default() += 1,
                home => wrong.push(format!("{id} is led by {home:?}, not {:?}", at.leader)),
            }
            for cluster in self.running() {
                let name = &cluster.identity().node;
                if cluster.partition(id).held() != at.is_hosted_by(name) {
                    wrong.push(format!("{id} is held by {name}: {}", cluster.partition(id).held()));
                }
            }
        }
        wrong
    }

    /// Waits until everything is where it should be.
    pub async fn settled(&self, up: usize, voters: usize, learners: usize) {
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            let wrong = self.unrest(up, voters, learners);
            if wrong.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "not in time: {wrong:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many partitions each running node leads.
    pub fn led(&self) -> BTreeMap<NodeName, usize> {
        let mut led: BTreeMap<NodeName, usize> =
            self.running().iter().map(|cluster| (cluster.identity().node.clone(), 0)).collect();
        for id in (0..self.partitions).map(PartitionId) {
            if let Some((home, _)) = self.home(id) {
                *led.entry(home).or_default() += 1;
            }
        }
        led
    }

    /// Opens a session for `user` wherever its home is, trying until it is acknowledged.
    pub async fn write(&self, user: u64) {
        let name = UserId::new(&format!("user{user}")).unwrap();
        self.propose(&name, super::open_session(user)).await;
    }

    /// Has `intent` carried out wherever the home of `name` is, trying until it is acknowledged.
    pub async fn propose(&self, name: &UserId, intent: Intent) {
        let id = partition_of(name, self.partitions);
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            for cluster in self.running() {
                let role = cluster.partition(id).role().borrow().clone();
                let Role::Home { term } = role else { continue };
                let at = self.clock.fetch_add(1, Ordering::Relaxed);
                let command = Command { user: name.clone(), term, at, key: None, intent: intent.clone() };
                if let Ok(outcome) = cluster.partition(id).propose(command).await
                    && outcome.answer.is_ok()
                {
                    return;
                }
            }
            assert!(std::time::Instant::now() < deadline, "{name} could not write");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Users 0 to `count` of whom the home of their partition knows nothing.
    pub fn missing(&self, count: u64) -> Vec<u64> {
        let is_missing = |user: &u64| {
            let name = UserId::new(&format!("user{user}")).unwrap();
            let id = partition_of(&name, self.partitions);
            let Some((home, _)) = self.home(id) else { return true };
            let home = self.running().into_iter().find(|cluster| cluster.identity().node == home).unwrap();
            home.partition(id).read(|view| view.record(&name).unwrap().is_none()).unwrap_or(true)
        };
        (0..count).filter(is_missing).collect()
    }

    /// Waits until each partition has a home among the running nodes.
    pub async fn all_led(&self) {
        until("every partition has a home", || (0..self.partitions).all(|id| self.home(PartitionId(id)).is_some()))
            .await;
    }
}
