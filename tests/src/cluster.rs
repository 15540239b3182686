//! A cluster as its operator runs it: a child process a node, on ports and in a directory of its own.
//!
//! The first node founds, the others are given everybody's address to join. Ports and directories stay a node's own over
//! kills and restarts. Everything is reaped with the test, however it ends.

use crate::{
    client::{Client, Reply},
    cluster_status::ClusterStatus,
    place::{Place, secret},
    reaper::Reaper,
    server::{Launch, Refusal, Server},
    token::Claims,
    wait::eventually_within,
};
use std::{
    fs,
    path::PathBuf,
    process::ExitStatus,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};

/// Partitions unless a test says otherwise: more than nodes, few enough to form at once.
const PARTITIONS: &str = "8";
/// How long a small cluster may take to form, or to be whole again. Used up by failures only.
pub const FORMING_MAX: Duration = Duration::from_secs(60);

/// How the nodes of a cluster are to be started.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    nodes: usize,
    launch: Launch,
    places: Vec<Place>,
    beside_others: bool,
}

impl ClusterPlan {
    /// Sets a setting of every node by its dotted name.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.launch = self.launch.set(name, value);
        self
    }

    /// Gives the first nodes these places, in their order; later ones are started as ever.
    #[must_use]
    pub fn on(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }

    /// Waits for no other cluster of this process: for one that only serves, where no test times an election.
    pub(crate) fn beside_others(mut self) -> Self {
        self.beside_others = true;
        self
    }

    /// Starts the nodes, all at once, and waits until each serves and the cluster is formed.
    ///
    /// # Panics
    /// When it does not form.
    pub async fn start(self) -> Cluster {
        let mut cluster = self.prepare().await;
        (0..cluster.len()).for_each(|at| cluster.awake(at));
        cluster.get_ready();
        cluster.await_formed(FORMING_MAX).await;
        cluster
    }

    /// Everything for the nodes, and no process yet. Waits until no other cluster of this test process runs: elections are
    /// timed, and nodes of several clusters would take the processor from one another.
    ///
    /// # Panics
    /// When there is no place for directories.
    pub async fn prepare(self) -> Cluster {
        let turn = if self.beside_others { None } else { Some(TURN.lock().await) };
        let keys = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory").keep();
        let reaper = Reaper::new(&keys);
        let secret = secret(1);
        fs::write(keys.join("auth.key"), format!("{secret}\n")).expect("a key");
        fs::write(keys.join("cluster.key"), format!("{}\n", self::secret(2))).expect("a key");
        let (launch, places, nodes) = (self.launch, self.places, Vec::new());
        let mut cluster = Cluster { launch, places, keys, secret, nodes, _reaper: reaper, _turn: turn };
        (0..self.nodes).for_each(|_| cluster.prepare_another());
        cluster
    }
}

/// Held by the cluster that runs.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// A node, its name and where other nodes reach it.
#[derive(Debug)]
struct Member {
    name: String,
    peer: String,
    server: Server,
}

/// A cluster of processes. Nodes are counted from 0; the one at 0 is called `n1`.
#[derive(Debug)]
pub struct Cluster {
    launch: Launch,
    places: Vec<Place>,
    /// The directory of the keys that all nodes share.
    pub keys: PathBuf,
    secret: String,
    nodes: Vec<Member>,
    _reaper: Reaper,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Cluster {
    /// A cluster of `nodes` to be, with settings of a test's choice.
    #[must_use]
    pub fn plan(nodes: usize) -> ClusterPlan {
        let launch = Launch::default().set("cluster.partitions", PARTITIONS);
        ClusterPlan { nodes, launch, places: Vec::new(), beside_others: false }
    }

    /// A formed cluster of `nodes`.
    pub async fn of(nodes: usize) -> Self {
        Self::plan(nodes).start().await
    }

    /// Everything for one more node, with the name after the last one's.
    fn prepare_another(&mut self) {
        let name = format!("n{}", self.nodes.len() + 1);
        let place = self.places.get(self.nodes.len()).cloned().unwrap_or_else(Place::here);
        let peer = place.peer.clone();
        // By the environment, so that a test can give a node another name or key: what is set later wins.
        let launch = self.launch.clone().on(place).auth_key(&self.keys.join("auth.key"));
        let launch = launch.set("node.name", &name).set("cluster.key_file", self.keys.join("cluster.key").display());
        self.nodes.push(Member { name, peer, server: launch.prepare() });
    }

    /// Changes how the node at `at` is started from the next time on.
    pub fn relaunch(&mut self, at: usize, change: impl FnOnce(Launch) -> Launch) {
        self.nodes[at].server.relaunch(change);
    }

    /// Starts the process at `at`, and waits for nothing: the first founds, the others join whoever is there.
    ///
    /// # Panics
    /// When the program does not start.
    pub fn awake(&mut self, at: usize) {
        if at > 0 {
            let join = self.nodes.iter().map(|n| n.peer.as_str()).collect::<Vec<_>>().join(",");
            self.nodes[at].server.rejoin(&join);
        }
        self.nodes[at].server.awake();
    }

    /// Waits until every running node serves.
    ///
    /// # Panics
    /// When one does not.
    pub fn get_ready(&mut self) {
        for node in self.nodes.iter_mut().filter(|n| n.server.is_running()) {
            if let Err(refusal) = node.server.get_ready() {
                panic!("{} did not start ({:?}):\n{}", node.name, refusal.status, refusal.printed);
            }
        }
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node, which never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The name of the node at `at`.
    #[must_use]
    pub fn name(&self, at: usize) -> &str {
        &self.nodes[at].name
    }

    /// Where other nodes reach the node at `at`.
    #[must_use]
    pub fn peer(&self, at: usize) -> &str {
        &self.nodes[at].peer
    }

    /// The place of a name.
    ///
    /// # Panics
    /// When there is none of it.
    #[must_use]
    pub fn place(&self, name: &str) -> usize {
        self.nodes.iter().position(|n| n.name == name).unwrap_or_else(|| panic!("no node {name:?}"))
    }

    /// The node at `at`.
    #[must_use]
    pub fn node(&self, at: usize) -> &Server {
        &self.nodes[at].server
    }

    /// The node at `at`, to be started and ended by itself.
    pub(crate) fn server(&mut self, at: usize) -> &mut Server {
        &mut self.nodes[at].server
    }

    /// The places of the running nodes.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].server.is_running()).collect()
    }

    /// `host:port` for clients, of every running node.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.running().into_iter().map(|at| self.nodes[at].server.address.clone()).collect()
    }

    /// The secret of the key that signs tokens.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Adds a node that joins, and waits until it serves; its place.
    ///
    /// # Panics
    /// When it does not.
    pub fn join_another(&mut self) -> usize {
        match self.try_join(|launch| launch) {
            Ok(at) => at,
            Err(refusal) => panic!("the node did not join ({:?}):\n{}", refusal.status, refusal.printed),
        }
    }

    /// As [`join_another`](Self::join_another), with whatever `change` makes of its launch: options that come later win.
    ///
    /// # Errors
    /// [`Refusal`] when it ended instead; it is no member of this value then.
    ///
    /// # Panics
    /// When it neither serves nor ends.
    pub fn try_join(&mut self, change: impl FnOnce(Launch) -> Launch) -> Result<usize, Refusal> {
        let at = self.begin_join(change);
        let ready = self.nodes[at].server.get_ready();
        ready.inspect_err(|_| drop(self.nodes.pop())).map(|()| at)
    }

    /// Starts a node that joins, with whatever `change` makes of its launch, and waits for nothing; its place.
    pub(crate) fn begin_join(&mut self, change: impl FnOnce(Launch) -> Launch) -> usize {
        self.prepare_another();
        let at = self.nodes.len() - 1;
        self.nodes[at].server.relaunch(change);
        self.awake(at);
        at
    }

    /// Ends a node without any warning.
    pub fn kill9(&mut self, at: usize) {
        self.nodes[at].server.kill9();
    }

    /// Asks a node to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    pub fn terminate(&mut self, at: usize) -> ExitStatus {
        self.nodes[at].server.terminate()
    }

    /// Ends a node without any warning, and loses its disk.
    pub fn wipe(&mut self, at: usize) {
        self.nodes[at].server.wipe();
    }

    /// Starts a node again, on its ports and directory, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn restart(&mut self, at: usize) {
        if let Err(refusal) = self.try_restart(at) {
            panic!("{} did not start again ({:?}):\n{}", self.name(at), refusal.status, refusal.printed);
        }
    }

    /// As [`restart`](Self::restart), of a node that may be refused.
    ///
    /// # Errors
    /// [`Refusal`] when it ended instead.
    pub fn try_restart(&mut self, at: usize) -> Result<(), Refusal> {
        self.nodes[at].server.kill9();
        self.awake(at);
        self.nodes[at].server.get_ready()
    }

    /// Kills all nodes in one moment and starts them again together.
    ///
    /// # Panics
    /// When they do not serve again.
    pub fn restart_all(&mut self) {
        self.nodes.iter_mut().for_each(|n| n.server.kill9());
        (0..self.nodes.len()).for_each(|at| self.awake(at));
        self.get_ready();
    }

    /// A client of the node at `at`.
    #[must_use]
    pub fn client(&self, at: usize, id: &str, scope: &str) -> Client {
        Client::new(&self.nodes[at].server.address, id, Claims::of(id).with("scope", scope).sign(&self.secret))
    }

    /// A user at the node at `at`, that no other test has.
    #[must_use]
    pub fn person(&self, at: usize, stem: &str) -> Client {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.client(at, &format!("{stem}-{:04}", NEXT.fetch_add(1, Ordering::Relaxed)), "user")
    }

    /// The same user at another node.
    #[must_use]
    pub fn elsewhere(&self, user: &Client, at: usize) -> Client {
        self.client(at, &user.id, "user")
    }

    /// A client that may act for every user.
    #[must_use]
    pub fn service(&self, at: usize) -> Client {
        self.client(at, "the-service", "service")
    }

    /// A client that may see and change the cluster.
    #[must_use]
    pub fn admin(&self, at: usize) -> Client {
        self.client(at, "the-admin", "admin")
    }

    /// Asks the node at `via` to drain the one at `at`.
    pub async fn drain(&self, via: usize, at: usize) -> Reply {
        self.admin(via).send("POST", &format!("/v1/cluster/nodes/{}/drain", self.name(at)), &[], None).await
    }

    /// Asks the node at `via` to remove the one at `at`.
    pub async fn remove(&self, via: usize, at: usize) -> Reply {
        self.admin(via).delete(&format!("/v1/cluster/nodes/{}", self.name(at))).await
    }

    /// The cluster as the node at `at` has it; `None` while that cannot answer.
    pub async fn status(&self, at: usize) -> Option<ClusterStatus> {
        ClusterStatus::ask(&self.admin(at)).await
    }

    /// Waits until the node at `at` shows a status for which `wanted` holds.
    ///
    /// # Panics
    /// When it does not within the deadline: with the last one.
    pub async fn until_status(&self, at: usize, what: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> ClusterStatus {
        ClusterStatus::until(&self.admin(at), FORMING_MAX, what, wanted).await
    }

    /// Waits until every running node shows a cluster that is [formed](ClusterStatus::formed) of the running ones.
    ///
    /// # Panics
    /// When it is not within `deadline`: with what is missing.
    pub async fn await_formed(&self, deadline: Duration) {
        let running = self.running();
        let members: Vec<&str> = running.iter().map(|at| self.name(*at)).collect();
        let admins: Vec<Client> = running.iter().map(|at| self.admin(*at)).collect();
        ClusterStatus::until_formed(&admins, &members, deadline).await;
    }

    /// The place of the node where a user's changes are committed, as the node at `via` knows it.
    ///
    /// # Panics
    /// When no home is known within the deadline.
    pub async fn home_of(&self, via: usize, user: &str) -> usize {
        let admin = self.admin(via);
        let leader = eventually_within(FORMING_MAX, "a home", async || {
            let located = admin.try_send("GET", &format!("/v1/cluster/locate/{user}"), &[], None).await.ok()?;
            if located.status == 200 { located.json()["leader"].as_str().map(ToOwned::to_owned) } else { None }
        })
        .await;
        self.place(&leader)
    }

    /// A user whose home is the node at `home`, and who is a client of the one at `at`.
    pub async fn person_at_home(&self, at: usize, stem: &str, home: usize) -> Client {
        loop {
            let user = self.person(at, stem);
            if self.home_of(at, &user.id).await == home {
                return user;
            }
        }
    }
}
