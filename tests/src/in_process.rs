//! A cluster of real nodes in one process, on loopback addresses, over links that a test can cut.
//!
//! Clients reach the nodes as they reach any; only what nodes say to one another goes through the [`Links`]. Nodes stop with
//! [`TestCluster::stop`], and with the test's runtime otherwise; directories go with the value.

use crate::{
    client::Client,
    cluster::{FORMING_MAX, TURN},
    cluster_status::ClusterStatus,
    links::{Cut, Links},
    load::Roll,
    ports::free_address,
};
use rollcall_cluster::{Dial, Surroundings};
use rollcall_config::Settings;
use rollcall_node::serve::{self, Started};
use std::{fs, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

/// Partitions of a cluster in one process: all nodes share the test's threads.
const PARTITIONS: u16 = 8;
/// Characters of a key.
const KEY: &str = "0123456789abcdef";

/// Starts a node whose links to others go where `dial` says. The only place that knows how.
async fn start_node(settings: Settings, dial: Dial) -> Result<Started, String> {
    let surroundings = Surroundings { dial: Some(dial), ..Surroundings::default() };
    serve::start_within(settings, surroundings).await.map_err(|e| e.to_string())
}

/// How the nodes are to be started.
pub struct TestPlan {
    nodes: usize,
    change: Box<dyn Fn(&mut Settings) + Send>,
}

impl TestPlan {
    /// Changes the settings of every node.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Settings) + Send + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// Starts the nodes and waits until the cluster is formed.
    ///
    /// # Panics
    /// When it does not form.
    pub async fn start(self) -> TestCluster {
        let turn = TURN.lock().await;
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir().expect("a directory");
        let secret = KEY.repeat(4);
        fs::write(directory.path().join("auth.key"), format!("{secret}\n")).expect("a key");
        fs::write(directory.path().join("cluster.key"), format!("{}\n", KEY.repeat(4))).expect("a key");
        let peers: Vec<String> = (0..self.nodes).map(|_| free_address()).collect();
        let links = Links::default();
        let starting = (0..self.nodes).map(|at| {
            let mut settings = settings(at, &peers, &directory);
            (self.change)(&mut settings);
            let (links, from) = (links.clone(), settings.node.name.clone());
            let dial: Dial = Arc::new(move |to, address| links.dial(&from, to.as_str(), address));
            start_node(settings, dial)
        });
        let started = futures::future::join_all(starting).await;
        let nodes: Vec<Started> =
            started.into_iter().map(|n| n.unwrap_or_else(|e| panic!("a node did not start: {e}"))).collect();
        let roll = Roll::new(nodes.iter().map(|n| n.http().to_owned()).collect(), &secret);
        let cluster = TestCluster { links, roll, nodes, _directory: directory, _turn: turn };
        cluster.await_formed(FORMING_MAX).await;
        cluster
    }
}

/// The first node founds, the others are told of all.
fn settings(at: usize, peers: &[String], directory: &TempDir) -> Settings {
    let mut settings = Settings::default();
    let name = format!("n{}", at + 1);
    settings.node.data_dir = directory.path().join(&name);
    settings.node.name = name;
    settings.http.listen = "127.0.0.1:0".into();
    settings.peer.listen = peers[at].clone();
    settings.auth.key_file = Some(directory.path().join("auth.key"));
    settings.cluster.key_file = Some(directory.path().join("cluster.key"));
    settings.cluster.partitions = PARTITIONS;
    if at > 0 {
        settings.cluster.join = peers.to_vec();
    }
    settings
}

/// A cluster in one process. Nodes are counted from 0; the one at 0 is called `n1`.
pub struct TestCluster {
    /// What nodes say to one another goes over these.
    pub links: Links,
    /// Where clients reach them.
    pub roll: Roll,
    nodes: Vec<Started>,
    _directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl TestCluster {
    /// A cluster of `nodes` to be.
    #[must_use]
    pub fn plan(nodes: usize) -> TestPlan {
        TestPlan { nodes, change: Box::new(|_| {}) }
    }

    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (1..=self.nodes.len()).map(|n| format!("n{n}")).collect()
    }

    /// Cuts the node at `alone` off from all others.
    pub fn cut_off(&self, alone: usize, cut: Cut) {
        let names = self.names();
        let others: Vec<&str> =
            names.iter().enumerate().filter(|(at, _)| *at != alone).map(|(_, n)| n.as_str()).collect();
        self.links.cut_off(&names[alone], &others, cut);
    }

    /// Frames that the homes on the node at `home` have sent to each node, in order, as its `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn frames_sent(&self, home: usize) -> Vec<u64> {
        let asked = reqwest::get(format!("http://{}/metrics", self.nodes[home].http())).await;
        let metrics = match asked {
            Ok(answer) => answer.text().await,
            Err(error) => Err(error),
        };
        let metrics = metrics.unwrap_or_else(|e| panic!("no metrics: {e}"));
        let to = |name: &String| {
            let series = format!("rollcall_frames_sent_total{{node=\"{name}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
        };
        self.names().iter().map(to).collect()
    }

    /// A client of the node at `at`.
    #[must_use]
    pub fn client(&self, at: usize, id: &str, scope: &str) -> Client {
        self.roll.client(at, id, scope)
    }

    /// A client that may see and change the cluster.
    #[must_use]
    pub fn admin(&self, at: usize) -> Client {
        self.client(at, "the-admin", "admin")
    }

    /// Waits until every node shows a formed cluster.
    ///
    /// # Panics
    /// When it is not within `deadline`.
    pub async fn await_formed(&self, deadline: Duration) {
        let admins: Vec<Client> = (0..self.nodes.len()).map(|at| self.admin(at)).collect();
        let names = self.names();
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        ClusterStatus::until_formed(&admins, &members, deadline).await;
    }

    /// The place of the home of `user`, as the node at `via` knows it.
    ///
    /// # Panics
    /// When it knows none.
    pub async fn home_of(&self, via: usize, user: &str) -> usize {
        let located = self.admin(via).get(&format!("/v1/cluster/locate/{user}")).await.must(200);
        let names = self.names();
        names.iter().position(|n| located["leader"] == n.as_str()).unwrap_or_else(|| panic!("no home in {located}"))
    }

    /// Stops all nodes.
    pub async fn stop(self) {
        futures::future::join_all(self.nodes.into_iter().map(Started::stop)).await;
    }
}
