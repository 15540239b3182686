//! Three nodes over one store: what one commits all have, as if replication took no time. Who is the home is the test's to say.

use crate::net::{Net, NetLinks};
use futures::future::BoxFuture;
use rollcall_cluster::{
    Cluster, NotHeld, NotHome, Observer, Options, Partition, PartitionReport, ProposeError, Role, View,
    backup::{BackupPage, BackupReader, ReadBackupError},
};
use rollcall_config::Settings;
use rollcall_node::{
    admin::OnlyNode,
    assembly::{Assembled, Parts},
    clock::{Clock, SystemClock},
    home::{fanout::Fanout, group::Group, partition::HomePartition},
    peers::lane::Lane,
    service::NodeService,
    status::ClusterView,
};
use rollcall_presence::{
    Assignment, Command, Holder, Member, MemberState, NodeName, Outcome, PartitionId, Placement, UserId, partition_of,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

pub const DEADLINE: Duration = Duration::from_secs(30);
pub const PARTITIONS: u16 = 6;

pub fn node_name(index: usize) -> NodeName {
    NodeName::new(&format!("n{}", index + 1)).unwrap()
}

/// A partition's group at one node.
pub struct Shared {
    inner: Arc<Partition>,
    role: watch::Sender<Role>,
    pub held: AtomicBool,
    pub confirms: AtomicBool,
}

impl Shared {
    /// How many wait for another role, or look at it.
    pub fn watchers(&self) -> usize {
        self.role.receiver_count()
    }

    fn term(&self) -> Result<u64, NotHome> {
        match &*self.role.borrow() {
            Role::Home { term } => Ok(*term),
            Role::Follower { leader } => Err(NotHome { leader: leader.clone() }),
        }
    }
}

impl Group for Shared {
    fn id(&self) -> PartitionId {
        self.inner.id()
    }

    fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    fn heard_hint(&self, leader: Option<NodeName>) {
        if !self.held.load(Ordering::Relaxed) {
            self.role.send_replace(Role::Follower { leader });
        }
    }

    fn propose(self: Arc<Self>, command: Command) -> BoxFuture<'static, Result<Arc<Outcome>, ProposeError>> {
        Box::pin(async move {
            if self.term().ok() != Some(command.term) {
                return Err(ProposeError::NotHome { leader: None });
            }
            let Role::Home { term } = *self.inner.role().borrow() else {
                return Err(ProposeError::NotHome { leader: None });
            };
            let inner: &Partition = &self.inner;
            inner.propose(Command { term, ..command }).await
        })
    }

    fn confirm(&self) -> BoxFuture<'_, Result<u64, NotHome>> {
        Box::pin(async move {
            let term = self.term()?;
            if self.confirms.load(Ordering::Relaxed) { Ok(term) } else { Err(NotHome { leader: None }) }
        })
    }

    fn view(&self, read: &mut dyn FnMut(&View<'_>)) -> Result<(), NotHeld> {
        if self.held.load(Ordering::Relaxed) { self.inner.read(|view| read(view)) } else { Err(NotHeld) }
    }

    fn begin_backup(&self, backup: u64) -> Result<BackupReader, NotHeld> {
        if self.held.load(Ordering::Relaxed) { self.inner.begin_backup(backup) } else { Err(NotHeld) }
    }

    fn read_backup(&self, reader: &mut BackupReader) -> Result<BackupPage, ReadBackupError> {
        self.inner.read_backup(reader)
    }

    fn status(&self) -> Option<PartitionReport> {
        self.inner.status().filter(|_| self.held.load(Ordering::Relaxed))
    }
}

/// Tells every node what was applied.
struct All(Vec<Arc<Fanout>>);

impl Observer for All {
    fn applied(&self, partition: PartitionId, term: u64, outcomes: &[Arc<Outcome>]) {
        self.0.iter().for_each(|fanout| fanout.applied(partition, term, outcomes));
    }
}

pub struct StagedNode {
    pub holder: Holder,
    pub groups: Vec<Arc<Shared>>,
    pub links: Arc<NetLinks>,
    pub assembled: Assembled,
    pub lane: Arc<Lane>,
    pub service: Arc<NodeService>,
}

pub struct Stage {
    pub net: Arc<Net>,
    pub nodes: Vec<StagedNode>,
    cluster: Arc<Cluster>,
    term: AtomicU64,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Three nodes; the home of a partition is node `p % 3`.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            partitions: PARTITIONS,
            ..Options::new(folder.path().join("data"), NodeName::new("store").unwrap())
        };
        let fanouts: Vec<Arc<Fanout>> = (0..3).map(|_| Arc::default()).collect();
        let cluster = Cluster::start(options, Arc::new(All(fanouts.clone()))).await.unwrap();
        let mut settings = Settings::default();
        settings.presence.grace_ms = 1_000;
        change(&mut settings);
        let net = Arc::new(Net::default());
        let members = (0..3).map(|i| (node_name(i), member())).collect();
        let everywhere = Assignment { voters: (0..3).map(node_name).collect(), ..Assignment::default() };
        let placement = Placement {
            epoch: 1,
            cluster_id: "stage".into(),
            replication: 3,
            rules: 1,
            members,
            partitions: vec![everywhere; usize::from(PARTITIONS)],
        };
        net.placement.send_replace(Arc::new(placement));
        let mut nodes = Vec::new();
        for (index, fanout) in fanouts.into_iter().enumerate() {
            nodes.push(node(index, fanout, &cluster, &net, &settings).await);
        }
        let stage = Self { net, nodes, cluster, term: AtomicU64::new(10), _folder: folder };
        for p in 0..PARTITIONS {
            let mut role = stage.cluster.partition(PartitionId(p)).role();
            let home = role.wait_for(|role| matches!(role, Role::Home { .. }));
            drop(tokio::time::timeout(DEADLINE, home).await.unwrap().unwrap());
            stage.make_home(PartitionId(p), usize::from(p) % 3);
        }
        stage.until("everything is announced", || stage.nodes.iter().all(|n| n.assembled.ties.are_settled())).await;
        stage
    }

    /// Node `index` is the home of `partition` from now on, all at once.
    pub fn make_home(&self, partition: PartitionId, index: usize) {
        let term = self.term.fetch_add(1, Ordering::Relaxed);
        for (at, node) in self.nodes.iter().enumerate() {
            let role =
                if at == index { Role::Home { term } } else { Role::Follower { leader: Some(node_name(index)) } };
            node.groups[usize::from(partition.0)].role.send_replace(role);
        }
    }

    /// Nobody is the home of `partition`.
    pub fn no_home(&self, partition: PartitionId) {
        for at in 0..3 {
            self.believe(partition, at, None);
        }
    }

    /// What a node that is not the home takes for it.
    pub fn believe(&self, partition: PartitionId, at: usize, leader: Option<usize>) {
        let leader = leader.map(node_name);
        self.nodes[at].groups[usize::from(partition.0)].role.send_replace(Role::Follower { leader });
    }

    pub fn group(&self, at: usize, user: &UserId) -> &Shared {
        &self.nodes[at].groups[usize::from(partition_of(user, PARTITIONS).0)]
    }

    pub fn lane(&self, at: usize) -> &Lane {
        &self.nodes[at].lane
    }

    pub fn group_home(&self, at: usize, partition: PartitionId) -> &Arc<HomePartition> {
        self.nodes[at].assembled.node.homes.partition(partition).unwrap()
    }

    /// Changes a member.
    pub fn member(&self, index: usize, change: impl FnOnce(&mut Member)) {
        self.net.placement.send_modify(|placement| {
            let mut changed = Placement::clone(placement);
            changed.epoch += 1;
            change(changed.members.get_mut(&node_name(index)).unwrap());
            *placement = Arc::new(changed);
        });
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let met = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, met).await.is_ok(), "never: {what}");
    }

    /// The `nth` user whose home is node `p % 3 == index`.
    pub fn user_at(index: usize, nth: usize) -> UserId {
        let users = (0..).map(|n| UserId::new(&format!("user{n}")).unwrap());
        users.filter(|u| usize::from(partition_of(u, PARTITIONS).0) % 3 == index).nth(nth).unwrap()
    }

    pub async fn end(self) {
        for node in &self.nodes {
            node.assembled.stop();
        }
        self.cluster.stop().await;
    }
}

fn member() -> Member {
    let (http, peer, version) = ("-".to_owned(), "-".to_owned(), "-".to_owned());
    Member { raft_id: 0, generation: 1, http, peer, version, rules: 1, state: MemberState::Up }
}

async fn node(index: usize, fanout: Arc<Fanout>, cluster: &Cluster, net: &Arc<Net>, settings: &Settings) -> StagedNode {
    let holder = Holder { node: node_name(index), generation: 1 };
    let groups: Vec<Arc<Shared>> = (0..PARTITIONS)
        .map(|p| {
            Arc::new(Shared {
                inner: cluster.partition(PartitionId(p)).clone(),
                role: watch::Sender::new(Role::Follower { leader: None }),
                held: AtomicBool::new(true),
                confirms: AtomicBool::new(true),
            })
        })
        .collect();
    let lane = Arc::<Lane>::default();
    net.add(holder.clone(), lane.clone());
    let links = Arc::new(NetLinks { net: net.clone(), this: holder.clone(), confirmed: watch::Sender::new(true) });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let assembled = Assembled::new(Parts {
        holder: holder.clone(),
        groups: groups.iter().map(|g| g.clone() as Arc<dyn Group>).collect(),
        fanout,
        lane: lane.clone(),
        links: links.clone(),
        clock,
        presence: settings.presence.clone(),
        limits: settings.limits.clone(),
    })
    .await
    .unwrap();
    let view = ClusterView::new("stage".into(), "-".into(), "-".into());
    let service = Arc::new(NodeService::new(assembled.node.clone(), view, Arc::new(OnlyNode(node_name(index)))));
    StagedNode { holder, groups, links, assembled, lane, service }
}

/// Counts parcels sent by all homes, by the node they were sent to.
pub fn parcels(stage: &Stage) -> BTreeMap<NodeName, u64> {
    let mut all = BTreeMap::new();
    for node in &stage.nodes {
        for (to, count) in node.assembled.nodes.parcels_sent() {
            *all.entry(to).or_default() += count;
        }
    }
    all
}
